import { shownPolicy } from '../breakglass/policies.ts'
import type { PolicyBook } from '../breakglass/policy-book.ts'
import { BrokerError } from '../lib/errors.ts'
import { bool, commaList, duration, type Fields, int, json, map, required, text } from './fields.ts'
import { handle, type Route } from './route.ts'

/** What may be asked for in an emergency, by whom, and who has a say in it; relative to `break-glass/`. */
export const breakGlassPolicyRoutes = ({ policyBook }: { policyBook: PolicyBook }): Route[] => [
  {
    path: 'policies',
    on: {
      list: handle({}, async () => ({ data: { keys: (await policyBook.list()).map(({ name }) => name) } })),
    },
  },
  {
    path: 'policies/:name',
    on: {
      read: handle({}, async ({ capture }) => {
        const policy = await policyBook.find(capture('name'))
        return policy && { data: shownPolicy(policy) }
      }),
      update: handle(
        POLICY_FIELDS,
        async ({ capture, fields }) => {
          await policyBook.write(capture('name'), withLists(fields))
          return undefined
        },
        { sudo: true },
      ),
      delete: handle(
        {},
        async ({ capture }) => {
          await policyBook.remove(capture('name'))
          return undefined
        },
        { sudo: true },
      ),
    },
  },
]

const POLICY_FIELDS = {
  roles: required(commaList, 'roles is required: globs over the paths of roles'),
  lane: text,
  description: text,
  sets: map,
  requesters: map,
  approvals: map,
  min_approvers: int,
  approver_sets_escalation: json,
  deny_threshold: int,
  narrowing: bool,
  narrowing_keeps_votes: bool,
  security_officers: commaList,
  target_owners: commaList,
  reviewers: commaList,
  pending_ttl: duration,
  activate_within: duration,
  default_duration: duration,
  max_duration: duration,
  max_extension: duration,
  incident_grace: duration,
  fresh_login_max_age: duration,
  fresh_login_amr: commaList,
  fresh_login_acr: commaList,
  hardware_amr: commaList,
  reason_min_length: int,
  ticket_required: bool,
  ticket_pattern: text,
  ticket_check_url: text,
  ticket_check_secret: text,
  on_call: map,
  review: bool,
  review_due: duration,
  review_overdue: duration,
  sealed: bool,
  sealed_solo: bool,
  sealed_max_duration: duration,
  ratify_within: duration,
  allow_from: commaList,
  max_live: int,
  control_group: bool,
  notify: json,
} satisfies Fields

/** Clients of the dialect may send JSON as text. */
const withLists = (fields: Readonly<Record<string, unknown>>): Record<string, unknown> =>
  Object.fromEntries(
    Object.entries(fields).map(([name, value]) => [
      name,
      (name === 'notify' || name === 'approver_sets_escalation') && typeof value === 'string'
        ? parsed(name, value)
        : value,
    ]),
  )

function parsed(name: string, value: string): unknown {
  try {
    return JSON.parse(value)
  } catch {
    throw new BrokerError('invalid_request', `Field validation failed: field "${name}" is no JSON`)
  }
}

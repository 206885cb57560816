import { actorOf } from '../breakglass/actor.ts'
import type { ControlGroups, ControlStatus } from '../breakglass/control-group.ts'
import type { ControlGroupSettings } from '../breakglass/control-group-settings.ts'
import { formatDuration } from '../lib/duration.ts'
import { checkTexts } from './break-glass-action.ts'
import { duration, type Fields, required, text } from './fields.ts'
import { type Answer, handle, type Route } from './route.ts'

const ACCESSOR = { accessor: required(text, 'missing accessor') } satisfies Fields
const SETTINGS = { max_ttl: required(duration, 'max_ttl is required') } satisfies Fields
const AUTHORIZE = { ...ACCESSOR, plan_hash: text, comment: text } satisfies Fields

const SUDO = { sudo: true }

/**
 * Vault's control groups: `sys/control-group/*`, relative to `sys/`. Each is a break-glass request. What holds for all of
 * them takes sudo.
 */
export const sysControlGroupRoutes = (
  controlGroups: ControlGroups,
  settings: ControlGroupSettings,
): Route[] => [
  {
    path: 'config/control-group',
    on: {
      read: handle(
        {},
        async () => {
          const found = await settings.find()
          return found && { data: { max_ttl: formatDuration(found.maxTtlSeconds) } }
        },
        SUDO,
      ),
      update: handle(
        SETTINGS,
        async ({ fields }) => {
          await settings.write({ maxTtlSeconds: fields.max_ttl })
          return undefined
        },
        SUDO,
      ),
      delete: handle(
        {},
        async () => {
          await settings.remove()
          return undefined
        },
        SUDO,
      ),
    },
  },
  {
    path: 'control-group/request',
    on: {
      update: handle(ACCESSOR, async ({ fields }) => shown(await controlGroups.status(fields.accessor))),
    },
  },
  {
    path: 'control-group/authorize',
    on: {
      update: handle(AUTHORIZE, async ({ fields, principal, source }) => {
        checkTexts(fields)
        const { approved } = await controlGroups.authorize(fields.accessor, {
          actor: actorOf(principal, source),
          planHash: fields.plan_hash,
          comment: fields.comment ?? '',
        })
        return { data: { approved } }
      }),
    },
  },
]

/** The dialect's keys, and what somebody has to know of the plan before they agree to it. */
const shown = ({ approved, grant, requester, authorizations }: ControlStatus): Answer => ({
  data: {
    approved,
    request_path: pathsOf(grant.plan).join(', '),
    request_entity: requester,
    authorizations: authorizations.map(({ id, name }) => ({ entity_id: id, entity_name: name })),
    request_id: grant.id,
    state: grant.state,
    plan_hash: grant.planHash,
    reason: grant.reason,
    ticket: grant.ticket,
    duration_seconds: grant.durationSeconds,
  },
})

const pathsOf = ({ roles }: Readonly<Record<string, unknown>>): string[] =>
  Array.isArray(roles) ? roles.map(({ path }) => String(path)) : []

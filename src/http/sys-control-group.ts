import { actorOf } from '../breakglass/actor.ts'
import type { ControlGroups, ControlStatus } from '../breakglass/control-group.ts'
import { type Fields, required, text } from './fields.ts'
import { type Answer, handle, type Route } from './route.ts'

const ACCESSOR = { accessor: required(text, 'missing accessor') } satisfies Fields
const AUTHORIZE = { ...ACCESSOR, plan_hash: text, comment: text } satisfies Fields

/** Vault's control groups: `sys/control-group/*`, relative to `sys/`. Each is a break-glass request. */
export const sysControlGroupRoutes = (controlGroups: ControlGroups): Route[] => [
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

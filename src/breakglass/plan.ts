import { createHash } from 'node:crypto'
import { canonicalJson } from '../audit/canonical.ts'
import type { Grant } from '../ledger/grants.ts'
import type { Policy } from './policies.ts'
import { type AskedRole, privilegesOf } from './privileges.ts'
import type { Lane } from './states.ts'

/** One role of a plan, pinned: what is decided about is what will be given, or nothing. */
export type PlanRole = {
  path: string
  mount: string
  name: string
  version: number
  target: string
  engine: string
  environment: string
  privileges: string[]
  /** Where it is to be, of a role that may be had in one of several; absent when nobody said. */
  kubernetes_namespace?: string
  revocability: string
  role_id: string
  target_id: string
  /** Of where the target is and how it is served: it may be written anew under its name. */
  target_digest: string
}

/** What people vote on, as everybody sees it. */
export type Plan = {
  policy: { name: string; version: number }
  lane: Lane
  roles: PlanRole[]
  duration_seconds: number
  reason: string
  ticket: string
}

/** That of a grant, which the ledger keeps as it was written. */
export const planIn = ({ plan }: Pick<Grant, 'plan'>): Plan => plan as unknown as Plan

const textOf = (value: unknown): string => (typeof value === 'string' ? value : '')

/** What a lease of the role asks for beyond it. */
export const fieldsOf = ({
  kubernetes_namespace,
}: {
  kubernetes_namespace?: string | undefined
}): { kubernetes_namespace?: string } => (kubernetes_namespace === undefined ? {} : { kubernetes_namespace })

export const planRole = (role: AskedRole): PlanRole => ({
  path: role.path,
  mount: role.mount,
  name: role.name,
  version: role.version,
  target: role.target,
  engine: role.engine,
  environment: textOf(role.spec.environment) || textOf(role.targetSpec.environment),
  privileges: privilegesOf(role),
  ...fieldsOf({ kubernetes_namespace: role.namespace }),
  revocability: textOf(role.capabilities?.revocability) || 'bounded',
  role_id: role.roleId,
  target_id: role.targetId,
  target_digest: digestOf({ engine: role.engine, spec: role.targetSpec }),
})

export const planOf = (
  { name, version }: Pick<Policy, 'name' | 'version'>,
  ask: Omit<Plan, 'policy' | 'roles'> & { roles: readonly AskedRole[] },
): Plan => ({
  policy: { name, version },
  lane: ask.lane,
  roles: ask.roles.map(planRole),
  duration_seconds: ask.duration_seconds,
  reason: ask.reason,
  ticket: ask.ticket,
})

/** SHA-256 as canonical JSON, in hex. */
const digestOf = (value: unknown): string => createHash('sha256').update(canonicalJson(value)).digest('hex')

export const planHash = (plan: Plan): string => digestOf(plan)

/**
 * A plan with less in it: shorter, or with fewer of its roles. Text is why it is no part of the plan: as the second
 * half of a sentence. One that is not less at all is refused too.
 */
export function narrowed(
  plan: Plan,
  { durationSeconds, paths }: { durationSeconds?: number | undefined; paths?: readonly string[] | undefined },
): Plan | string {
  const seconds = durationSeconds ?? plan.duration_seconds
  const kept = paths ? plan.roles.filter(({ path }) => paths.includes(path)) : plan.roles
  if (seconds < 1 || seconds > plan.duration_seconds) return 'may only be shorter than what was asked'
  if (paths?.some((path) => !plan.roles.some((role) => role.path === path)))
    return 'names a role that was not asked'
  if (kept.length === 0) return 'leaves nothing of what was asked'
  if (seconds === plan.duration_seconds && kept.length === plan.roles.length)
    return 'asks for no less than the plan'
  return { ...plan, roles: kept, duration_seconds: seconds }
}

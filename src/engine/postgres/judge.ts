import type { Judgement, Planned, Sighting } from '../engine.ts'
import { extra, firstLook, GRANTS_KEPT } from '../survey.ts'
import type { Plan } from './role.ts'

/** What is compared of an account, as the ledger may keep it. */
export type Traits = {
  oid: string
  /** What it may do beside logging in: `SUPERUSER`, `CREATEDB`. */
  attributes: string[]
  /** The roles it is a member of; with a note where it may hand the membership on. */
  groups: string[]
  /** Objects it was given rights on by others than leased accounts; the first hundred, each as the catalog numbers it. */
  grants: string[]
  grantCount: number
  /** Objects that are yet to be made may come with rights for it: new ones say nothing. */
  defaultGrants: boolean
  /** Until the server itself refuses its login; null: never. */
  validForMs: number | null
  /** Stands for its password, and is of no use for anything else. Only superusers can see one. */
  password?: string
}

export type Seen = Sighting & { traits: Traits; grantNames: Map<string, string> }

/** The clocks of ledger and target may have come apart a little since the account was made. */
const EARLY_MS = 60_000
/** The target's `expiry_margin` may be another by now. Up to the lease's last possible end, a renewal that half failed was there. */
const LATE_MS = 3_600_000

/** What of an account is not as its lease's plan, or the first look at it, has it. */
export function judge(seen: Seen, plan: Planned, role: Plan): Judgement {
  const { traits } = seen
  if (plan.account.targetRef !== null && traits.oid !== plan.account.targetRef) {
    return { changes: [`it was replaced by another role of that name (OID ${traits.oid})`] }
  }
  const { hasOwnSql, first } = firstLook<Traits>(plan, role)
  const changes = [
    ...stateChanges(seen, plan, first),
    ...extraRights(seen, role, hasOwnSql ? (first ?? traits) : NOTHING_OF_ITS_OWN),
  ]
  const isWorthKeeping = first === undefined && (hasOwnSql || traits.password !== undefined)
  return { changes, ...(isWorthKeeping && changes.length === 0 ? { keep: traits } : {}) }
}

type Rights = Pick<Traits, 'attributes' | 'groups' | 'grants' | 'grantCount' | 'defaultGrants'>

const NOTHING_OF_ITS_OWN: Rights = {
  attributes: [],
  groups: [],
  grants: [],
  grantCount: 0,
  defaultGrants: false,
}

function stateChanges(
  { account, enabled, traits }: Seen,
  plan: Planned,
  first: Traits | undefined,
): string[] {
  const known = first?.password ?? traits.password
  return [
    ...(account.name === plan.account.name ? [] : [`it was renamed to "${account.name}"`]),
    ...(enabled ? [] : ['its login was disabled']),
    ...expiryChanges(traits.validForMs, plan),
    ...(known === traits.password || traits.password === undefined ? [] : ['its password was changed']),
  ]
}

function extraRights({ traits, grantNames }: Seen, role: Plan, before: Rights): string[] {
  const groups = extra(traits.groups, [...role.memberOf, ...before.groups])
  return [
    ...extra(traits.attributes, before.attributes).map((word) => `it was made ${word}`),
    ...groups.map((name) => `it was put into ${name}`),
    ...extraGrants(traits, before, grantNames),
  ]
}

function extraGrants(now: Traits, before: Rights, names: Map<string, string>): string[] {
  if (before.defaultGrants) return []
  if (Math.max(now.grantCount, before.grantCount) > GRANTS_KEPT) {
    return now.grantCount > before.grantCount ? [`it was given rights on ${now.grantCount} objects`] : []
  }
  return extra(now.grants, before.grants).map((key) => `it was given rights on ${names.get(key) ?? key}`)
}

function expiryChanges(validForMs: number | null, { lifetimeMs, hardLifetimeMs }: Planned): string[] {
  if (validForMs === null) return ['its VALID UNTIL was taken away']
  if (validForMs > hardLifetimeMs + LATE_MS) return ['its VALID UNTIL was put beyond the end of its lease']
  if (validForMs < lifetimeMs - EARLY_MS) return ['its VALID UNTIL was put before the end of its lease']
  return []
}

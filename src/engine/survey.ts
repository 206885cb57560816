import type { Limit, Planned, Spec } from './engine.ts'

/** What the surveys of all engines judge by. */

/**
 * What an account is held against beside its role: how it looked at first. Statements of a role's own may have given
 * it anything, so what it had then is right; those for renewing may have given it more since, so then it is looked at
 * as if for the first time.
 */
export function firstLook<Traits>(
  { first }: Planned,
  { creation, renewal }: { creation: readonly unknown[]; renewal: readonly unknown[] },
): { hasOwnSql: boolean; first: Traits | undefined } {
  const isOutdated = first?.renewedSince === true && renewal.length > 0
  return {
    hasOwnSql: creation.length > 0 || renewal.length > 0,
    first: isOutdated ? undefined : (first?.traits as (Traits & Spec) | undefined),
  }
}

/** Reads the spec of a role once for all accounts that come with the same object. */
export function remembered<Plan>(read: (role: Spec) => Plan): (role: Spec) => Plan {
  const known = new WeakMap<Spec, Plan>()
  return (role) => {
    const plan = known.get(role) ?? read(role)
    known.set(role, plan)
    return plan
  }
}

export const extra = (now: readonly string[], before: readonly string[]): string[] =>
  now.filter((each) => !before.includes(each))

/** So many of an account's rights on objects are compared one by one; of more, their number is. */
export const GRANTS_KEPT = 100

/** The share of a limit that is worth a warning. */
const NEARLY = 0.8

export const isNearly = (used: number, max: number): boolean => used >= max * NEARLY

/** `max`: of those that leased accounts can have. */
export function slotsLimit(slots: { used: number; max: number; what?: string }): Limit {
  const { used, max } = slots
  const limit: Limit = { name: 'connection_slots', ...slots }
  if (!isNearly(used, max)) return limit
  return {
    ...limit,
    warning: `${used} of ${max} connection slots are in use; when all are, no lease can be used`,
  }
}

import { expect } from 'vitest'
import type { Installation } from './installation.ts'
import { type Death, type GatePlan, until } from './processes.ts'

/**
 * A process that is killed leaves what its statements did. So tests kill it before, and right after sending, each
 * statement that changes something in the ledger or on a target; between those there is no other state to leave.
 */
export const KILLS = ['die before', 'die after sending'] as const

/** How to know each statement that changes something in a lease's life, in the order they come. */
export const STATEMENT = {
  intent: String.raw`insert into leasehold\.lease\b`,
  create: 'CREATE ROLE',
  activate: `set state = 'active'`,
  extend: 'ALTER ROLE.*VALID UNTIL',
  renew: String.raw`renewals \+ 1`,
  claim: String.raw`fence \+ 1`,
  disable: 'NOLOGIN',
  disconnect: 'pg_terminate_backend',
  remove: 'DROP ROLE',
  finish: String.raw`insert into leasehold\.receipt`,
} as const

/**
 * Kills at the first statement that counts, then at the second, until a process lives through its work; fails unless
 * each of `patterns` was among those places. `killAt` answers where the process died, or undefined when it lived.
 */
export async function visitChanges(
  killAt: (where: Omit<GatePlan, 'what'>) => Promise<string | undefined>,
  patterns: readonly string[],
  counting: Pick<GatePlan, 'only' | 'from'> = { only: CHANGES },
): Promise<void> {
  const visited: string[] = []
  for (let at = 1; ; at += 1) {
    const label = await killAt({ at, ...counting })
    if (label === undefined) break
    visited.push(label)
  }
  const unvisited = () => patterns.filter((text) => !visited.some((label) => new RegExp(text).test(label)))
  // What runs beside the work takes numbers too, now and then: a statement may have slipped through between two rounds.
  for (const only of unvisited()) visited.push((await killAt({ at: 1, only })) ?? 'it lived')
  expect(unvisited()).toEqual([])
}

/** How to know these statements. */
export const statements = (...names: (keyof typeof STATEMENT)[]): string[] =>
  names.map((name) => STATEMENT[name])

/** Without those that run beside the others, at times of their own: waiting leases brought forward, checkpoints. */
export const CHANGES = String.raw`^(?!with waiting|insert into leasehold\.audit_checkpoint)[\s\S]*\b(insert into|update|delete from|CREATE|ALTER|DROP|GRANT|REVOKE|pg_terminate_backend)\b`

/** A statement that was on its way when its sender died may still take effect; this waits until it has or cannot. */
export const untilLanded = (at: Installation, death: Death | undefined): Promise<void> =>
  until('the dead process has no session left', async () => {
    const sql = 'select from pg_stat_activity where pid = $1'
    return (await at.test.ledger.query(sql, [death?.backend])).rowCount === 0
  })

/** No account is left, and every lease ended in order, with its receipt. */
export async function expectAllEnded(at: Installation): Promise<void> {
  expect(await at.accounts()).toEqual([])
  for (const lease of await at.leases()) {
    expect(lease).toMatchObject({ state: 'revoked', accessEnded: true, receipts: 1, claimedBy: null })
    expect(lease.steps).toEqual(['disable', 'disconnect', 'remove', 'verify'])
  }
}

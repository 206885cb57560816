import { expect } from 'vitest'
import type { Installation } from './installation.ts'
import { type Death, until } from './processes.ts'

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

type StatementName = keyof typeof STATEMENT

/** Those of these statements that were not visited. */
export const unvisited = (visited: readonly string[], names: readonly StatementName[]): StatementName[] =>
  names.filter((name) => !visited.some((statement) => new RegExp(STATEMENT[name]).test(statement)))

/** Fails unless all of these statements were visited, whatever else was. */
export const expectVisited = (visited: readonly string[], ...names: StatementName[]): void =>
  expect(unvisited(visited, names)).toEqual([])

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

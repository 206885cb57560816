import { sensitive } from '../../lib/sensitive.ts'
import { type Created, EngineError, type Ticket } from '../engine.ts'
import { timestamp } from '../timestamp.ts'
import type { Facts, Session } from './connections.ts'
import { type Groups, groupsQuery, problemWithGroups, readGroups } from './groups.ts'
import { many } from './isolate.ts'
import type { Plan } from './role.ts'
import { identifier, identifiers, lockKeys } from './sql.ts'
import type { Target } from './target.ts'

/** A ticket on its way: with its role read, its password chosen, and its deadline running since the call. */
export type Order = {
  ticket: Ticket
  plan: Plan
  password: string
  verifier: string
  isLate: () => boolean
}

/**
 * The first of two round trips, and the reason why a late create cannot outlive its row: once this has answered, the
 * transaction holds the lock on each name, and only then is the deadline looked at. Ending takes the same locks
 * before it verifies, after the deadline. So either it waits for this transaction, or it came first and this one
 * finds itself late. Nothing rests on the clocks of two machines agreeing, and what the second round trip sends
 * can only arrive while the locks are held: without it the server ends the transaction by itself.
 */
export async function beginCreate(
  session: Session,
  facts: Facts,
  orders: readonly Order[],
): Promise<{ nowMs: number; groups: Groups }> {
  const names = orders.map(({ ticket }) => ticket.account.name)
  const groups = new Set(orders.flatMap(({ plan }) => plan.memberOf))
  const results = await many(
    session,
    `BEGIN; SELECT pg_advisory_xact_lock(key) FROM unnest(${lockKeys(names)}) AS key;
     SELECT extract(epoch FROM clock_timestamp())::float8 * 1000 AS now_ms; ${groupsQuery(groups, facts)}`,
  )
  return { nowMs: results[2]?.rows[0].now_ms, groups: readGroups(results[3]?.rows ?? []) }
}

/** What forbids this order, once its name is locked: it is too late, or a group cannot be given. */
export function problemWith(order: Order, groups: Groups, facts: Facts): EngineError | undefined {
  if (order.isLate()) return new EngineError('late', 'the create deadline had passed')
  return problemWithGroups(order.plan.memberOf, groups, facts)
}

export const validUntil = ({ ticket }: Order, target: Target, nowMs: number): string =>
  timestamp(nowMs + ticket.lifetimeMs + target.expiryMarginMs)

/**
 * One GRANT for each group and last of all, since from 16 on it locks the group until the commit. There, SET FALSE
 * keeps a session from becoming the group: it could go on as the group after its own membership is taken, and what
 * it made as the group would stay.
 */
export function grantTexts(orders: readonly Order[], { version }: Facts): string[] {
  const members = new Map<string, string[]>()
  for (const { plan, ticket } of orders) {
    for (const group of plan.memberOf)
      members.set(group, [...(members.get(group) ?? []), ticket.account.name])
  }
  const options = version >= 160_000 ? ' WITH INHERIT TRUE, SET FALSE' : ''
  return [...members]
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([group, names]) => `GRANT ${identifier(group)} TO ${identifiers(names)}${options}`)
}

export const createdAs = ({ ticket, password }: Order, oid: string): Created => ({
  targetRef: oid,
  secret: { username: ticket.account.name, password: sensitive(password) },
})

import { sensitive } from '../../lib/sensitive.ts'
import { type Created, EngineError, type Ticket } from '../engine.ts'
import type { Facts } from './connections.ts'
import { toEngineError } from './errors.ts'
import { hashFor } from './hash.ts'
import type { Plan } from './role.ts'
import { type Dialect, grantText } from './server.ts'
import type { Session } from './session.ts'
import { fullName, literal, lockName, type UserAtHost } from './sql.ts'

/** A ticket on its way: with its role read, its password chosen, and its deadline running since the call. */
export type Order = {
  ticket: Ticket
  plan: Plan
  account: UserAtHost
  password: string
  /** What the server keeps of the password. */
  hash: string
  isLate: () => boolean
}

export type Draft = Omit<Order, 'hash'>

/** Before any lock is taken, since it can take a while. */
export async function withHashes(drafts: readonly Draft[], { plugin }: Dialect): Promise<Order[]> {
  const orders: Order[] = []
  for (const draft of drafts) orders.push({ ...draft, hash: await hashFor(plugin, draft.password) })
  return orders
}

/** What the server answered once the names were locked. */
export type Ground = { locked: Set<string>; taken: Set<string>; groups: Set<string> }

/**
 * The first of two round trips, and the reason why a late create cannot outlive its row: once this has answered, the
 * session holds the server's named lock on each account, and only then is the deadline looked at. Ending takes the
 * same locks before it verifies, after the deadline. So either it finds the lock held and waits, or it came first and
 * this finds itself late. The lock ends with the session, and that not before the statements it has been sent.
 */
export async function beginCreate(
  session: Session,
  { dialect }: Facts,
  orders: readonly Order[],
): Promise<Ground> {
  const users = orders.map(({ account }) => account.user)
  const groups = [...new Set(orders.flatMap(({ plan }) => plan.memberOf))]
  const [locks = [], accounts = [], found = []] = await session.many([
    // Tried, not waited for: nobody else has business with an account that is not there yet.
    `SELECT ${users.map((user, i) => `GET_LOCK(${literal(lockName(user))}, 0) AS l${i}`).join(', ')}`,
    dialect.accountsQuery(users),
    dialect.groupsQuery(groups),
  ])
  return {
    locked: new Set(users.filter((_, i) => Number(locks[0]?.[`l${i}`]) === 1)),
    taken: new Set(accounts.map(({ user }) => String(user))),
    groups: new Set(found.map(({ name }) => String(name))),
  }
}

export const RELEASE = 'DO RELEASE_ALL_LOCKS()'

/** What forbids this order, once its name is locked. */
export function problemWith(order: Order, ground: Ground, { dialect }: Facts): EngineError | undefined {
  const { user } = order.account
  if (!ground.locked.has(user)) {
    return new EngineError('blocked', `somebody else holds the lock on "${user}"`)
  }
  if (order.isLate()) return new EngineError('late', 'the create deadline had passed')
  if (ground.taken.has(user)) return new EngineError('failed', `an account "${user}" is there already`)
  return problemWithGroups(order.plan.memberOf, ground, dialect)
}

function problemWithGroups(
  memberOf: readonly string[],
  { groups }: Ground,
  { groupsAtOnce, server }: Dialect,
): EngineError | undefined {
  const missing = memberOf.find((group) => !groups.has(group))
  if (missing !== undefined) {
    return new EngineError('failed', `member_of: the target has no role "${missing}"`)
  }
  if (memberOf.length > groupsAtOnce) {
    return new EngineError(
      'failed',
      `member_of: ${server.flavour} has one role in force at a time; grant these to a role of their own and name that`,
    )
  }
  return undefined
}

/** Gives the groups and puts them in force from the login on; in this order, one statement per step. */
export function groupTexts(orders: readonly Order[], dialect: Dialect): string[] {
  const members = new Map<string, UserAtHost[]>()
  const sets = new Map<string, { groups: readonly string[]; accounts: UserAtHost[] }>()
  for (const { plan, account } of orders) {
    for (const group of plan.memberOf) members.set(group, [...(members.get(group) ?? []), account])
    const key = JSON.stringify(plan.memberOf)
    const set = sets.get(key) ?? { groups: plan.memberOf, accounts: [] }
    set.accounts.push(account)
    sets.set(key, set)
  }
  return [
    ...[...members].map(([group, accounts]) => grantText(dialect, group, accounts)),
    ...[...sets.values()].flatMap(({ groups, accounts }) => dialect.setDefaultRoles(groups, accounts)),
  ]
}

/** Gives one account its groups, and says which right is missing where that fails. */
export async function giveGroups(session: Session, order: Order, { dialect, admin }: Facts): Promise<void> {
  for (const text of groupTexts([order], dialect)) {
    try {
      await session.run(text)
    } catch (error) {
      const problem = toEngineError(error)
      if (problem.kind !== 'denied') throw error
      const cure = text.startsWith('GRANT')
        ? `GRANT ${order.plan.memberOf.map(dialect.group).join(', ')} TO ${fullName(admin)} WITH ADMIN OPTION`
        : `GRANT UPDATE ON mysql.* TO ${fullName(admin)}`
      throw new EngineError('denied', `member_of: ${problem.message}; the admin account needs: ${cure}`)
    }
  }
}

export const createdAs = ({ account, password }: Order): Created => ({
  // The server has no id of its own for an account; a user name is of one lease, at whatever host.
  targetRef: account.user,
  secret: { username: account.user, password: sensitive(password) },
})

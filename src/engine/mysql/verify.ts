import { pause } from '../../lib/pause.ts'
import { provable } from '../ending.ts'
import { type Ending, EngineError, type Evidence } from '../engine.ts'
import type { Connections, Facts } from './connections.ts'
import { refuseBlind } from './disconnect.ts'
import { userOf } from './lookup.ts'
import { RELEASE } from './order.ts'
import type { Row, Session } from './session.ts'
import { leaseIdInUser, literal, lockName } from './sql.ts'

/**
 * Until an account that nobody ever confirmed is looked for once more: a server that took over from another knows
 * nothing of its locks, and learns a moment later of what the other did last.
 */
const SECOND_LOOK_MS = 500

/**
 * Proves absence: no account of that user name at any host, and no session. Under the lock that making the account
 * takes, and only after its create deadline: see `beginCreate` for why nothing can come later.
 */
export async function verify(
  connections: Connections,
  endings: readonly Ending[],
): Promise<Map<Ending, Evidence | EngineError>> {
  const answers = new Map<Ending, Evidence | EngineError>()
  const due = provable(endings, answers)
  if (due.length === 0) return answers
  await connections.use('ending', async (session, facts) => {
    refuseBlind(facts)
    const underWay = await createsUnderWay(session, due)
    await look(session, facts, due, underWay, answers)
    const unsure = due.filter(
      (ending) => ending.account.targetRef === null && !(answers.get(ending) instanceof EngineError),
    )
    if (unsure.length > 0) {
      await pause(SECOND_LOOK_MS)
      await look(session, facts, unsure, underWay, answers)
    }
    await session.run(RELEASE)
  })
  return answers
}

/** For which users the lock is held by somebody who may be making the account. Takes the locks of all others. */
async function createsUnderWay(session: Session, endings: readonly Ending[]): Promise<Set<string>> {
  const users = endings.map(({ account }) => userOf(account))
  const locks = users.map((user) => `GET_LOCK(${literal(lockName(user))}, 0) AS l`)
  const [row = {}] = await session.run(`SELECT ${locks.map((lock, i) => `${lock}${i}`).join(', ')}`)
  const held = users.filter((_, i) => Number(row[`l${i}`]) !== 1)
  if (held.length === 0) return new Set()
  const rows = await session.run(held.map(holderQuery).join(' UNION ALL '))
  return new Set(rows.flatMap((holder) => (mayCreate(holder) ? [String(holder.user)] : [])))
}

const holderQuery = (user: string): string =>
  `SELECT ${literal(user)} AS user, (SELECT USER FROM information_schema.PROCESSLIST
   WHERE ID = IS_USED_LOCK(${literal(lockName(user))})) AS holder`

/** Any user can take such a lock. A leased one makes no accounts; a holder that went meanwhile may have made this. */
const mayCreate = ({ holder }: Row): boolean => holder === null || leaseIdInUser(String(holder)) === undefined

async function look(
  session: Session,
  { dialect }: Facts,
  endings: readonly Ending[],
  underWay: ReadonlySet<string>,
  answers: Map<Ending, Evidence | EngineError>,
): Promise<void> {
  const users = endings.map(({ account }) => userOf(account))
  const [accounts = [], sessions = []] = await session.many([
    dialect.accountsQuery(users),
    dialect.sessionsQuery(users),
  ])
  const hosts = new Map(accounts.map(({ user, host }) => [String(user), String(host)]))
  const inside = new Set(sessions.map(({ user }) => String(user)))
  for (const ending of endings) {
    answers.set(ending, judge(userOf(ending.account), { underWay, hosts, inside }))
  }
}

type Seen = { underWay: ReadonlySet<string>; hosts: Map<string, string>; inside: Set<string> }

function judge(user: string, { underWay, hosts, inside }: Seen): Evidence | EngineError {
  if (underWay.has(user)) return new EngineError('pending', 'a create of this account is under way')
  const host = hosts.get(user)
  if (host !== undefined) return new EngineError('blocked', `"${user}@${host}" is still there`)
  if (inside.has(user)) return new EngineError('blocked', `"${user}" still has a session`)
  return { account_absent: true, sessions: 0, checked_by: ['user name, at every host'] }
}

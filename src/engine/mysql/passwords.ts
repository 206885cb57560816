import { messageOf } from '../../lib/errors.ts'
import { deadlineIn } from '../deadline.ts'
import { EngineError, type Passwords } from '../engine.ts'
import { checkRotation } from '../rotation-sql.ts'
import type { Statement } from '../sql-token.ts'
import type { Connections, Facts } from './connections.ts'
import { isNoEntry, toEngineError } from './errors.ts'
import { type HashPlugin, hashFor } from './hash.ts'
import { passwordForms, runOwnSql } from './own-sql.ts'
import type { Session } from './session.ts'
import { fullName, type UserAtHost } from './sql.ts'
import { checkStatements } from './statements.ts'

/** From the call: after this a new password is not sent any more. */
const SET_WITHIN_MS = 15_000
/** And the server ends a session that says nothing for so long, so that what was held up on its way comes to nothing. */
const SILENT_S = 20

/**
 * Passwords of admins and static roles. A name may leave the host out: then it is our own account, or the only one of
 * that user name. What goes to the server is a hash, as with leased accounts.
 */
export const passwordsOn = (connections: Connections): Passwords => ({
  check: (field, statements) => checkRotation(field, checkStatements(field, statements)),
  async set(username, password, statements) {
    const isLate = deadlineIn(SET_WITHIN_MS)
    const own = statements === undefined ? undefined : parsed(statements)
    const plain = password.reveal()
    // A session that is thrown away after, so that what it is told of silence is no matter for others.
    await connections.useForOwnSql('issuing', async (session, facts) => {
      await session.run(`SET SESSION wait_timeout = ${SILENT_S}`)
      const { account, plugin } = await resolve(session, facts, username)
      const forms = own && (await passwordForms(plain, facts.dialect))
      const text = own ? '' : facts.dialect.setPassword(account, plugin, await hashFor(plugin, plain))
      if (isLate()) throw new EngineError('late', 'the target took too long; the password was not sent')
      if (!own || !forms) return void (await session.run(text))
      await runOwnSql(session, own, { name: account.user, host: account.host, password: forms })
    })
  },
  async accepts(username, password) {
    try {
      const { leave } = await connections.logIn(splitName(username).user, password.reveal())
      leave()
      return true
    } catch (error) {
      if (isNoEntry(error)) return false
      throw toEngineError(error, 'logging in')
    }
  },
})

function parsed(statements: readonly string[]): Statement[] {
  try {
    return checkStatements('the statements', statements)
  } catch (error) {
    throw new EngineError('failed', messageOf(error))
  }
}

const splitName = (name: string): { user: string; host: string | undefined } => {
  const at = name.lastIndexOf('@')
  return at < 0 ? { user: name, host: undefined } : { user: name.slice(0, at), host: name.slice(at + 1) }
}

type Resolved = { account: UserAtHost; plugin: HashPlugin }

async function resolve(session: Session, { dialect, admin }: Facts, name: string): Promise<Resolved> {
  const { user, host } = splitName(name)
  const rows = await session.run(dialect.accountsQuery([user]))
  const wanted = host ?? (user === admin.user ? admin.host : undefined)
  const fitting = rows.filter((row) => wanted === undefined || String(row.host) === wanted.toLowerCase())
  const [row] = fitting
  if (!row) throw new EngineError('failed', `the target has no account "${name}"`)
  if (fitting.length > 1) {
    const names = fitting.map((each) => fullName({ user, host: String(each.host) }))
    throw new EngineError(
      'failed',
      `"${name}" is several accounts on the target: name one of ${names.join(', ')}`,
    )
  }
  // Clients that can only do the old way keep it, as long as the server has it.
  const plugin = row.plugin === 'mysql_native_password' ? 'mysql_native_password' : dialect.plugin
  return { account: { user, host: String(row.host) }, plugin }
}

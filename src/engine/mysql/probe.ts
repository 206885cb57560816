import { newId, randomBase62 } from '../../lib/ids.ts'
import type { Capabilities } from '../engine.ts'
import { PASSWORD_LENGTH } from '../target-fields.ts'
import type { Connections, Facts } from './connections.ts'
import { isNoEntry, isStatementFault, toEngineError } from './errors.ts'
import { hashFor } from './hash.ts'
import { dropText, lockText, tooOld } from './server.ts'
import type { Session } from './session.ts'
import { fullName, type UserAtHost } from './sql.ts'

const SKEW_WARNING_MS = 2_000

const NO_EXPIRY_WARNING =
  'this server ends no account by the clock: a lease ends when a worker of ours ends it, so at least one must always run'

/** What the admin account may do, tried for real: an account is made, logged in with, thrown out, locked and dropped. */
export async function probeTarget(connections: Connections): Promise<Capabilities> {
  return connections.use('ending', async (session, facts) => {
    const clockSkewMs = await measureSkew(session)
    const serverId = await readServerId(session, facts)
    const { missing, warnings } = await tryAll(connections, session, facts)
    return {
      serverVersion: facts.dialect.server.text,
      ...(serverId === undefined ? {} : { serverId }),
      clockSkewMs,
      revocability: 'immediate',
      missing,
      warnings: [NO_EXPIRY_WARNING, ...(await warningsFor(session, facts, clockSkewMs)), ...warnings],
    }
  })
}

async function measureSkew(session: Session): Promise<number> {
  const beforeMs = Date.now()
  const [row] = await session.run('SELECT UNIX_TIMESTAMP(SYSDATE(6)) AS now_s')
  const afterMs = Date.now()
  return Math.round(Number(row?.now_s) * 1_000 - (beforeMs + afterMs) / 2)
}

async function readServerId(session: Session, { dialect }: Facts): Promise<string | undefined> {
  const [row] = await session.run(dialect.serverIdQuery)
  return row?.Value ? String(row.Value) : undefined
}

type Findings = { missing: string[]; warnings: string[] }

async function tryAll(connections: Connections, session: Session, facts: Facts): Promise<Findings> {
  const name = fullName(facts.admin)
  const missing: string[] = []
  const old = tooOld(facts.dialect.server)
  if (old !== undefined) missing.push(old)
  if (!facts.seesSessions) missing.push(`PROCESS (run: GRANT PROCESS ON *.* TO ${name})`)
  const table = facts.dialect.server.flavour === 'MariaDB' ? 'mysql.*' : 'mysql.user, mysql.role_edges'
  const canLook = await problemOf(() => session.run(facts.dialect.accountsQuery(['v_nobody'])))
  if (canLook) missing.push(`SELECT on ${table} (run: GRANT SELECT ON mysql.* TO ${name}): ${canLook}`)
  if (missing.length > 0) return { missing, warnings: [] }
  return tryAccount(connections, session, facts)
}

/** What went wrong, in words; undefined when nothing did. */
async function problemOf(work: () => Promise<unknown>): Promise<string | undefined> {
  try {
    await work()
    return undefined
  } catch (error) {
    if (!isStatementFault(error)) throw error
    return toEngineError(error).message
  }
}

async function tryAccount(connections: Connections, session: Session, facts: Facts): Promise<Findings> {
  const { dialect, admin } = facts
  const name = fullName(admin)
  const account: UserAtHost = { user: `v_probe_${newId()}`, host: '%' }
  const password = randomBase62(PASSWORD_LENGTH)
  const hash = await hashFor(dialect.plugin, password)
  const unmade = await problemOf(() => session.run(dialect.createUsers([{ account, hash }], 1)))
  if (unmade)
    return { missing: [`CREATE USER (run: GRANT CREATE USER ON *.* TO ${name}): ${unmade}`], warnings: [] }
  const found: Findings = { missing: [], warnings: await anonymousAccounts(session, facts) }
  try {
    await trySession(connections, session, facts, { account, password }, found)
    const unset = await problemOf(() => session.run(setNoDefaultRole(facts, account)))
    if (unset) {
      found.warnings.push(
        `roles of member_of cannot be put in force (run: GRANT UPDATE ON mysql.* TO ${name}): ${unset}`,
      )
    }
    const unlocked = await problemOf(() => session.run(lockText(dialect, [account])))
    if (unlocked) found.missing.push(`locking accounts: ${unlocked}`)
    return found
  } finally {
    await session.run(dropText([account]))
  }
}

async function anonymousAccounts(session: Session, { dialect }: Facts): Promise<string[]> {
  const rows = await session.run(dialect.accountsQuery(['']))
  return rows.map(
    ({ host }) =>
      `anybody may log in by ''@'${host}' under any name, and who does so under that of a leased user holds up the proof that its lease has ended; drop that account`,
  )
}

const setNoDefaultRole = ({ dialect }: Facts, { user, host }: UserAtHost): string =>
  `SET DEFAULT ROLE NONE ${dialect.server.flavour === 'MariaDB' ? 'FOR' : 'TO'} \`${user}\`@\`${host}\``

/** Logs in with the account, finds its session among all others, and ends it. */
async function trySession(
  connections: Connections,
  session: Session,
  { dialect, admin }: Facts,
  { account, password }: { account: UserAtHost; password: string },
  found: Findings,
): Promise<void> {
  let guest: Awaited<ReturnType<Connections['logIn']>>
  try {
    guest = await connections.logIn(account.user, password)
  } catch (error) {
    if (!isNoEntry(error)) throw error
    found.warnings.push(
      `an account just made could not log in from here, so ending its session was not tried (is there an anonymous account for this host?): ${toEngineError(error).message}`,
    )
    return
  }
  try {
    const [row] = await session.run(dialect.sessionsQuery([account.user]))
    if (!row) {
      found.missing.push('seeing the sessions of others: that of an account just made was not there')
      return
    }
    const unended = await problemOf(() => session.run(`KILL CONNECTION ${Number(row.id)}`))
    if (!unended) return
    const right = dialect.server.flavour === 'MariaDB' ? 'CONNECTION ADMIN' : 'CONNECTION_ADMIN'
    found.missing.push(`${right} (run: GRANT ${right} ON *.* TO ${fullName(admin)}): ${unended}`)
  } finally {
    guest.leave()
  }
}

/** From here on MySQL refuses to drop an account that programs name as their definer, unless one may leave them so. */
const DEFINERS_HOLD = 80_022

async function warningsFor(session: Session, { dialect, admin }: Facts, skewMs: number): Promise<string[]> {
  const { server } = dialect
  const name = fullName(admin)
  const warnings: string[] = []
  if (Math.abs(skewMs) > SKEW_WARNING_MS) {
    warnings.push(`the target's clock is ${Math.round(skewMs / 100) / 10} s from ours`)
  }
  if (server.flavour === 'MariaDB') {
    warnings.push(
      `on MariaDB, CREATE USER is nearly a superuser: whoever gets the password of ${name} can set that of any account`,
    )
    return warnings
  }
  const rights = (await session.run('SHOW GRANTS'))
    .flatMap((row) => Object.values(row).map(String))
    .join('\n')
  if (
    server.version >= DEFINERS_HOLD &&
    !/SET_USER_ID|ALLOW_NONEXISTENT_DEFINER|ALL PRIVILEGES/.test(rights)
  ) {
    const right = server.version >= 80_200 ? 'ALLOW_NONEXISTENT_DEFINER' : 'SET_USER_ID'
    warnings.push(
      `a leased account that made a view, routine, trigger or event cannot be dropped (run: GRANT ${right} ON *.* TO ${name})`,
    )
  }
  return warnings
}

import type { HashPlugin } from './hash.ts'
import {
  accountText,
  accountTexts,
  DEFAULT_HOST,
  identifier,
  literal,
  literals,
  type UserAtHost,
} from './sql.ts'
import type { PasswordForms } from './statements.ts'

/** What a server is, found out once per connection. All that MySQL and MariaDB do differently is in this file. */
export type Server = {
  flavour: 'MySQL' | 'MariaDB'
  /** As 101119 for 10.11.19. */
  version: number
  text: string
  /** Whether the performance schema is there to be asked; switched off, it has no rows and no error. */
  hasPerformanceSchema: boolean
}

export function readServer(text: string, hasPerformanceSchema: boolean): Server {
  const [, major = 0, minor = 0, patch = 0] = (/^(\d+)\.(\d+)\.(\d+)/.exec(text) ?? []).map(Number)
  return {
    flavour: /mariadb/i.test(text) ? 'MariaDB' : 'MySQL',
    version: major * 10_000 + minor * 100 + patch,
    text,
    hasPerformanceSchema,
  }
}

const OLDEST: Record<Server['flavour'], { version: number; words: string }> = {
  MySQL: { version: 80_000, words: 'MySQL 8.0 or newer' },
  MariaDB: { version: 100_600, words: 'MariaDB 10.6 or newer' },
}

/** The words for what it would have to be, where it is older. */
export const tooOld = ({ flavour, version }: Server): string | undefined =>
  version < OLDEST[flavour].version ? OLDEST[flavour].words : undefined

export type NewUser = { account: UserAtHost; hash: string }

/** Statements of ours, as one flavour takes them. */
export type Dialect = {
  server: Server
  /** What new accounts log in with: the plugin that the driver and every client of the server's age know. */
  plugin: HashPlugin
  /** Stops statements of ours that a lock does not. MySQL has such a limit for queries alone. */
  prepareSession: readonly string[]
  /** Before a statement that is not to wait long for others. MySQL's limit for waiting is enough. */
  soon: string
  createUsers(users: readonly NewUser[], connectionLimit: number): string
  /** As a group is named in statements. */
  group(name: string): string
  /** How many groups can be in force at once from the login on. */
  groupsAtOnce: number
  /** Rows `{name}` of those of the groups that are there, and of what may be given; one that could log in is none. */
  groupsQuery(groups: readonly string[]): string
  setDefaultRoles(groups: readonly string[], accounts: readonly UserAtHost[]): string[]
  /** Rows `{user, host, locked, plugin, max_connections}` of every account that has one of these user names. */
  accountsQuery(users: Iterable<string>): string
  /** Rows `{host, user}` of the next accounts whose names are like ours, in the order of both. */
  pageQuery(after: UserAtHost, like: string, limit: number): string
  /** Rows `{id, user}`. */
  sessionsQuery(users: Iterable<string>): string
  /** Takes what accounts were granted from those whose programs could go on working with it; see `strip.ts`. */
  definersQuery(accounts: readonly UserAtHost[]): string
  /** Rows `{user, host, role, name}` of events that run in the name of a role these accounts have. */
  roleEventsQuery(accounts: readonly UserAtHost[]): string
  rolesQuery(accounts: readonly UserAtHost[]): string
  setPassword(account: UserAtHost, plugin: HashPlugin, hash: string): string
  /** The clause of CREATE and ALTER USER for a password, by the plugin that was asked for or the server's own. */
  identified(forms: PasswordForms['hashes'], plugin: HashPlugin | undefined): string
  serverIdQuery: string
}

export const dialectOf = (server: Server): Dialect =>
  server.flavour === 'MariaDB' ? mariadb(server) : mysql(server)

const pairs = (accounts: readonly UserAtHost[]): string =>
  accounts.map(({ user, host }) => `(${literal(user)}, ${literal(host)})`).join(', ')

/** In the order of the tables' primary key. */
const after = ({ user, host }: UserAtHost): string =>
  `(Host = ${literal(host)} AND User > ${literal(user)} OR Host > ${literal(host)})`

const noRows = (...columns: readonly string[]): string =>
  `SELECT ${columns.map((column) => `'' AS ${column}`).join(', ')} FROM DUAL WHERE FALSE`

const WITHOUT_END = 'PASSWORD EXPIRE NEVER'

const hashOf = (hashes: PasswordForms['hashes'], plugin: HashPlugin): string => {
  const hash = hashes[plugin]
  if (hash === undefined) throw new Error(`no hash of the password was made for ${plugin}`)
  return literal(hash)
}

/** As the tables of events and routines name who made them. */
const definers = (accounts: readonly UserAtHost[]): string =>
  literals(accounts.map(({ user, host }) => `${user}@${host}`))

function mariadb(server: Server): Dialect {
  return {
    server,
    plugin: 'mysql_native_password',
    prepareSession: ['SET SESSION max_statement_time = 30'],
    // Under a global read lock that limit for waiting does not count.
    soon: 'SET STATEMENT max_statement_time = 5 FOR ',
    createUsers: (users, limit) =>
      `CREATE USER ${users
        .map(
          ({ account, hash }) =>
            `${accountText(account)} IDENTIFIED VIA mysql_native_password USING ${literal(hash)}`,
        )
        .join(', ')} WITH MAX_USER_CONNECTIONS ${limit} ${WITHOUT_END}`,
    group: identifier,
    groupsAtOnce: 1,
    // Roles are the rows without a host.
    groupsQuery: (groups) =>
      `SELECT User AS name FROM mysql.global_priv WHERE Host = '' AND User IN (${literals(groups)})`,
    setDefaultRoles: ([group], accounts) =>
      group === undefined
        ? []
        : accounts.map((account) => `SET DEFAULT ROLE ${identifier(group)} FOR ${accountText(account)}`),
    accountsQuery: (users) =>
      `SELECT User AS user, Host AS host, JSON_VALUE(Priv, '$.account_locked') = 1 AS locked,
              JSON_VALUE(Priv, '$.plugin') AS plugin, JSON_VALUE(Priv, '$.max_user_connections') AS max_connections
       FROM mysql.global_priv WHERE User IN (${literals(users)}) AND Host <> ''`,
    pageQuery: (last, like, limit) =>
      `SELECT Host AS host, User AS user FROM mysql.global_priv
       WHERE Host <> '' AND User LIKE ${like} AND ${after(last)} ORDER BY Host, User LIMIT ${limit}`,
    sessionsQuery: (users) =>
      `SELECT ID AS id, USER AS user FROM information_schema.PROCESSLIST WHERE USER IN (${literals(users)})`,
    definersQuery: (accounts) =>
      `SELECT definer, 'event' AS kind, CONCAT(db, '.', name) AS name FROM mysql.event WHERE definer IN (${definers(accounts)})
       UNION ALL SELECT definer, LOWER(type), CONCAT(db, '.', name) FROM mysql.proc WHERE definer IN (${definers(accounts)})`,
    // `CREATE DEFINER = CURRENT_ROLE EVENT` is for everybody who may make events.
    roleEventsQuery: (accounts) =>
      `SELECT m.User AS user, m.Host AS host, m.Role AS role, CONCAT(e.db, '.', e.name) AS name
       FROM mysql.roles_mapping m JOIN mysql.event e ON e.definer = CONCAT(m.Role, '@')
       WHERE (m.User, m.Host) IN (${pairs(accounts)}) AND e.status = 'ENABLED'`,
    // REVOKE ALL takes roles too.
    rolesQuery: () => noRows('user', 'host', 'role', 'role_host'),
    // Leaves other ways to log in that the account may have as they are.
    setPassword: (account, _plugin, hash) => `SET PASSWORD FOR ${accountText(account)} = ${literal(hash)}`,
    identified: (hashes) => `IDENTIFIED BY PASSWORD ${hashOf(hashes, 'mysql_native_password')}`,
    // Not before 10.11.9; older servers answer nothing.
    serverIdQuery: "SHOW GLOBAL VARIABLES LIKE 'server_uid'",
  }
}

const asGroup = (name: string): UserAtHost => {
  const [, user = name, host = DEFAULT_HOST] = /^(.+)@([^@]*)$/.exec(name) ?? []
  return { user, host }
}

/** From here on a table of the performance schema shows sessions without holding up the whole server. */
const PERFORMANCE_PROCESSLIST = 80_022

function mysql(server: Server): Dialect {
  const processlist =
    server.hasPerformanceSchema && server.version >= PERFORMANCE_PROCESSLIST
      ? 'performance_schema.processlist'
      : 'information_schema.PROCESSLIST'
  return {
    server,
    plugin: 'caching_sha2_password',
    prepareSession: ['SET SESSION max_execution_time = 30000'],
    soon: '',
    createUsers: (users, limit) =>
      `CREATE USER ${users
        .map(
          ({ account, hash }) =>
            `${accountText(account)} IDENTIFIED WITH caching_sha2_password AS ${literal(hash)}`,
        )
        .join(', ')} WITH MAX_USER_CONNECTIONS ${limit} ${WITHOUT_END}`,
    group: (name) => accountText(asGroup(name)),
    groupsAtOnce: Number.POSITIVE_INFINITY,
    // A role is an account that cannot log in: one that can is somebody's, with whatever rights that has.
    groupsQuery: (groups) =>
      groups.length === 0
        ? noRows('name')
        : groups
            .map((name) => {
              const { user, host } = asGroup(name)
              return `SELECT ${literal(name)} AS name FROM mysql.user
                      WHERE User = ${literal(user)} AND Host = ${literal(host)} AND account_locked = 'Y'`
            })
            .join(' UNION ALL '),
    setDefaultRoles: (groups, accounts) =>
      groups.length === 0
        ? []
        : [
            `SET DEFAULT ROLE ${groups.map((name) => accountText(asGroup(name))).join(', ')} TO ${accountTexts(accounts)}`,
          ],
    accountsQuery: (users) =>
      `SELECT User AS user, Host AS host, account_locked = 'Y' AS locked, plugin, max_user_connections AS max_connections
       FROM mysql.user WHERE User IN (${literals(users)})`,
    pageQuery: (last, like, limit) =>
      `SELECT Host AS host, User AS user FROM mysql.user
       WHERE User LIKE ${like} AND ${after(last)} ORDER BY Host, User LIMIT ${limit}`,
    sessionsQuery: (users) =>
      `SELECT ID AS id, USER AS user FROM ${processlist} WHERE USER IN (${literals(users)})`,
    // Only what is in schemas that the admin account may look into.
    definersQuery: (accounts) =>
      `SELECT DEFINER AS definer, 'event' AS kind, CONCAT(EVENT_SCHEMA, '.', EVENT_NAME) AS name
       FROM information_schema.EVENTS WHERE DEFINER IN (${definers(accounts)})
       UNION ALL SELECT DEFINER, LOWER(ROUTINE_TYPE), CONCAT(ROUTINE_SCHEMA, '.', ROUTINE_NAME)
       FROM information_schema.ROUTINES WHERE DEFINER IN (${definers(accounts)})`,
    // In another name than one's own only with rights that no leased account should have.
    roleEventsQuery: () => noRows('user', 'host', 'role', 'name'),
    rolesQuery: (accounts) =>
      `SELECT TO_USER AS user, TO_HOST AS host, FROM_USER AS role, FROM_HOST AS role_host
       FROM mysql.role_edges WHERE (TO_USER, TO_HOST) IN (${pairs(accounts)})`,
    setPassword: (account, plugin, hash) =>
      `ALTER USER ${accountText(account)} IDENTIFIED WITH ${plugin} AS ${literal(hash)}`,
    identified(hashes, plugin = 'caching_sha2_password') {
      return `IDENTIFIED WITH ${plugin} AS ${hashOf(hashes, plugin)}`
    },
    serverIdQuery: "SHOW GLOBAL VARIABLES LIKE 'server_uuid'",
  }
}

/** The same for both. */

export const grantText = (dialect: Dialect, group: string, accounts: readonly UserAtHost[]): string =>
  `GRANT ${dialect.group(group)} TO ${accountTexts(accounts)}`

/** Gives up soon: whoever holds it up may be one of these very accounts. */
export const lockText = ({ soon }: Dialect, accounts: readonly UserAtHost[]): string =>
  `${soon}ALTER USER IF EXISTS ${accountTexts(accounts)} ACCOUNT LOCK`

export const dropText = (accounts: readonly UserAtHost[]): string =>
  `DROP USER IF EXISTS ${accountTexts(accounts)}`

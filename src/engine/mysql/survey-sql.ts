import { GRANTS_KEPT } from '../survey.ts'
import type { Server } from './server.ts'
import { literals, type UserAtHost } from './sql.ts'

/** What a survey asks, as one flavour takes it. Hashes of passwords never leave the server. */
export type SurveyQueries = {
  /** Rows `{user, host, locked, rights, login, password}` and a column for each setting. */
  accounts: string
  /** Rows `{user, host, name, may_give}`. */
  groups: string
  /** Rows as the server has them, a column for each right: those on all of a database. */
  databases: string
  /** Rows `{user, host, object, rights, total}`: of each account the first hundred. */
  objects: string
  /** Rights that have a name and no column; rows `{user, host, name}`. */
  named?: string
}

/** As they are written in the columns of MySQL; in the order of MariaDB's bits. */
const RIGHTS =
  `Select Insert Update Delete Create Drop Reload Shutdown Process File Grant References Index Alter Show_db
  Super Create_tmp_table Lock_tables Execute Repl_slave Repl_client Create_view Show_view Create_routine Alter_routine
  Create_user Event Trigger Create_tablespace`.split(/\s+/)

const BITS_ONLY = `Delete_history Set_user Federated_admin Connection_admin Read_only_admin Repl_slave_admin
  Repl_master_admin Binlog_admin Binlog_replay Slave_monitor Show_create_routine`.split(/\s+/)

const COLUMNS_ONLY = ['Create_role', 'Drop_role']

/** The words for a number that has a bit for each right; more bits than a bitwise operator of ours could take. */
export const rightsIn = (access: number): string[] =>
  Array.from({ length: 53 }, (_, bit) => bit)
    .filter((bit) => Math.floor(access / 2 ** bit) % 2 === 1)
    .map((bit) => [...RIGHTS, ...BITS_ONLY][bit] ?? `Right_${bit}`)
    .map((right) => right.toUpperCase())

const LIMITS = [
  'max_questions',
  'max_updates',
  'max_connections',
  'max_user_connections',
  'max_statement_time',
] as const

export const SETTINGS = [...LIMITS, 'ssl_type'] as const

export function surveyQueries({ flavour }: Server, accounts: readonly UserAtHost[]): SurveyQueries {
  // Each by itself: of pairs, MariaDB would read the whole table for them.
  const theirs = `Host IN (${literals(new Set(accounts.map(({ host }) => host)))})
    AND User IN (${literals(accounts.map(({ user }) => user))})`
  const shared = {
    databases: `SELECT * FROM mysql.db WHERE ${theirs}`,
    objects: objectsQuery(theirs),
  }
  return flavour === 'MariaDB' ? { ...shared, ...mariadb(theirs) } : { ...shared, ...mysql(theirs) }
}

const hashOf = (parts: readonly string[]): string =>
  `LEFT(SHA2(CONCAT_WS(' ', ${parts.join(', ')}), 256), 16)`

const mariadb = (theirs: string): Pick<SurveyQueries, 'accounts' | 'groups'> => ({
  accounts: `
    SELECT User AS user, Host AS host, JSON_VALUE(Priv, '$.account_locked') = 1 AS locked,
           JSON_VALUE(Priv, '$.access') AS rights,
           CONCAT(JSON_VALUE(Priv, '$.plugin'), IF(JSON_EXISTS(Priv, '$.auth_or'), ' and others', '')) AS login,
           ${hashOf(["JSON_VALUE(Priv, '$.plugin')", "JSON_VALUE(Priv, '$.authentication_string')", "JSON_EXTRACT(Priv, '$.auth_or')"])} AS password,
           ${LIMITS.map((name) => `JSON_VALUE(Priv, '$.${name}') AS ${name}`).join(', ')},
           ELT(JSON_VALUE(Priv, '$.ssl_type'), 'ANY', 'X509', 'SPECIFIED') AS ssl_type
    FROM mysql.global_priv WHERE ${theirs}`,
  groups: `SELECT User AS user, Host AS host, Role AS name, Admin_option = 'Y' AS may_give
    FROM mysql.roles_mapping WHERE ${theirs}`,
})

const mysql = (theirs: string): Pick<SurveyQueries, 'accounts' | 'groups' | 'named'> => ({
  accounts: `
    SELECT User AS user, Host AS host, account_locked = 'Y' AS locked,
           CONCAT_WS(',', ${[...RIGHTS, ...COLUMNS_ONLY].map((right) => `IF(${right}_priv = 'Y', '${right}', NULL)`).join(', ')}) AS rights,
           CONCAT(plugin, IF(JSON_EXTRACT(User_attributes, ${OTHER_WAYS}) IS NULL, '', ' and others')) AS login,
           ${hashOf(['plugin', 'authentication_string', `JSON_EXTRACT(User_attributes, ${OTHER_WAYS})`])} AS password,
           max_questions, max_updates, max_connections, max_user_connections, ssl_type
    FROM mysql.user WHERE ${theirs}`,
  groups: `SELECT TO_USER AS user, TO_HOST AS host,
           IF(FROM_HOST = '%', FROM_USER, CONCAT(FROM_USER, '@', FROM_HOST)) AS name, WITH_ADMIN_OPTION = 'Y' AS may_give
    FROM mysql.role_edges WHERE ${theirs.replaceAll('Host IN', 'TO_HOST IN').replaceAll('User IN', 'TO_USER IN')}`,
  named: `SELECT USER AS user, HOST AS host, PRIV AS name FROM mysql.global_grants WHERE ${theirs}`,
})

/** A second password that goes on to be taken, and factors beside it. */
const OTHER_WAYS = `'$.additional_password', '$.Multi_factor_authentication'`

/** Being let in as somebody else comes first, so that no hundred others can hide it. */
const objectsQuery = (theirs: string): string => `
  SELECT user, host, object, rights, total FROM (
    SELECT user, host, object, rights, COUNT(*) OVER (PARTITION BY user, host) AS total,
           ROW_NUMBER() OVER (PARTITION BY user, host ORDER BY rank_, object) AS n
    FROM (
      SELECT User AS user, Host AS host, 0 AS rank_, CONCAT('the account ', Proxied_user, '@', Proxied_host) AS object,
             IF(With_grant, 'Proxy,Grant', 'Proxy') AS rights FROM mysql.proxies_priv WHERE ${theirs}
      UNION ALL SELECT User, Host, 1, CONCAT('table ', Db, '.', Table_name), Table_priv
        FROM mysql.tables_priv WHERE ${theirs} AND Table_priv <> ''
      UNION ALL SELECT User, Host, 1, CONCAT('column ', Db, '.', Table_name, '.', Column_name), Column_priv FROM mysql.columns_priv WHERE ${theirs}
      UNION ALL SELECT User, Host, 1, CONCAT(LOWER(Routine_type), ' ', Db, '.', Routine_name), Proc_priv FROM mysql.procs_priv WHERE ${theirs}
    ) AS given
  ) AS numbered WHERE n <= ${GRANTS_KEPT}`

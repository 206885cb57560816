import { describe, expect, test } from 'vitest'
import { nativeHash } from '../../src/engine/mysql/hash.ts'
import { dialectOf, grantText, readServer, tooOld } from '../../src/engine/mysql/server.ts'
import {
  checkStatements,
  parseStatements,
  render,
  type SlotValues,
  sendsPlainPassword,
} from '../../src/engine/mysql/statements.ts'

const MARIADB = dialectOf(readServer('10.11.19-MariaDB-0+deb12u1', false))
const MYSQL = dialectOf(readServer('8.4.3', true))
const NATIVE = nativeHash('Pass123')
const SHA2 = '$A$005$aaaaaaaaaaaaaaaaaaaabbbb'

const valuesFor = (dialect: typeof MYSQL): SlotValues => {
  const hashes = { mysql_native_password: NATIVE, caching_sha2_password: SHA2 }
  return {
    name: 'v_app_0',
    host: '10.%',
    password: { plain: 'Pass123', hashes, identified: (plugin) => dialect.identified(hashes, plugin) },
    expiration: '2026-01-01 00:00:00+0000',
  }
}
const rendered = (sql: string, dialect = MYSQL) =>
  parseStatements([sql]).map((statement) => render(statement, valuesFor(dialect)).trim())

describe('slots', () => {
  test.each([
    [`CREATE USER '{{name}}'@'{{host}}'`, `CREATE USER 'v_app_0'@'10.%'`],
    ['CREATE USER {{username}}@{{host}}', 'CREATE USER `v_app_0`@`10.%`'],
    [`CALL make("{{name}}", '{{password}}')`, `CALL make("v_app_0", 'Pass123')`],
    [`SELECT {{expiration}} -- {{nope}}`, `SELECT '2026-01-01 00:00:00+0000' -- {{nope}}`],
  ])('%s', (sql, text) => {
    expect(rendered(sql)).toEqual([text])
  })

  test.each([
    ['name', "x' OR '"],
    ['name', 'a--b'],
    ['host', '`'],
    ['expiration', 'now'],
  ])('a %s that could leave its slot is refused', (slot, value) => {
    const [statement = []] = parseStatements([`SELECT '{{${slot}}}'`])
    expect(() => render(statement, { ...valuesFor(MYSQL), [slot]: value })).toThrow('not allowed')
  })

  test('a password that could is refused as it is, and sent as a hash', () => {
    const password = { plain: "it's", hashes: {}, identified: () => `IDENTIFIED BY PASSWORD 'H'` }
    const [plain = [], hashed = []] = parseStatements([
      `SELECT '{{password}}'; ALTER USER x IDENTIFIED BY '{{password}}'`,
    ])
    expect(() => render(plain, { name: 'a', host: '%', password })).toThrow('not allowed')
    expect(render(hashed, { name: 'a', host: '%', password })).toBe(
      ` ALTER USER x IDENTIFIED BY PASSWORD 'H'`,
    )
  })
})

describe('the password goes as a hash', () => {
  test.each([
    [
      `CREATE USER x IDENTIFIED BY '{{password}}' REQUIRE SSL`,
      MYSQL,
      `CREATE USER x IDENTIFIED WITH caching_sha2_password AS '${SHA2}' REQUIRE SSL`,
    ],
    [
      `CREATE USER x identified by "{{ password }}"`,
      MARIADB,
      `CREATE USER x IDENTIFIED BY PASSWORD '${NATIVE}'`,
    ],
    [`ALTER USER x IDENTIFIED BY {{password}}`, MARIADB, `ALTER USER x IDENTIFIED BY PASSWORD '${NATIVE}'`],
    [
      `CREATE USER x IDENTIFIED WITH mysql_native_password BY '{{password}}'`,
      MYSQL,
      `CREATE USER x IDENTIFIED WITH mysql_native_password AS '${NATIVE}'`,
    ],
    [
      `CREATE USER x IDENTIFIED WITH 'caching_sha2_password' /* c */ AS '{{password}}'`,
      MYSQL,
      `CREATE USER x IDENTIFIED WITH caching_sha2_password AS '${SHA2}'`,
    ],
    [
      `CREATE USER x IDENTIFIED VIA mysql_native_password USING '{{password}}'`,
      MARIADB,
      `CREATE USER x IDENTIFIED VIA mysql_native_password USING '${NATIVE}'`,
    ],
  ])('%s', (sql, dialect, text) => {
    expect(rendered(sql, dialect)).toEqual([text])
    expect(sendsPlainPassword(parseStatements([sql]))).toBe(false)
  })

  test.each([
    `CREATE USER x IDENTIFIED WITH sha256_password BY '{{password}}'`,
    `CREATE USER x IDENTIFIED BY 'a{{password}}'`,
    `SET PASSWORD FOR x = '{{password}}'`,
    `CREATE USER x IDENTIFIED VIA mysql_native_password USING PASSWORD('{{password}}')`,
  ])('but not in %s, and that is known', (sql) => {
    expect(rendered(sql)[0]).toContain('Pass123')
    expect(sendsPlainPassword(parseStatements([sql]))).toBe(true)
  })
})

describe('the lexer', () => {
  test.each([
    ["SELECT 'a;b'; SELECT 2", 2],
    ["SELECT 'it''s;'; SELECT 2", 2],
    ["SELECT 'it\\'s;'; SELECT 2", 2],
    ['SELECT "a\\";b"; SELECT 2', 2],
    ['SELECT `a;``b`; SELECT 2', 2],
    ['SELECT 1 # a; b\n; SELECT 2', 2],
    ['SELECT 1 -- a; b\n; SELECT 2', 2],
    ['SELECT 1--1; SELECT 2', 2],
    ['SELECT /* a; /* b */ 1; SELECT 2', 2],
    ['SELECT 1 -- a; b\r; c\n; SELECT 2', 2],
    ['SELECT 1 --\u00a0a; SELECT 2', 2],
    [' ; ;', 0],
  ])('cuts %j into %i', (sql, count) => {
    expect(parseStatements([sql])).toHaveLength(count)
  })

  test.each([
    ["SELECT 'a", 'not closed'],
    ['SELECT `a', 'not closed'],
    ["SELECT N'a", 'not closed'],
    ['SELECT /* a', 'not closed'],
    ['SELECT /*!80000 1 */', 'comment that is run'],
    ['SELECT /*M!100000 1 */', 'comment that is run'],
    ["SELECT x'{{name}}'", 'cannot stand in'],
    ['SELECT a_{{name}}', 'must stand apart'],
    ['COMMIT', 'COMMIT is not allowed'],
    ['begin', 'BEGIN is not allowed'],
    ['SET SESSION sql_mode = 1', 'SET SESSION is not allowed'],
    ['SET @@sql_mode = 1', 'SET @ is not allowed'],
    ['set role x', 'SET ROLE is not allowed'],
    [`SET PASSWORD FOR x = 'y', sql_mode = ''`, 'SET of several things'],
    ['SET DEFAULT ROLE a FOR b, NAMES latin1', 'SET of several things'],
    ['PREPARE s FROM x', 'PREPARE is not allowed'],
    ['USE mysql', 'USE is not allowed'],
    ['KILL 3', 'KILL is not allowed'],
  ])('refuses %j', (sql, problem) => {
    expect(() => checkStatements('creation_statements', [sql])).toThrow(
      `creation_statements: ${problem}`.slice(0, 20),
    )
    expect(() => checkStatements('creation_statements', [sql])).toThrow(problem)
  })

  test.each([
    `SET DEFAULT ROLE a FOR '{{name}}'`,
    `SET DEFAULT ROLE a, b TO '{{name}}', c`,
    `SET PASSWORD FOR x = 'y, z'`,
    `SELECT 'COMMIT; USE x'`,
  ])('lets %j through', (sql) => {
    expect(checkStatements('creation_statements', [sql])).toHaveLength(1)
  })
})

describe('what each kind of server is told', () => {
  const [a, b] = [
    { account: { user: 'v_a_0', host: '%' }, hash: '*AA' },
    { account: { user: 'v_b_0', host: '10.%' }, hash: "*B'B" },
  ]
  const accounts = [a.account, b.account]

  test('making users, many in one statement', () => {
    expect(MARIADB.createUsers([a, b], 7)).toBe(
      "CREATE USER `v_a_0`@`%` IDENTIFIED VIA mysql_native_password USING '*AA', " +
        "`v_b_0`@`10.%` IDENTIFIED VIA mysql_native_password USING '*B''B' WITH MAX_USER_CONNECTIONS 7 PASSWORD EXPIRE NEVER",
    )
    expect(MYSQL.createUsers([a], 7)).toBe(
      "CREATE USER `v_a_0`@`%` IDENTIFIED WITH caching_sha2_password AS '*AA' WITH MAX_USER_CONNECTIONS 7 PASSWORD EXPIRE NEVER",
    )
  })

  test('groups and which are in force', () => {
    expect(grantText(MARIADB, 'it`s', accounts)).toBe('GRANT `it``s` TO `v_a_0`@`%`, `v_b_0`@`10.%`')
    expect(MARIADB.setDefaultRoles(['r'], accounts)).toEqual([
      'SET DEFAULT ROLE `r` FOR `v_a_0`@`%`',
      'SET DEFAULT ROLE `r` FOR `v_b_0`@`10.%`',
    ])
    expect(grantText(MYSQL, 'r@localhost', accounts)).toBe(
      'GRANT `r`@`localhost` TO `v_a_0`@`%`, `v_b_0`@`10.%`',
    )
    expect(MYSQL.setDefaultRoles(['r', 's@localhost'], accounts)).toEqual([
      'SET DEFAULT ROLE `r`@`%`, `s`@`localhost` TO `v_a_0`@`%`, `v_b_0`@`10.%`',
    ])
    for (const dialect of [MARIADB, MYSQL]) expect(dialect.setDefaultRoles([], accounts)).toEqual([])
    expect([MARIADB.groupsAtOnce, MYSQL.groupsAtOnce]).toEqual([1, Number.POSITIVE_INFINITY])
  })

  test('on MySQL an account that can log in is no group', () => {
    expect(MYSQL.groupsQuery(['root'])).toContain("User = 'root' AND Host = '%' AND account_locked = 'Y'")
    expect(MYSQL.groupsQuery([])).toContain('WHERE FALSE')
  })

  test('where sessions are looked for', () => {
    const from = (text: string, hasPerformanceSchema: boolean) =>
      /FROM (\S+)/.exec(dialectOf(readServer(text, hasPerformanceSchema)).sessionsQuery(['v_a_0']))?.[1]
    expect(from('8.4.3', true)).toBe('performance_schema.processlist')
    expect(from('9.1.0', true)).toBe('performance_schema.processlist')
    // Switched off, it is there and empty.
    expect(from('8.4.3', false)).toBe('information_schema.PROCESSLIST')
    expect(from('8.0.20', true)).toBe('information_schema.PROCESSLIST')
    expect(from('11.4.2-MariaDB', true)).toBe('information_schema.PROCESSLIST')
  })

  test('setting a password', () => {
    expect(MARIADB.setPassword(a.account, 'mysql_native_password', '*AA')).toBe(
      "SET PASSWORD FOR `v_a_0`@`%` = '*AA'",
    )
    expect(MYSQL.setPassword(a.account, 'caching_sha2_password', SHA2)).toBe(
      `ALTER USER \`v_a_0\`@\`%\` IDENTIFIED WITH caching_sha2_password AS '${SHA2}'`,
    )
  })

  test.each([
    ['8.0.36', 'MySQL', 80_036, undefined],
    ['9.1.0-commercial', 'MySQL', 90_100, undefined],
    ['5.7.44-log', 'MySQL', 50_744, 'MySQL 8.0 or newer'],
    ['10.6.16-MariaDB', 'MariaDB', 100_616, undefined],
    ['11.4.2-MariaDB-ubu2404', 'MariaDB', 110_402, undefined],
    ['10.5.1-MariaDB', 'MariaDB', 100_501, 'MariaDB 10.6 or newer'],
  ])('%s', (text, flavour, version, old) => {
    const server = readServer(text, true)
    expect(server).toMatchObject({ flavour, version })
    expect(tooOld(server)).toBe(old)
  })
})

import { describe, expect, test } from 'vitest'
import { EMBEDDED_PASSWORD_WARNING } from '../../src/engine/connection-url.ts'
import { liftPassword, parsePlace } from '../../src/engine/mysql/connection-url.ts'
import { mysql } from '../../src/engine/mysql/mysql.ts'
import { accountName } from '../../src/engine/mysql/name.ts'
import { checkRole } from '../../src/engine/mysql/role.ts'
import { leaseIdInUser, userAtHost } from '../../src/engine/mysql/sql.ts'
import { checkTarget, readTarget } from '../../src/engine/mysql/target.ts'
import { mustVerify, tlsOptions } from '../../src/engine/mysql/tls.ts'
import { compileNameTemplate } from '../../src/engine/username-template.ts'
import { newId } from '../../src/lib/ids.ts'
import { sensitive } from '../../src/lib/sensitive.ts'

const URL = '{{username}}:{{password}}@tcp(db:3306)/'

describe('connection_url', () => {
  test.each([
    ['{{username}}:{{password}}@tcp(127.0.0.1:3306)/', { host: '127.0.0.1', port: 3_306 }],
    ['{{username}}:{{password}}@tcp(db)/shop?tls=true', { host: 'db', port: 3_306, tls: 'true' }],
    ['{{username}}:{{password}}@tcp([2001:db8::1]:3307)/', { host: '2001:db8::1', port: 3_307 }],
    ['admin:{{password}}@(db:1)/', { host: 'db', port: 1, username: 'admin' }],
    ['admin@tcp/', { host: '127.0.0.1', port: 3_306, username: 'admin' }],
    ['a@unix(/run/mysqld/mysqld.sock)/shop', { socketPath: '/run/mysqld/mysqld.sock' }],
    ['a:p@ss/w:o?rd@tcp(db:2)/shop', { host: 'db', port: 2, username: 'a' }],
    ['a@tcp(db)/?timeout=5s', { connectTimeoutMs: 5_000 }],
    ['a@tcp(db)/?timeout=1h', { connectTimeoutMs: 60_000 }],
    ['mysql://{{username}}:{{password}}@db.example:3310/shop', { host: 'db.example', port: 3_310 }],
    ['mysql://ad%40min@[::1]/', { host: '::1', username: 'ad@min' }],
  ])('%s', (url, place) => {
    expect(parsePlace(url)).toMatchObject(place)
  })

  test.each([
    ['u:p@tcp(db:3306)', 'has no /'],
    ['u:p@udp(db:3306)/', 'tcp(host:port)'],
    ['u:p@tcp(db:99999)/', 'no port'],
    ['u:p@tcp(a:1,b:2)/', 'one host'],
    ['u:p@tcp(:3306)/', 'names no host'],
    ['u:p@tcp(db)/?timeout=soon', 'no duration'],
    ['u:p@tcp(db)/?sslpassword=x', 'not known'],
    ['u:p@tcp(db)/?tls=custom', 'tls must be one of'],
    ['mysql://u:%zz@db:1,c:2/', 'one host'],
  ])('%s is refused', (url, problem) => {
    const write = () => checkTarget({ connection_url: url })
    expect(write).toThrow('connection_url')
    expect(write).toThrow(problem)
  })

  test.each([
    ['admin:s3cret@tcp(db:3306)/', 'admin:{{password}}@tcp(db:3306)/', 's3cret'],
    ['admin:p@ss/w:rd@tcp(db)/shop', 'admin:{{password}}@tcp(db)/shop', 'p@ss/w:rd'],
    ['mysql://admin:p%40ss@db/', 'mysql://admin:{{password}}@db/', 'p@ss'],
    [URL, URL, undefined],
    ['admin@tcp(db)/', 'admin@tcp(db)/', undefined],
  ])('a password in %s is taken out', (url, kept, password) => {
    expect(liftPassword(url)).toEqual({ url: kept, password })
    const checked = checkTarget({ connection_url: url })
    expect(checked.password?.reveal()).toBe(password)
    expect(JSON.stringify(checked.spec)).not.toContain(password ?? 'no such text')
    expect(checked.warnings.includes(EMBEDDED_PASSWORD_WARNING)).toBe(password !== undefined)
  })
})

describe('TLS', () => {
  const modeOf = (fields: object) => readTarget(checkTarget({ connection_url: URL, ...fields }).spec).tls
  const CA = '-----BEGIN CERTIFICATE-----\nx\n-----END CERTIFICATE-----'

  test.each([
    [{}, 'preferred'],
    [{ tls_ca: CA }, 'true'],
    [{ tls_server_name: 'db.internal' }, 'true'],
    [{ tls_skip_verify: true }, 'skip-verify'],
    [{ connection_url: `${URL}?tls=false` }, 'false'],
    [{ connection_url: `${URL}?tls=skip-verify` }, 'skip-verify'],
  ])('%j is %s', (fields, mode) => {
    expect(modeOf(fields)).toBe(mode)
  })

  test.each([
    [{ tls_ca: CA, tls_skip_verify: true }, 'tls_ca'],
    [{ tls_server_name: 'x', connection_url: `${URL}?tls=false` }, 'tls_server_name'],
    [{ tls_ca: 'no certificate' }, 'tls_ca must be in PEM form'],
    [{ tls_skip_verify: 'perhaps' }, 'tls_skip_verify'],
  ])('%j is refused', (fields, problem) => {
    expect(() => modeOf(fields)).toThrow(problem)
  })

  test('a client certificate is shown to nobody who was not checked', () => {
    const target = readTarget(checkTarget({ connection_url: URL }).spec)
    const admin = { username: 'a', password: sensitive('b') }
    expect(mustVerify(target, admin)).toBe(false)
    const bundle = `${CA}\n-----BEGIN PRIVATE KEY-----\ny\n-----END PRIVATE KEY-----`
    const options = tlsOptions(target, { ...admin, tlsPrivateKey: sensitive(bundle) })
    expect(options).toEqual({ cert: bundle, key: bundle, rejectUnauthorized: true, verifyIdentity: true })
  })

  test('an unchecked server elsewhere is warned of', () => {
    const warn = (url: string) => checkTarget({ connection_url: url }).warnings
    expect(warn(URL)).toEqual([expect.stringContaining('does not check which server answers')])
    expect(warn(`${URL}?tls=true`)).toEqual([])
    expect(warn('a@tcp(127.0.0.1)/')).toEqual([])
  })
})

test('what only some plugin names mean selects this engine', () => {
  expect(mysql.plugins).toEqual(
    ['', 'aurora-', 'rds-', 'legacy-'].map((kind) => `mysql-${kind}database-plugin`),
  )
})

test.each([
  [{}, 'empty creation statements'],
  [{ member_of: ['a'], host: "x' OR 1" }, 'host must be'],
  [{ member_of: ['a'], host: 'a--b' }, 'host must be'],
  [{ member_of: ['a'], host: 'x'.repeat(61) }, 'host must be'],
  [{ member_of: ['x'.repeat(81)] }, 'member_of'],
  [{ member_of: ['a'], connection_limit: 0 }, 'connection_limit'],
  [{ member_of: ['a'], credential_type: 'client_certificate' }, 'unsupported credential_type'],
  [{ creation_statements: ['SELECT {{nope}}'] }, 'creation_statements: the slot {{nope}} is not known'],
  [{ member_of: ['a'], revocation_statements: ["SELECT '{{password}}'"] }, 'revocation_statements'],
])('the role %j is refused', (fields, problem) => {
  expect(() => checkRole(fields)).toThrow(problem)
})

describe('names', () => {
  const leaseId = newId()
  const nameOf = (roleName: string, template?: string, host?: string) =>
    accountName(
      {
        template: template === undefined ? undefined : compileNameTemplate(template),
        roleName,
        leaseId,
        displayName: 'token',
        host,
      },
      new Date(0),
    )

  test.each([
    ['app', undefined, `v_app_${leaseId}`],
    ['Reporting', undefined, `v_repor_${leaseId}`],
    ['', undefined, `v_${leaseId}`],
    ["a'`\\;", undefined, `v_a_____${leaseId}`],
    ['x', 'v-{{.RoleName}}-{{.DisplayName}}', `v_x-tok_${leaseId}`],
    ['x', '{{.LeaseID}}', `v_${leaseId}`],
    ['x', '{{"--@--"}}', `v_-___${leaseId}`],
  ])('of role %j by template %j', (roleName, template, user) => {
    const name = nameOf(roleName, template)
    expect(name).toBe(`${user}@%`)
    expect(user.length).toBeLessThanOrEqual(32)
    expect(leaseIdInUser(userAtHost(name).user)).toBe(leaseId)
  })

  test('hold the host of the role, and come apart again', () => {
    expect(userAtHost(nameOf('app', undefined, '10.1.%'))).toEqual({
      user: `v_app_${leaseId}`,
      host: '10.1.%',
    })
  })

  test.each([
    'root',
    'v_app',
    `v_toolong_${'0'.repeat(24)}`,
    `v_app_${'i'.repeat(24)}`,
    `x_app_${'0'.repeat(24)}`,
  ])('%s is nobody of ours', (user) => {
    expect(leaseIdInUser(user)).toBeUndefined()
  })
})

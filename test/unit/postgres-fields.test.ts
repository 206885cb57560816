import { describe, expect, test } from 'vitest'
import { EMBEDDED_PASSWORD_WARNING } from '../../src/engine/connection-url.ts'
import { liftPassword, parsePlace } from '../../src/engine/postgres/connection-url.ts'
import { checkRole } from '../../src/engine/postgres/role.ts'
import { checkTarget, readTarget } from '../../src/engine/postgres/target.ts'
import { tlsOptions } from '../../src/engine/postgres/tls.ts'
import { BrokerError } from '../../src/lib/errors.ts'
import { sensitive } from '../../src/lib/sensitive.ts'

const URL_WITH_SLOTS = 'postgresql://{{username}}:{{password}}@db:5432/app'
const PEM = '-----BEGIN CERTIFICATE-----\nMII\n-----END CERTIFICATE-----\n'

describe('where a connection_url leads', () => {
  test.each([
    [URL_WITH_SLOTS, { host: 'db', port: 5432, database: 'app' }],
    ['postgres://db/app?sslmode=require', { host: 'db', port: 5432, sslmode: 'require' }],
    ['postgres://admin:pw@db:5433', { port: 5433, database: 'postgres', username: 'admin' }],
    ['postgres://admin:p%40ss@[::1]:5432/a%20b', { host: '::1', database: 'a b' }],
    ['postgres://admin:pw@%2Frun%2Fpg:5499/app', { host: '/run/pg', port: 5499 }],
    ['postgres://admin:pw@/app?host=/run/pg', { host: '/run/pg', database: 'app' }],
    [
      'host=db port=5433 user={{username}} password={{password}} dbname=app sslmode=disable',
      { host: 'db', port: 5433 },
    ],
    [`host=db user=admin password='it''s' dbname='a b'`, undefined],
    [String.raw`host=db password='it\'s' dbname='a b'`, { database: 'a b' }],
    ['host=db application_name=x', { ignored: ['application_name'] }],
  ])('%s', (url, place) => {
    if (place) expect(parsePlace(url)).toMatchObject(place)
    else expect(() => parsePlace(url)).toThrow('connection_url')
  })

  test.each([
    'mysql://db/app',
    'postgres://a,b/app',
    'postgres://a:1,b:2/app',
    'postgres:///app',
    'postgres://db:99999/app',
    'postgres://db/app?sslrootcert=/etc/passwd',
    'host=db passfile=/root/.pgpass',
    'host=db sslpassword=secret',
    'postgres://db/app?sslpassword=secret',
    'postgres://db/app?Password=secret',
    'postgres://db/app?password=half&secret=half',
    '',
    'just words',
  ])('refused, without being quoted: %s', (url) => {
    expect(() => checkTarget({ connection_url: url })).toThrow(BrokerError)
  })

  test('an error never quotes a password', () => {
    for (const url of [
      'postgres://u:secret@db:port/x',
      'postgres://u:secret@a,b/x',
      'host=db password=secret ?',
      'postgres://db/app?sslpassword=secret',
      'postgres://u@db/app?password=half&secret=half',
    ]) {
      expect(() => checkTarget({ connection_url: url })).not.toThrow(/secret/)
      expect(() => checkTarget({ connection_url: url })).toThrow()
    }
  })
})

describe('a password in the connection_url', () => {
  test.each([
    ['postgres://u:p%40ss@db:5432/app?sslmode=require', 'p@ss'],
    ['postgres://{{username}}:secret@db/app', 'secret'],
    ['postgres://u@db/app?password=secret', 'secret'],
    ['postgres://u@db/app?password={{password}}&password=secret', 'secret'],
    ['host=db user=u password=secret', 'secret'],
    [String.raw`host=db user=u password='se\'cr et'`, `se'cr et`],
  ])('is lifted out and not stored: %s', (url, password) => {
    const lifted = liftPassword(url)
    expect(lifted.password).toBe(password)
    expect(lifted.url).toContain('{{password}}')
    expect(parsePlace(lifted.url)).toMatchObject({ ...parsePlace(url), ignored: [] })
    const checked = checkTarget({ connection_url: url })
    expect(checked.password?.reveal()).toBe(password)
    expect(checked.warnings).toContain(EMBEDDED_PASSWORD_WARNING)
    expect(JSON.stringify(checked.spec)).not.toContain(password)
  })

  test.each([URL_WITH_SLOTS, 'postgres://db/app', 'host=db password={{password}}'])('is none: %s', (url) => {
    expect(liftPassword(url)).toEqual({ url, password: undefined })
    expect(checkTarget({ connection_url: url }).password).toBeUndefined()
  })
})

describe('a target', () => {
  const target = (fields: object) => checkTarget({ connection_url: URL_WITH_SLOTS, ...fields })

  test('has the decided defaults', () => {
    expect(target({}).spec).toMatchObject({
      scram_iterations: 4_096,
      connection_limit: 10,
      expiry_margin: 10,
      creator_roles: 64,
      stuck_freeze: 50,
    })
  })

  test('takes what was stored as it was', () => {
    const { spec } = target({ scram_iterations: 1, labels: { team: 'a' }, max_open_connections: 0 })
    expect(checkTarget(spec).spec).toEqual(spec)
  })

  test.each([
    [{ scram_iterations: 0 }, 'scram_iterations'],
    [{ scram_iterations: 1.5 }, 'scram_iterations'],
    [{ connection_limit: 0 }, 'connection_limit'],
    [{ expiry_margin: -1 }, 'expiry_margin'],
    [{ creator_roles: -1 }, 'creator_roles'],
    [{ sslmode: 'sometimes' }, 'sslmode'],
    [{ tls_ca: 'no PEM' }, 'tls_ca'],
    [{ tls_ca: PEM, sslmode: 'disable' }, 'tls_ca'],
    [{ tls_ca: PEM, sslmode: 'prefer' }, 'tls_ca'],
    [{ tls_certificate: PEM, sslmode: 'prefer' }, 'tls_certificate'],
    [{ username_template: '{{ nothing }}' }, 'invalid username template'],
    [{ password_authentication: 'md5' }, 'password_authentication'],
    [{ username: 'broker', owner: 'broker' }, 'owner'],
    [{ labels: 'a=b' }, 'labels'],
    [{ scram_iterations: 1, password_policy: 'short' }, '128 bits'],
    [{ username: 'a\0b' }, 'username'],
    [{ connection_url: '' }, 'connection_url is required'],
  ])('is refused by name: %j', (fields, named) => {
    expect(() => target(fields)).toThrow(named)
  })

  test('on another machine warns unless the server is checked', () => {
    expect(target({}).warnings.join()).toContain('sslmode prefer')
    expect(target({ sslmode: 'verify-full' }).warnings).toEqual([])
    expect(checkTarget({ connection_url: 'postgres://localhost/app' }).warnings).toEqual([])
  })
})

describe('sslmode, as libpq has it', () => {
  const options = (fields: object) =>
    tlsOptions(readTarget(checkTarget({ connection_url: URL_WITH_SLOTS, ...fields }).spec), {
      username: 'u',
      password: sensitive('p'),
    })

  test('verifies whenever a CA was given', () => {
    for (const sslmode of [undefined, 'require', 'verify-ca', 'verify-full']) {
      expect(options({ sslmode, tls_ca: PEM })).toMatchObject({ rejectUnauthorized: true, ca: PEM })
    }
  })

  test('checks the name only in verify-full, which is what a CA alone means', () => {
    expect(options({ sslmode: 'verify-full' }).checkServerIdentity).toBeUndefined()
    expect(options({ tls_ca: PEM }).checkServerIdentity).toBeUndefined()
    expect(options({ sslmode: 'verify-ca' }).checkServerIdentity).toBeDefined()
    expect(options({ sslmode: 'verify-ca' }).rejectUnauthorized).toBe(true)
  })

  test('encrypts without checking in require and prefer', () => {
    expect(options({ sslmode: 'require' }).rejectUnauthorized).toBe(false)
    expect(options({ sslmode: 'prefer' }).rejectUnauthorized).toBe(false)
  })
})

describe('a role', () => {
  const CREATE = `CREATE ROLE "{{name}}" LOGIN PASSWORD '{{password}}'`

  test.each([
    [{}, 'empty creation statements'],
    [{ creation_statements: [], member_of: [] }, 'empty creation statements'],
    [{ creation_statements: ['  ; -- nothing'] }, 'empty creation statements'],
    [{ creation_statements: ['COMMIT'] }, 'creation_statements: COMMIT is not allowed'],
    [
      { creation_statements: [CREATE], renew_statements: [`SELECT '`] },
      'renew_statements: a quote is not closed',
    ],
    [
      { creation_statements: [CREATE], revocation_statements: [`SELECT '{{password}}'`] },
      'revocation_statements',
    ],
    [
      { member_of: ['a'], credential_type: 'rsa_private_key' },
      'unsupported credential_type: "rsa_private_key"',
    ],
    [{ member_of: ['a'], scram_iterations: 0 }, 'scram_iterations'],
    [{ member_of: ['a'], scram_iterations: 100, credential_config: { password_policy: 'p' } }, '128 bits'],
    [{ member_of: ['x'.repeat(64)] }, 'member_of'],
    [{ member_of: 7 }, 'member_of'],
  ])('is refused: %j', (fields, text) => {
    expect(() => checkRole(fields)).toThrow(text)
  })

  test('keeps what was written, as it was written', () => {
    const fields = {
      creation_statements: [`${CREATE}; SELECT 1;`],
      member_of: ['readers'],
      connection_limit: 5,
      lease_outlives_token: false,
    }
    const { spec } = checkRole(fields)
    expect(spec).toEqual(fields)
    expect(checkRole(spec).spec).toEqual(spec)
  })

  test('that grants objects to the account itself is told why a group is better', () => {
    const { warnings } = checkRole({ creation_statements: [CREATE, 'GRANT SELECT ON a TO "{{name}}"'] })
    expect(warnings.join()).toMatch(/row is too big.*member_of/)
    expect(checkRole({ creation_statements: [CREATE] }).warnings).toEqual([])
  })

  test('that never sets the password is told so', () => {
    expect(checkRole({ creation_statements: ['CREATE ROLE "{{name}}" LOGIN'] }).warnings.join()).toContain(
      '{{password}}',
    )
  })
})

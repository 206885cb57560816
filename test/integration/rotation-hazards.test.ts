import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { Broker } from '../../src/compose.ts'
import { sealedSecrets } from '../../src/ledger/sealed-secrets.ts'
import { sensitive } from '../../src/lib/sensitive.ts'
import { builtinSecretStore } from '../../src/secrets/builtin/builtin-store.ts'
import { type CredentialPlace, type Credentials, createCredentials } from '../../src/secrets/credentials.ts'
import { secretStores } from '../../src/secrets/stores.ts'
import {
  MASTER_KEY,
  openSharedTarget,
  openTestBroker,
  type SharedTarget,
  type TestBroker,
} from '../support/broker.ts'

/** What happens to passwords while they are rotated, or where somebody else has to do with the same account. */

let at: TestBroker
/** Another process on the same ledger. */
let other: Broker
let otherUrl: string
let credentials: Credentials
const opened: SharedTarget[] = []
beforeAll(async () => {
  at = await openTestBroker()
  other = await at.another()
  otherUrl = (await other.listen({ host: '127.0.0.1', port: 0 })).url
  const masterKey = sensitive(MASTER_KEY)
  const builtin = builtinSecretStore(sealedSecrets(at.ledger.ledger), { masterKey })
  credentials = createCredentials(secretStores({ builtin, external: {}, default: 'builtin' }))
})
afterAll(async () => {
  await at.close()
  await Promise.all(opened.map((each) => each.close()))
})

/** A server's account for each test, and a superuser to rotate it. */
async function openTarget(name: string): Promise<SharedTarget> {
  const target = await openSharedTarget()
  opened.push(target)
  await target.sql(`alter role ${target.admin} superuser`)
  expect((await configure(name, target)).status).toBeLessThan(300)
  return target
}
const configure = (name: string, { urlTemplate, admin, password }: SharedTarget, fields: object = {}) =>
  at.api('POST', `database/config/${name}`, {
    plugin_name: 'postgresql-database-plugin',
    connection_url: urlTemplate,
    username: admin,
    password,
    allowed_roles: '*',
    ...fields,
  })
const writeRole = (name: string, db: string, username: string, fields: object = {}) =>
  at.api('POST', `database/static-roles/${name}`, {
    db_name: db,
    username,
    rotation_period: '1h',
    ...fields,
  })
const creds = async (name: string) => (await at.api('GET', `database/static-creds/${name}`)).json?.data
const logsIn = async (target: SharedTarget, user: { username: string; password: string }) =>
  target.logIn(user).then(
    async (client) => {
      await client.end()
      return true
    },
    () => false,
  )
const due = async () => {
  await at.broker.rotator.sweep()
  await at.broker.rotator.idle()
}
const problem = async (answer: Promise<{ status: number; json: { errors: string[] } }>) => {
  const { status, json } = await answer
  return [status, json?.errors?.[0]]
}
const onRow = (change: string, name: string) =>
  at.ledger.ledger.query(`update leasehold.rotation set ${change} where name = $1 and removed_at is null`, [
    name,
  ])
const rowOf = async (name: string) => {
  const { rows } = await at.ledger.ledger.query(
    `select secret_name as "secretName", password_reference as "passwordReference" from leasehold.rotation
     where name = $1 and removed_at is null`,
    [name],
  )
  return rows[0] as { secretName: string; passwordReference: null }
}

describe('at the same time', () => {
  test('two servers asked for one rotation both answer when it is done', async () => {
    const target = await openTarget('twice')
    await target.sql(`create role twice_app login password 'first'`)
    await writeRole('twice', 'twice', 'twice_app')
    const asks = ['rotate-root/twice', 'rotate-role/twice'].flatMap((path) =>
      [at.url, otherUrl].map((url) =>
        fetch(`${url}/v1/database/${path}`, { method: 'POST', headers: { 'X-Vault-Token': at.root } }),
      ),
    )

    expect((await Promise.all(asks)).map(({ status }) => status)).toEqual([204, 204, 204, 204])

    expect(await logsIn(target, await creds('twice'))).toBe(true)
    expect(await logsIn(target, { username: target.admin, password: target.password })).toBe(false)
    expect((await at.api('POST', 'database/rotate-role/twice')).status).toBe(204)
  })

  test('static-creds of a rotation that is half done answers what the target takes', async () => {
    const target = await openTarget('half')
    await target.sql(`create role half_app login password 'first'`)
    await writeRole('half', 'half', 'half_app')
    const before = await creds('half')
    await credentials.propose(await rowOf('half'), { username: 'half_app', password: sensitive('candidate') })
    await onRow(
      `phase = 'set', claimed_by = 'another', next_action_at = leasehold.ledger_now() + interval '1h'`,
      'half',
    )

    expect(await creds('half')).toMatchObject({ password: before.password })
    await target.sql(`alter role half_app password 'candidate'`)
    expect(await creds('half')).toMatchObject({ password: 'candidate' })

    await at.ledger.advance(4_000)
    await due()
    expect(await logsIn(target, await creds('half'))).toBe(true)
  })

  test('leases end between the new admin password and its promotion, also by who has just started', async () => {
    const target = await openTarget('ending')
    await at.api('POST', 'database/roles/ending', { db_name: 'ending', member_of: target.readers })
    const { json } = await at.api('GET', 'database/creds/ending')
    const { rows } = await at.ledger.ledger.query<CredentialPlace>(
      `select secret_name as "secretName", password_reference as "passwordReference" from leasehold.target
       where name = 'ending'`,
    )
    await credentials.propose(rows[0] as CredentialPlace, {
      username: target.admin,
      password: sensitive('candidate'),
    })
    await target.sql(`alter role ${target.admin} password 'candidate'`)
    await at.api('PUT', 'sys/leases/revoke', { lease_id: json.lease_id, sync: false })

    const started = await at.another()
    await started.sweep.once()

    expect(await target.account(json.data.username)).toBe('absent')
  })

  test('a static role is not deleted while its password is being changed, and is once that is over', async () => {
    const target = await openTarget('gone')
    await target.sql(`create role gone_app login password 'first'`)
    await writeRole('gone', 'gone', 'gone_app')
    const claim = `phase = 'set', claimed_by = 'another', sent_at = leasehold.ledger_now(),
      next_action_at = leasehold.ledger_now() + interval '20 seconds'`
    await onRow(claim, 'gone')

    const text = '"gone" is being rotated at this moment: try again in a while'
    const remove = () => at.api('DELETE', 'database/static-roles/gone')
    expect(await problem(remove())).toEqual([409, text])
    // Nor is another password taken for it, and nothing of that one is kept.
    const { password } = await creds('gone')
    const kept = async () => (await at.ledger.ledger.query('select from leasehold.sealed_secret')).rowCount
    const secrets = await kept()
    expect(await problem(writeRole('gone', 'gone', 'gone_app', { password }))).toEqual([409, text])
    expect(await kept()).toBe(secrets)

    // Whoever was at it has died.
    await at.ledger.advance(30)
    expect((await remove()).status).toBe(204)
  })
})

describe('an account', () => {
  test('that somebody dropped fails by name, again and again, and is rotated once it is back', async () => {
    const target = await openTarget('dropped')
    await target.sql(`create role dropped_app login password 'first'`)
    await writeRole('dropped', 'dropped', 'dropped_app')
    await target.sql('drop role dropped_app')

    for (const _ of [1, 2]) {
      const [status, text] = await problem(at.api('POST', 'database/rotate-role/dropped'))
      expect([status, text]).toEqual([400, expect.stringMatching(/role "dropped_app" does not exist/)])
    }
    const role = (await at.api('GET', 'database/static-roles/dropped')).json.data
    expect(role.rotation_error).toMatch(/dropped_app/)

    await target.sql(`create role dropped_app login password 'again'`)
    await at.ledger.advance(3_700)
    await due()
    expect(await logsIn(target, await creds('dropped'))).toBe(true)
  })

  test('may have quotes and other marks in its name and in the password it is imported with', async () => {
    const target = await openTarget('quotes')
    const username = `o'do "d\\name% ü`
    const password = `it's "100%" \\ $$ {{password}} ü`
    const quoted = username.replaceAll('"', '""')
    await target.sql(`create role "${quoted}" login password '${password.replaceAll("'", "''")}'`)

    const fields = { password, skip_import_rotation: true }
    expect(await problem(writeRole('quotes', 'quotes', username, fields))).toEqual([204, undefined])
    expect(await creds('quotes')).toMatchObject({ username, password })
    expect((await at.api('POST', 'database/rotate-role/quotes')).status).toBe(204)

    const verifier = `select rolpassword from pg_authid where rolname = '${username.replaceAll("'", "''")}'`
    expect(await target.sql(verifier)).toEqual([{ rolpassword: expect.stringMatching(/^SCRAM-SHA-256/) }])
    expect((await creds('quotes')).password).not.toBe(password)
    await target.sql(`drop role "${quoted}"`)
  })

  test('of a longer name than the server keeps is not the one that begins so', async () => {
    const target = await openTarget('long')
    const name = `long_${'x'.repeat(58)}`
    await target.sql(`create role ${name} login password 'first'`)

    const [status, text] = await problem(writeRole('long', 'long', `${name}y`))

    expect([status, text]).toEqual([400, expect.stringMatching(/no account .* 64 bytes or more/)])
    expect(await logsIn(target, { username: name, password: 'first' })).toBe(true)
    await target.sql(`drop role ${name}`)
  })
})

describe('row 11: an admin account of several connections', () => {
  test('is not rotated by one of them, which would lock out the other', async () => {
    const target = await openTarget('one')
    expect((await configure('two', target)).status).toBeLessThan(300)

    const [status, text] = await problem(at.api('POST', 'database/rotate-root/one'))

    expect([status, text]).toEqual([
      400,
      expect.stringMatching(/is an admin account of the connection "two" too/),
    ])
    expect(await logsIn(target, { username: target.admin, password: target.password })).toBe(true)
    await at.api('DELETE', 'database/config/two')
    expect((await at.api('POST', 'database/rotate-root/one')).status).toBe(204)
  })

  test('is no static role of another, nor is the account of a static role their admin', async () => {
    const [first, second] = [await openTarget('first'), await openTarget('second')]
    await first.sql(`create role app_of_first superuser login password 'app'`)

    expect(await problem(writeRole('thief', 'second', first.admin))).toEqual([
      400,
      expect.stringMatching(/is an admin account of "first"/),
    ])
    await writeRole('held', 'first', 'app_of_first')
    expect(await problem(writeRole('thief', 'second', 'app_of_first'))).toEqual([
      400,
      expect.stringMatching(/is the account of the static role "held" of the connection "first"/),
    ])
    const { password } = await creds('held')
    const asAdmin = { ...second, admin: 'app_of_first', password }
    expect(await problem(configure('third', asAdmin))).toEqual([
      400,
      expect.stringMatching(/"app_of_first" is the account of the static role "held"/),
    ])
    await at.api('DELETE', 'database/static-roles/held')
    await first.sql('drop role app_of_first')
  })
})

test('no password is in the ledger or in what is answered about a rotation, whatever fails', async () => {
  const target = await openTarget('quiet')
  await target.sql(
    `create role quiet_app login password 'first'; create role quiet_two superuser login password 'second-admin'`,
  )
  const fields = { alternate_username: 'quiet_two', alternate_password: 'second-admin' }
  expect((await configure('quiet', target, fields)).status).toBeLessThan(300)
  await writeRole('quiet', 'quiet', 'quiet_app', { password: 'first', skip_import_rotation: true })
  await at.api('POST', 'database/rotate-role/quiet')
  const { password } = await creds('quiet')
  await at.api('POST', 'database/rotate-root/quiet')
  // A statement that the server quotes in its refusal, with the password at the place of the error.
  const statements = `ALTER ROLE {{name}} CONNECTION LIMIT '{{password}}'`
  await at.api('POST', 'database/static-roles/quiet', { rotation_statements: statements })
  const [status, text] = await problem(at.api('POST', 'database/rotate-role/quiet'))
  expect(status).toBe(400)
  const pending = await credentials.read(await rowOf('quiet'), 'pending')
  const shown = JSON.stringify([
    text,
    (await at.api('GET', 'database/static-roles/quiet')).json,
    (await at.api('GET', 'database/config/quiet')).json,
  ])

  const { rows } = await at.ledger.ledger.query(
    `select c.relname as name, query_to_xml(format('select * from leasehold.%I', c.relname), true, true, '')::text as text
     from pg_class c where c.relnamespace = 'leasehold'::regnamespace and c.relkind in ('r', 'p')`,
  )
  const secrets = ['second-admin', password, pending?.password.reveal() ?? 'there was a candidate']
  for (const secret of secrets) {
    expect(shown).not.toContain(secret)
    expect(rows.filter((row) => row.text.includes(secret)).map(({ name }) => name)).toEqual([])
  }
  expect(shown).not.toContain('SCRAM')
  await at.api('DELETE', 'database/static-roles/quiet')
  await target.sql('drop role quiet_app; drop role quiet_two')
})

import { chown, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import type pg from 'pg'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { END_STEPS, type Engine } from '../../src/engine/engine.ts'
import { openConnections } from '../../src/engine/postgres/connections.ts'
import { postgres } from '../../src/engine/postgres/postgres.ts'
import { readTarget } from '../../src/engine/postgres/target.ts'
import { sensitive } from '../../src/lib/sensitive.ts'
import { newAuthority } from '../support/certificates.ts'
import { MAJORS, startTestPostgres, type TestPostgres } from '../support/postgres.ts'
import {
  endingOf,
  lease,
  newAccount,
  openPostgresTarget,
  type PostgresTarget,
  ticketFor,
} from '../support/postgres-target.ts'
import { startTcpProxy } from '../support/tcp-proxy.ts'

let server: TestPostgres
let target: PostgresTarget

const start = async (options: Parameters<typeof startTestPostgres>[0] = {}) => {
  server = await startTestPostgres(options)
  target = await openPostgresTarget(server, 'CREATEROLE')
}
afterEach(async () => {
  await target?.close()
  await server?.remove()
})

describe.each(MAJORS)('connections to PostgreSQL %s', (major) => {
  test('a leased account that takes every slot cannot keep itself from being ended', async () => {
    await start({ major, settings: { max_connections: '14' } })
    const engine = target.open()
    const greedy = { ...target.role, connection_limit: 50 }
    const { account, secret } = await lease(engine, target, greedy)
    const guests: pg.Client[] = []
    const takeAll = async (): Promise<string> => {
      for (;;) {
        try {
          guests.push(await target.logIn(secret))
        } catch (error) {
          return (error as { code: string }).code
        }
      }
    }
    // Whatever else of ours is idle makes room for it; the connection that ending keeps does not.
    expect(await takeAll()).toBe('53300')
    for (const step of END_STEPS) {
      expect((await engine.end(step, [endingOf(account, greedy)]))[0]).toMatchObject({ ok: true })
    }
    for (const guest of guests) await expect(guest.query('SELECT 1')).rejects.toThrow()
  })

  test('an account opens no more connections than its limit', async () => {
    await start({ major })
    const engine = target.open()
    const { account, secret } = await lease(engine, target, { ...target.role, connection_limit: 2 })
    await Promise.all([target.logIn(secret), target.logIn(secret)])
    await expect(target.logIn(secret)).rejects.toThrow('too many connections')
    for (const step of END_STEPS) await engine.end(step, [endingOf(account, target.role)])
  })
})

test('what is proved gone was written down, also where the target itself would not wait for that', async () => {
  await start({ settings: { synchronous_commit: 'off' } })
  const connections = openConnections(readTarget(target.spec), async () => ({
    username: target.admin.username,
    password: sensitive(target.admin.password),
  }))
  const shown = await connections.use(
    'ending',
    async (session) => (await session.query('SHOW synchronous_commit')).rows,
  )
  expect(shown).toEqual([{ synchronous_commit: 'local' }])
  await connections.close()
})

describe('connections', () => {
  let engine: Engine

  beforeEach(async () => {
    await start({ tcp: true })
    engine = target.open()
  })

  test('survive being killed while idle, and while in use', async () => {
    await engine.ping()
    const { account } = await lease(engine, target)
    await target.sql(
      `SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'leasehold'`,
    )
    await expect
      .poll(async () => (await engine.create([ticketFor(newAccount(target), target.role)]))[0]?.ok)
      .toBe(true)
    for await (const each of engine.accounts()) {
      for (const step of END_STEPS) {
        await expect
          .poll(async () => (await engine.end(step, [endingOf(each, target.role)]))[0]?.ok)
          .toBe(true)
      }
    }
    expect(await target.sql(`SELECT FROM pg_roles WHERE rolname = '${account.name}'`)).toEqual([])
  })

  test('survive being killed between two queries of one piece of work', async () => {
    const connections = openConnections(readTarget(target.spec), async () => ({
      username: target.admin.username,
      password: sensitive(target.admin.password),
    }))
    const work = connections.use('ending', async (session) => {
      const [{ pid }] = (await session.query('SELECT pg_backend_pid() AS pid')).rows
      const gone = new Promise((resolve) => session.once('end', resolve))
      await target.sql(`SELECT pg_terminate_backend(${pid})`)
      await gone
      await session.query('SELECT 1')
    })
    await expect(work).rejects.toMatchObject({ kind: 'unreachable' })
    await connections.use('ending', async (session) => void (await session.query('SELECT 1')))
    await connections.close()
  })

  test('a server that takes connections and says nothing is unreachable', async () => {
    const proxy = await startTcpProxy(`${server.socketDir}/.s.PGSQL.${server.port}`)
    const slow = target.open({ place: proxy.place })
    proxy.freeze()
    await expect(slow.ping()).rejects.toMatchObject({ kind: 'unreachable' })
    await slow.close()
    await proxy.stop()
  })

  test('closing fails the work in hand and ends every connection', async () => {
    const role = postgres.checkRole({
      creation_statements: [`CREATE ROLE "{{name}}" PASSWORD '{{password}}'`, 'SELECT pg_sleep(60)'],
    }).spec
    const created = engine.create([ticketFor(newAccount(target), role)])
    const ours = `SELECT state FROM pg_stat_activity WHERE usename = '${target.admin.username}'`
    await expect.poll(async () => (await target.sql(`${ours} AND query LIKE '%pg_sleep%'`)).length).toBe(1)
    await engine.close()
    expect((await created)[0]).toMatchObject({ ok: false, error: { kind: 'unreachable' } })
    await target.sql(
      `SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE usename = '${target.admin.username}'`,
    )
    await expect.poll(async () => (await target.sql(ours)).length).toBe(0)
    await expect(engine.ping()).rejects.toMatchObject({ kind: 'unreachable' })
  })

  test('no error shows the admin password, a verifier or the URL', async () => {
    const wrong = postgres.open(target.spec, async () => ({
      username: target.admin.username,
      password: sensitive('not the password'),
    }))
    const refused = await wrong.ping().catch((error: unknown) => error)
    expect(refused).toMatchObject({ kind: 'denied' })
    await wrong.close()
    const role = postgres.checkRole({
      creation_statements: [`CREATE ROLE "{{name}}" PASSWORD '{{password}}' nonsense`],
    })
    const [failed] = await engine.create([ticketFor(newAccount(target), role.spec)])
    for (const error of [refused, failed]) {
      const { inspect } = await import('node:util')
      expect(inspect(error, { depth: 9 })).not.toMatch(
        /not the password|SCRAM-SHA-256\$|a password, of the admin/,
      )
    }
  })

  test('the probe names each missing privilege', async () => {
    expect(await engine.probe()).toMatchObject({ missing: [] })
    const { username } = target.admin
    await target.sql(`REVOKE pg_signal_backend FROM ${username}`)
    const fresh = target.open({ fields: { owner: 'nobody' } })
    const { missing, warnings } = await fresh.probe()
    expect(missing).toEqual(['the owner role "nobody" is not on the target'])
    expect(warnings.join()).toContain(`GRANT pg_signal_backend TO "${username}"`)
    expect(warnings.join()).toContain('reserved')
    await target.sql(`ALTER ROLE ${username} NOCREATEROLE`)
    expect((await target.open().probe()).missing).toEqual([
      `CREATEROLE, or this version's functions in its place (install what \`leasehold target sql\` prints, or run: ALTER ROLE "${username}" CREATEROLE)`,
    ])
    expect((await target.open().probe()).missing).toHaveLength(1)
    expect(
      await target.sql("SELECT rolname FROM pg_roles WHERE rolname ~ '^(v_probe|leasehold_owner)'"),
    ).toEqual([])
  })

  test('a standby is not taken for the target', async () => {
    await engine.ping()
    const data = join(server.home, 'data')
    const signal = join(data, 'standby.signal')
    const { uid, gid } = await stat(data)
    await server.stop()
    await writeFile(signal, '')
    await chown(signal, uid, gid)
    await server.restart()
    try {
      await expect(target.open().ping()).rejects.toMatchObject({
        kind: 'unreachable',
        message: expect.stringContaining('standby'),
      })
    } finally {
      await server.stop()
      await rm(signal)
      await server.restart()
    }
  })
})

describe('TLS', () => {
  const place = () => `localhost:${server.port}`
  const ping = async (fields: Record<string, unknown>, at = place()) =>
    target.open({ fields, place: at }).ping()
  const encrypted = async (fields: Record<string, unknown>) => {
    const engine = target.open({ fields, place: place() })
    await engine.ping()
    const rows = await target.sql(
      `SELECT ssl FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) WHERE usename = '${target.admin.username}'`,
    )
    await engine.close()
    return rows.map(({ ssl }) => ssl)
  }

  const turnOn = async (name: string) => {
    const authority = newAuthority()
    const { cert, key } = authority.issue(name)
    const data = join(server.home, 'data')
    const { uid, gid } = await stat(data)
    for (const [file, text] of [
      ['server.crt', cert],
      ['server.key', key],
    ] as const) {
      await writeFile(join(data, file), text, { mode: 0o600 })
      await chown(join(data, file), uid, gid)
    }
    await target.sql('ALTER SYSTEM SET ssl = on')
    await target.sql('SELECT pg_reload_conf()')
    await expect.poll(async () => (await target.sql('SHOW ssl'))[0]?.ssl).toBe('on')
    expect(await readFile(join(data, 'server.crt'), 'utf8')).toBe(cert)
    return authority
  }

  test('as sslmode says, on a server that has it', async () => {
    await start({ tcp: true })
    const { cert: tls_ca } = await turnOn('localhost')
    expect(await encrypted({ sslmode: 'disable' })).toEqual([false])
    expect(await encrypted({})).toEqual([true])
    expect(await encrypted({ sslmode: 'require' })).toEqual([true])
    expect(await encrypted({ tls_ca })).toEqual([true])
    const { cert: stranger } = newAuthority()
    for (const sslmode of ['require', 'verify-ca', 'verify-full']) {
      await expect(ping({ sslmode, tls_ca: stranger })).rejects.toMatchObject({ kind: 'unreachable' })
    }
    await expect(ping({ sslmode: 'verify-full' })).rejects.toMatchObject({ kind: 'unreachable' })
    // The certificate is for localhost and 127.0.0.1.
    const wrongName = `localtest.localhost:${server.port}`
    await expect(ping({ sslmode: 'verify-full', tls_ca }, wrongName)).rejects.toMatchObject({
      kind: 'unreachable',
    })
  })

  test('as sslmode says, on a server that has none', async () => {
    await start({ tcp: true })
    expect(await encrypted({})).toEqual([false])
    await expect(ping({ sslmode: 'require' })).rejects.toMatchObject({ kind: 'unreachable' })
  })
})

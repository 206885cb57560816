import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { Connection } from 'mysql2/promise'
import { afterEach, describe, expect, test } from 'vitest'
import { END_STEPS, type Engine, type EngineError, type Spec } from '../../src/engine/engine.ts'
import { mysql } from '../../src/engine/mysql/mysql.ts'
import { sensitive } from '../../src/lib/sensitive.ts'
import { newAuthority } from '../support/certificates.ts'
import { startTestMariadb, type TestMariadb } from '../support/mariadb.ts'
import {
  leaseMysql,
  type MysqlTarget,
  mysqlEnding,
  mysqlTicket,
  newMysqlAccount,
  openMysqlTarget,
} from '../support/mysql-target.ts'
import { startTcpProxy } from '../support/tcp-proxy.ts'
import { testFolder } from '../support/test-root.ts'

let server: TestMariadb
let target: MysqlTarget
let opened: Engine[] = []

const start = async (settings: readonly string[] = []) => {
  server = await startTestMariadb({ settings })
  target = await openMysqlTarget(server.url, 'few rights')
}
afterEach(async () => {
  await Promise.all(opened.map((engine) => engine.close()))
  opened = []
  await target?.close()
  await server?.remove()
})

test('a leased account that takes every slot cannot keep itself from being ended', async () => {
  await start(['--max-connections=12'])
  const engine = target.open()
  const greedy = { ...target.role, connection_limit: 50 }
  const { account, secret } = await leaseMysql(engine, target, greedy)
  const guests: Connection[] = []
  const takeAll = async (): Promise<unknown> => {
    for (;;) {
      try {
        guests.push(await target.logIn(secret))
      } catch (error) {
        return error
      }
    }
  }
  expect(await takeAll()).toMatchObject({ errno: 1040 })
  for (const step of END_STEPS) {
    expect((await engine.end(step, [mysqlEnding(account, greedy)]))[0]).toMatchObject({ ok: true })
  }
  for (const guest of guests) await expect(guest.query('SELECT 1')).rejects.toThrow()
})

test('connections that are killed while idle are opened again', async () => {
  await start()
  const engine = target.open()
  await engine.ping()
  await leaseMysql(engine, target)
  await target.sql(`KILL USER ${target.admin.username}`)
  await expect
    .poll(async () => {
      const [result] = await engine.create([mysqlTicket(newMysqlAccount(target), target.role)])
      return result?.ok
    })
    .toBe(true)
  for await (const account of engine.accounts()) {
    for (const step of END_STEPS) {
      await expect
        .poll(async () => (await engine.end(step, [mysqlEnding(account, target.role)]))[0]?.ok)
        .toBe(true)
    }
  }
})

test('a flood of issuing leaves ending its connections, and what is in use is told by lane', async () => {
  await start()
  const engine = target.open({ fields: { max_open_connections: 5 } })
  const { account } = await leaseMysql(engine, target)
  const flood = Promise.all(
    Array.from({ length: 30 }, () => engine.create([mysqlTicket(newMysqlAccount(target), target.role)])),
  )
  expect((await engine.end('disable', [mysqlEnding(account, target.role)]))[0]?.ok).toBe(true)
  const results = (await flood).flat()
  expect(results.every(({ ok }) => ok)).toBe(true)
  const use = engine.connections?.() ?? []
  expect(use.map(({ lane }) => lane)).toEqual(['issuing', 'ending'])
  expect(use[0]?.open).toBeLessThanOrEqual(2)
})

describe('a create whose statement is late', () => {
  const held = async () => {
    await start()
    const proxy = await startTcpProxy(server.socketPath)
    const slow = target.open({ place: proxy.place })
    await slow.ping()
    const packet = proxy.holdAt('CREATE USER')
    const account = newMysqlAccount(target)
    const created = slow.create([mysqlTicket(account, target.role)])
    await packet.held
    const engine = target.open()
    const verified = async () => {
      const [result] = await engine.end('verify', [mysqlEnding(account, target.role)])
      if (!result) throw new Error('no answer')
      return result.ok ? 'proved' : (result.error as EngineError).kind
    }
    return { proxy, packet, account, created, engine, verified }
  }

  test('holds up the proof until it has arrived, and then it is there to be ended', async () => {
    const { proxy, packet, account, created, engine, verified } = await held()
    expect(await verified()).toBe('pending')
    packet.release()
    expect((await created)[0]?.ok).toBe(true)
    expect(await verified()).toBe('blocked')
    for (const step of END_STEPS) await engine.end(step, [mysqlEnding(account, target.role)])
    expect(await verified()).toBe('proved')
    await proxy.stop()
  })

  test('never arrives when its connection is lost, which gives the proof its way', async () => {
    const { proxy, packet, created, verified } = await held()
    packet.cut()
    expect((await created)[0]).toMatchObject({ ok: false, error: { kind: 'unreachable' } })
    await expect.poll(verified).toBe('proved')
    expect(await target.sql(`SELECT User FROM mysql.user WHERE User LIKE 'v\\_%'`)).toEqual([])
    await proxy.stop()
  })
})

test('a read-only server is no place for accounts', async () => {
  await start()
  await target.sql('SET GLOBAL read_only = 1')
  await expect(target.open().ping()).rejects.toMatchObject({
    kind: 'unreachable',
    message: expect.stringContaining('read-only'),
  })
  await target.sql('SET GLOBAL read_only = 0')
})

describe('over TLS', () => {
  const authority = newAuthority('the company')
  const stranger = newAuthority('somebody')

  const startWithTls = async () => {
    const folder = testFolder('tls')
    const { cert, key } = authority.issue('db.internal')
    const files = { ca: authority.cert, cert, key }
    for (const [name, text] of Object.entries(files)) await writeFile(join(folder, name), text)
    await start(Object.keys(files).map((name) => `--ssl-${name}=${join(folder, name)}`))
  }
  const openWith = (fields: Spec, tlsPrivateKey?: string): Engine => {
    const { spec } = mysql.checkTarget({ ...target.spec, ...fields })
    const engine = mysql.open(spec, async () => ({
      username: target.admin.username,
      password: sensitive(target.admin.password),
      ...(tlsPrivateKey === undefined ? {} : { tlsPrivateKey: sensitive(tlsPrivateKey) }),
    }))
    opened.push(engine)
    return engine
  }
  const requireTls = (how: string) => target.sql(`ALTER USER ${target.admin.username} REQUIRE ${how}`)

  test('the server’s certificate is checked against the address or the name it was given', async () => {
    await startWithTls()
    await requireTls('SSL')
    await openWith({ tls_ca: authority.cert }).ping()
    await openWith({ tls_ca: authority.cert, tls_server_name: 'localhost' }).ping()
    await openWith({ tls_skip_verify: true }).ping()
    await openWith({}).ping()
    for (const wrong of [
      { tls_ca: stranger.cert },
      { tls_ca: authority.cert, tls_server_name: 'elsewhere' },
    ]) {
      await expect(openWith(wrong).ping()).rejects.toMatchObject({ kind: 'unreachable' })
    }
  })

  test('an admin account that needs a certificate logs in with the one it was given', async () => {
    await startWithTls()
    await requireTls('X509')
    await expect(openWith({ tls_ca: authority.cert }).ping()).rejects.toMatchObject({ kind: 'denied' })
    const { cert, key } = authority.issue('broker')
    await openWith({ tls_ca: authority.cert }, `${cert}\n${key}`).ping()
    await openWith({ tls_ca: authority.cert }, `${key}\n${cert}`).ping()
  })

  test('a server without it is spoken to in the clear only where that was allowed', async () => {
    await start()
    await openWith({}).ping()
    await expect(openWith({ tls_skip_verify: true }).ping()).rejects.toMatchObject({ kind: 'unreachable' })
    const { cert, key } = authority.issue('broker')
    await expect(openWith({}, `${cert}\n${key}`).ping()).rejects.toMatchObject({ kind: 'unreachable' })
  })
})

describe('enrolment', () => {
  const missing = async () => (await target.open().probe()).missing.join('; ')

  test('finds the server, tries everything, and leaves nothing behind', async () => {
    await start()
    const { missing: lacking, revocability, serverVersion, serverId, warnings } = await target.open().probe()
    expect({ lacking, revocability }).toEqual({ lacking: [], revocability: 'immediate' })
    expect(serverVersion).toContain('MariaDB')
    expect(serverId).not.toBe('')
    expect(warnings[0]).toContain('ends no account by the clock')
    expect(await target.sql(`SELECT User FROM mysql.user WHERE User LIKE 'v\\_%'`)).toEqual([])
  })

  test.each([
    ['PROCESS ON *.*', 'GRANT PROCESS ON *.*'],
    ['CREATE USER ON *.*', 'GRANT CREATE USER ON *.*'],
    ['CONNECTION ADMIN ON *.*', 'GRANT CONNECTION ADMIN ON *.*'],
    ['SELECT ON mysql.*', 'GRANT SELECT ON mysql.*'],
  ])('without %s is refused, with the cure', async (right, cure) => {
    await start()
    await target.sql(`REVOKE ${right} FROM ${target.admin.username}`)
    expect(await missing()).toContain(`run: ${cure} TO ${target.admin.username}@%`)
    expect(await target.sql(`SELECT User FROM mysql.user WHERE User LIKE 'v\\_%'`)).toEqual([])
  })

  test('without the right to put roles in force warns, and issuing says it again', async () => {
    await start()
    await target.sql(`REVOKE UPDATE ON mysql.* FROM ${target.admin.username}`)
    const engine = target.open()
    const { missing: lacking, warnings } = await engine.probe()
    expect(lacking).toEqual([])
    expect(warnings.join('; ')).toContain('GRANT UPDATE ON mysql.*')
    const account = newMysqlAccount(target)
    const [result] = await engine.create([mysqlTicket(account, target.role)])
    expect(result).toMatchObject({ ok: false, error: { kind: 'denied' } })
    expect(String(result && !result.ok && result.error.message)).toContain('GRANT UPDATE ON mysql.*')
    expect(await target.sql(`SELECT User FROM mysql.user WHERE User LIKE 'v\\_%'`)).toEqual([])
  })
})

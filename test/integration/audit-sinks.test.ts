import { appendFile, chmod, readFile, rename, stat, symlink, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test, vi } from 'vitest'
import { sha256 } from '../../src/audit/chain.ts'
import type { SinkOptions } from '../../src/audit/sinks/options.ts'
import type { Shipping } from '../../src/audit/sinks/shipping.ts'
import { claimAuditSink } from '../../src/ledger/audit-sinks.ts'
import type { Db, Ledger } from '../../src/ledger/db.ts'
import { newAuthority } from '../support/certificates.ts'
import { startTestPostgres, type TestPostgres } from '../support/servers.ts'
import { openCollector, openWorld, taken, takenByFile, type World } from './audit-sinks-world.ts'

// Events leave the ledger for sinks: each reaches each sink, in order, whatever sinks and processes do on the way.

// A server of its own: a transaction that is open anywhere on it holds shipping up.
let postgres: TestPostgres
beforeAll(async () => {
  postgres = await startTestPostgres()
})
afterAll(() => postgres.remove())

let world: World
beforeEach(async () => {
  world = await openWorld(postgres.url())
})
afterEach(() => world.close())

const enable = (path: string, type: string, options: SinkOptions = {}) =>
  world.sinks.enable(path, { type, description: '', options, local: false })
const log = () => join(world.folder, 'audit.log')
const enableFile = (options: SinkOptions = {}) => enable('file', 'file', { file_path: log(), ...options })
const state = async (path = 'file/') => (await world.sinks.list()).find((sink) => sink.path === path)

/** Looks until there is nothing left to take. Other tests' transactions on the server may hold it up for a while. */
const shipAll = (shipping: Shipping, path = 'file/') =>
  vi.waitFor(
    async () => {
      await shipping.once()
      expect(await state(path)).toMatchObject({ lagSeconds: null })
    },
    { timeout: 20_000, interval: 20 },
  )

/** Ships until it has failed once, which takes a while when a transaction of another test on this server is open. */
const untilFailed = (shipping: Shipping, path: string, error: RegExp) =>
  vi.waitFor(
    async () => {
      await shipping.once()
      expect(await state(path)).toMatchObject({ failures: 1, error: expect.stringMatching(error) })
    },
    { timeout: 20_000, interval: 20 },
  )

/** Waits out the pause after a failure. */
const shipAfterFailure = (shipping: Shipping, path: string) => shipAll(shipping, path)

/** A ledger through which one statement fails as if the process had died before it. */
function dyingAt(ledger: Ledger, statement: RegExp): Ledger {
  const query: Db['query'] = (sql, values) =>
    statement.test(sql) ? Promise.reject(new Error('killed')) : ledger.query(sql, values)
  return { ...ledger, query }
}
const ADVANCE = /set taken_xid/

describe('a file', () => {
  test('gets each event once, in the order of commits, from concurrent writers', async () => {
    await enableFile()
    const shipping = world.process('a')
    const writing = [1, 2, 3].map(() => world.write(60))
    await shipping.once()
    await Promise.all(writing)
    await shipAll(shipping)

    const order = await world.order()
    expect(order).toHaveLength(180)
    expect(await takenByFile(log())).toEqual(order)
  })

  test('never misses an event whose transaction was under way while later ones were shipped', async () => {
    await enableFile()
    const shipping = world.process('a')
    let commit = (): void => {}
    const open = new Promise<void>((resolve) => {
      commit = resolve
    })
    const event = { type: 'request' as const, what: { operation: 'slow' }, outcome: {} }
    let begun = (): void => {}
    const hasBegun = new Promise<void>((resolve) => {
      begun = resolve
    })
    const slow = world.test.ledger.transaction(async (db) => {
      await db.query('select pg_current_xact_id()')
      begun()
      await open
      await db.query(
        `insert into leasehold.audit_event (writer, seq, at, body, hash, at_time, type) values ('slow', 1, 'x', $1, 'h', now(), 'request')`,
        [JSON.stringify(event)],
      )
    })
    await hasBegun
    await world.write(5)
    await shipping.once()
    expect(await takenByFile(log())).toEqual([])

    commit()
    await slow
    await shipAll(shipping)
    expect(await takenByFile(log())).toEqual(await world.order())
    expect(await takenByFile(log())).toContain('slow:1')
  })

  test('has lines that can be checked against their hashes with nothing else', async () => {
    await enableFile()
    await world.write(1)
    await shipAll(world.process('a'))
    const text = (await readFile(log(), 'utf8')).trimEnd()
    const { at, hash, seq, writer } = JSON.parse(text)
    const body = text.slice(text.indexOf('"body":') + 7, text.indexOf(',"hash":'))
    const start = sha256(`leasehold audit chain v1\n${writer}`)
    expect(hash).toBe(sha256(`leasehold audit event v1\n${start}\n${writer}\n${seq}\n${at}\n${body}`))
  })

  test('gets an event whose text somebody has edited in one line all the same', async () => {
    await enableFile()
    await world.write(1)
    await world.test.ledger.query(`update leasehold.audit_event set body = $1`, ['{}\n{"at":"forged"}'])
    await shipAll(world.process('a'))
    const lines = (await readFile(log(), 'utf8')).trimEnd().split('\n')
    expect(lines).toHaveLength(1)
    expect(JSON.parse(lines[0] ?? '')).toMatchObject({ body: '{}\n{"at":"forged"}' })
  })

  test('is opened anew when told to, after it has been moved away', async () => {
    await enableFile()
    const shipping = world.process('a')
    await world.write(4)
    await shipAll(shipping)
    await rename(log(), `${log()}.1`)
    await world.write(2)
    await shipAll(shipping)
    expect(await takenByFile(`${log()}.1`)).toHaveLength(6)

    shipping.reopen()
    await world.write(3)
    await shipAll(shipping)
    const both = [...(await takenByFile(`${log()}.1`)), ...(await takenByFile(log()))]
    expect(both).toEqual(await world.order())
    expect(await takenByFile(log())).toHaveLength(3)
  })

  test('whose last line a crash has cut off gets that event again, on a line of its own', async () => {
    await enableFile()
    await appendFile(log(), '{"at":"2026-0')
    await world.write(2)
    await shipAll(world.process('a'))
    const [torn, ...lines] = (await readFile(log(), 'utf8')).trimEnd().split('\n')
    expect(torn).toBe('{"at":"2026-0')
    expect(taken(lines.join('\n'))).toEqual(await world.order())
  })

  test('that cannot be written holds its events until it can', async () => {
    await enableFile()
    const shipping = world.process('a')
    await rename(log(), `${log()}.gone`)
    await symlink('/etc/hostname', log())
    await world.write(3)
    await untilFailed(shipping, 'file/', /ELOOP/)

    await rename(log(), `${log()}.link`)
    await shipAfterFailure(shipping, 'file/')
    expect(await takenByFile(log())).toEqual(await world.order())
    expect(await state()).toMatchObject({ failures: 0, error: null })
  })

  test('is given the permissions it was enabled with, and keeps them with mode 0000', async () => {
    await enableFile({ mode: '0640' })
    expect((await stat(log())).mode & 0o777).toBe(0o640)
    await world.sinks.disable('file')
    await chmod(log(), 0o604)
    await enableFile({ mode: '0000' })
    expect((await stat(log())).mode & 0o777).toBe(0o604)
  })

  test('gets nothing that was committed long before it was enabled', async () => {
    await world.write(3)
    const before = await world.order()
    await vi.waitFor(async () => {
      const { rows } = await world.test.ledger.query<{ past: boolean }>(
        `select bool_and(written_by < pg_snapshot_xmin(pg_current_snapshot())) as past from leasehold.audit_event`,
      )
      expect(rows[0]?.past).toBe(true)
    })
    await enableFile()
    await world.write(2)
    await shipAll(world.process('a'))
    expect(await takenByFile(log())).toEqual((await world.order()).slice(before.length))
  })
})

describe('processes', () => {
  test('that run side by side ship each event once', async () => {
    await enableFile()
    const all = ['a', 'b', 'c'].map((name) => world.process(name))
    for (let round = 0; round < 5; round += 1) {
      await Promise.all([world.write(30), ...all.map((each) => each.once())])
    }
    await Promise.all(all.map((each) => shipAll(each)))
    expect(await takenByFile(log())).toEqual(await world.order())
  })

  test('leave a sink to the one that has it until its claim lapses', async () => {
    await enableFile()
    const [a, b] = [world.process('a'), world.process('b')]
    await world.write(2)
    await shipAll(a)
    expect(await state()).toMatchObject({ claimedBy: 'a' })
    await world.write(2)
    await b.once()
    expect(await takenByFile(log())).toHaveLength(2)
    await world.test.advance(61)
    await shipAll(b)
    expect(await state()).toMatchObject({ claimedBy: 'b' })
    expect(await takenByFile(log())).toEqual(await world.order())
  })

  test('that stop leave their sinks to others at once', async () => {
    await enableFile()
    const [a, b] = [world.process('a'), world.process('b')]
    await world.write(2)
    await shipAll(a)
    await a.stop()
    await world.write(2)
    await shipAll(b)
    expect(await takenByFile(log())).toEqual(await world.order())
  })

  test('killed before the position moved: the events come again, and none is missing', async () => {
    await enableFile()
    const killed = world.process('killed', { ledger: dyingAt(world.test.another(), ADVANCE) })
    await world.write(7)
    await vi.waitFor(async () => {
      await killed.once()
      expect(await takenByFile(log())).not.toEqual([])
    })
    const first = await takenByFile(log())
    const next = world.process('next')
    await next.once()
    expect(await takenByFile(log()), 'while its claim may still be good').toEqual(first)

    await world.test.advance(61)
    await world.write(2)
    await shipAll(next)
    const all = await takenByFile(log())
    expect(all.slice(first.length)).toEqual(await world.order())
  })

  test('that ask for a sink at once do not all get it', async () => {
    await enableFile()
    const { id } = (await state()) as { id: string }
    const claims = await Promise.all(
      ['a', 'b', 'c', 'd'].map((by) => claimAuditSink(world.test.ledger, { id, by, seconds: 30 })),
    )
    expect(claims.filter((claim) => claim !== undefined)).toHaveLength(1)
  })

  test('that lost their claim while a batch was under way move nothing', async () => {
    const collector = await openCollector()
    await enable('http', 'http', { url: collector.url })
    await world.write(3)
    const slow = world.process('slow')
    collector.mood = 'hang'
    const shipping = slow.once()
    await vi.waitFor(() => expect(collector.requests).toHaveLength(1))

    collector.mood = 200
    await world.test.advance(61)
    const quick = world.process('quick')
    await world.write(2)
    await shipAll(quick, 'http/')
    collector.answerHanging()
    await shipping
    await world.write(1)
    await shipAll(quick, 'http/')

    expect(await state('http/')).toMatchObject({ claimedBy: 'quick', failures: 0 })
    expect(collector.taken()).toEqual(await world.order())
    await collector.close()
  })

  test('of other machines leave a sink with a host alone', async () => {
    await enableFile({ host: 'here' })
    await world.write(2)
    await world.process('there', { host: 'there' }).once()
    expect(await takenByFile(log())).toEqual([])
    await shipAll(world.process('here'))
    expect(await takenByFile(log())).toHaveLength(2)
  })
})

describe('a collector over HTTP', () => {
  test('gets batches of bounded size, with the token', async () => {
    const collector = await openCollector()
    await enable('http', 'http', { url: collector.url, batch_size: '10', token: 'sesame' })
    await world.write(25)
    await shipAll(world.process('a'), 'http/')
    expect(collector.taken()).toEqual(await world.order())
    expect(collector.requests.map(({ body }) => taken(body).length)).toEqual([10, 10, 5])
    expect(collector.requests[0]?.headers).toMatchObject({
      authorization: 'Bearer sesame',
      'content-type': 'application/x-ndjson',
    })
    expect(JSON.stringify(await world.sinks.list())).not.toContain('sesame')
    await collector.close()
  })

  test('gets an array when it wants one', async () => {
    const collector = await openCollector()
    await enable('http', 'http', { url: collector.url, format: 'array' })
    await world.write(2)
    await shipAll(world.process('a'), 'http/')
    expect(collector.requests[0]?.headers['content-type']).toBe('application/json')
    expect(collector.taken()).toEqual(await world.order())
    await collector.close()
  })

  test.each([500, 302, 'take and hang up', 'hang'] as const)(
    'that does this: %s, gets all later',
    async (mood) => {
      const collector = await openCollector()
      await enable('http', 'http', { url: collector.url, timeout: '1s' })
      const shipping = world.process('a')
      await world.write(3)
      collector.mood = mood
      await vi.waitFor(
        async () => {
          await shipping.once()
          expect(await state('http/')).toMatchObject({ failures: 1, claimedBy: null })
        },
        { timeout: 20_000 },
      )
      expect((await state('http/'))?.error).toMatch(
        { 500: /HTTP 500/, 302: /HTTP 302/, hang: /longer than 1 s/, 'take and hang up': /socket hang up/ }[
          mood
        ],
      )
      await world.write(2)
      collector.mood = 200
      await shipAfterFailure(shipping, 'http/')
      expect([...new Set(collector.taken())]).toEqual(await world.order())
      await collector.close()
    },
    30_000,
  )

  test('that is restarted gets all that was committed meanwhile', async () => {
    const first = await openCollector()
    await enable('http', 'http', { url: first.url })
    const shipping = world.process('a')
    await world.write(3)
    await shipAll(shipping, 'http/')
    await first.close()
    await world.write(3)
    await shipping.once()
    const second = await openCollector({ port: Number(new URL(first.url).port) })
    await shipAfterFailure(shipping, 'http/')
    expect([...first.taken(), ...second.taken()]).toEqual(await world.order())
    await second.close()
  })

  test('is believed by its certificate alone', async () => {
    const authority = newAuthority()
    const collector = await openCollector({ tls: authority.issue('collector') })
    await enable('stranger', 'http', { url: collector.url, token: 'sesame' })
    await enable('known', 'http', { url: collector.url, ca_cert: authority.cert })
    await world.write(3)
    const shipping = world.process('a')
    await untilFailed(shipping, 'stranger/', /certificate/)
    await shipAll(shipping, 'known/')
    expect(collector.taken()).toEqual(await world.order())
    expect(collector.requests.map(({ headers }) => headers.authorization)).toEqual([undefined])
    await collector.close()
  })

  test('that is dead holds up no other sink', async () => {
    const collector = await openCollector()
    collector.mood = 'hang'
    await enable('dead', 'http', { url: collector.url })
    await enableFile()
    await world.write(3)
    const shipping = world.process('a')
    await shipping.start()
    await vi.waitFor(async () => expect(await takenByFile(log())).toEqual(await world.order()), {
      timeout: 20_000,
    })
    expect(await state('dead/')).toMatchObject({ failures: 0 })
    await collector.close()
  })
})

describe('the bound on what a sink has not taken', () => {
  const counted = async (shipping: Shipping, backlog: number) =>
    vi.waitFor(
      async () => {
        await shipping.once()
        expect(shipping.sinks()[0]).toMatchObject({ backlog })
      },
      { timeout: 20_000, interval: 100 },
    )

  test('closes granting when it is passed, in every process, and opens it again', async () => {
    const collector = await openCollector()
    collector.mood = 500
    await enable('http', 'http', { url: collector.url, max_backlog: '5' })
    const [a, b] = [world.process('a'), world.process('b')]
    await world.write(5)
    await counted(a, 5)
    expect(a.mayGrant()).toBeUndefined()
    await world.write(1)
    await counted(a, 6)
    await counted(b, 6)
    expect(a.mayGrant()).toMatch(/too far behind: nothing is granted/)
    expect(b.mayGrant()).toBe(a.mayGrant())

    collector.mood = 200
    await shipAfterFailure(a, 'http/')
    await counted(a, 0)
    await counted(b, 0)
    expect([a.mayGrant(), b.mayGrant()]).toEqual([undefined, undefined])
    await collector.close()
  }, 60_000)

  test('counts each event once, whoever counts and whoever ships', async () => {
    await enable('file', 'file', { file_path: 'discard' })
    const all = ['a', 'b', 'c'].map((name) => world.process(name))
    for (let round = 0; round < 4; round += 1) {
      await Promise.all([world.write(20), ...all.map((each) => each.once())])
      await world.test.advance(1)
    }
    await Promise.all(all.map((each) => shipAll(each)))
    await world.test.advance(1)
    await counted(all[0] as Shipping, 0)
    const { rows } = await world.test.ledger.query<{ backlog: number }>(
      'select backlog from leasehold.audit_sink',
    )
    expect(rows).toEqual([{ backlog: 0 }])
  })

  test('of 0 is none', async () => {
    await enableFile({ max_backlog: '0' })
    await world.test.ledger.query('update leasehold.audit_sink set backlog = 1000000000')
    const shipping = world.process('a')
    await shipping.once()
    expect(shipping.mayGrant()).toBeUndefined()
  })

  test('is taken to be passed by a position of another server, from which nothing is shipped', async () => {
    await enableFile()
    await world.test.ledger.query(`update leasehold.audit_sink set taken_xid = '900000000000'`)
    await world.write(2)
    const shipping = world.process('a')
    await shipping.once()
    expect(shipping.mayGrant()).toMatch(/nothing is granted/)
    expect(await takenByFile(log())).toEqual([])
    await world.sinks.disable('file')
    await shipping.once()
    expect(shipping.mayGrant()).toBeUndefined()
  })
})

describe('what cannot be a sink is refused, and changes nothing', () => {
  const files = () => world.folder
  test.each<[string, string, string, SinkOptions, RegExp]>([
    ['an unknown type', 'x', 'socket', {}, /^unknown backend type: "socket"$/],
    ['a file without a path', 'x', 'file', {}, /^file_path is required$/],
    ['a relative path', 'x', 'file', { file_path: 'audit.log' }, /absolute path/],
    [
      'a folder',
      'x',
      'file',
      { file_path: '/tmp' },
      /unable to open "\/tmp" for writing: it is a folder \(EISDIR\)$/,
    ],
    [
      'a folder that is not there',
      'x',
      'file',
      { file_path: '/nowhere/a.log' },
      /: its folder is not there \(ENOENT\)$/,
    ],
    ['a device', 'x', 'file', { file_path: '/dev/null' }, /it is not a file/],
    [
      'an executable file',
      'x',
      'file',
      { file_path: '/tmp/x', mode: '0755' },
      /must not make the file executable/,
    ],
    ['a mode that is none', 'x', 'file', { file_path: '/tmp/x', mode: '9' }, /permissions in octal/],
    ['a setuid mode', 'x', 'file', { file_path: '/tmp/x', mode: '4600' }, /permissions in octal/],
    ['a prefix', 'x', 'file', { file_path: '/tmp/x', prefix: '#!/bin/sh' }, /^prefix is not supported$/],
    [
      'raw logs',
      'x',
      'file',
      { file_path: '/tmp/x', log_raw: 'true' },
      /^log_raw is not supported but as "false"$/,
    ],
    ['an unknown option', 'x', 'file', { file_path: '/tmp/x', size: '1' }, /^unknown option "size"/],
    ['a backlog that is none', 'x', 'stdout', { max_backlog: '-1' }, /^max_backlog must be a whole number/],
    ['no url', 'x', 'http', {}, /^url is required$/],
    ['another scheme', 'x', 'http', { url: 'file:///etc/passwd' }, /^url must begin with https/],
    ['a password in the url', 'x', 'http', { url: 'https://u:p@h/' }, /^url must not hold a password/],
    [
      'a token in the clear',
      'x',
      'http',
      { url: 'http://h/', token: 't' },
      /^token would be sent in the clear/,
    ],
    ['a token with a line feed', 'x', 'http', { url: 'https://h/', token: 'a\nb' }, /^token must be/],
    [
      'a CA that is none',
      'x',
      'http',
      { url: 'https://h/', ca_cert: 'PEM' },
      /^ca_cert must be certificates/,
    ],
    ['a long timeout', 'x', 'http', { url: 'https://h/', timeout: '2m' }, /^timeout must be a duration/],
    ['a batch of none', 'x', 'http', { url: 'https://h/', batch_size: '0' }, /^batch_size must be a whole/],
    ['a format that is none', 'x', 'http', { url: 'https://h/', format: 'xml' }, /^format must be/],
    ['a path with dots', '../x', 'stdout', {}, /^invalid audit path/],
  ])('%s', async (_, path, type, options, text) => {
    await expect(enable(path, type, options)).rejects.toMatchObject({
      code: 'invalid_request',
      message: expect.stringMatching(text),
    })
    expect(await world.sinks.list()).toEqual([])
    expect(files()).toBe(world.folder)
  })

  test('a path that is taken, or lies in one that is', async () => {
    await enable('a/b', 'stdout')
    for (const path of ['a/b', 'a/b/', 'a', 'a/b/c']) {
      await expect(enable(path, 'stdout')).rejects.toThrow('path already in use')
    }
    expect((await world.sinks.list()).map(({ path }) => path)).toEqual(['a/b/'])
  })

  test('a file that holds something else, which stays as it is', async () => {
    await writeFile(log(), 'the master key')
    await expect(enableFile()).rejects.toThrow('it holds something that is no audit log')
    expect(await readFile(log(), 'utf8')).toBe('the master key')
  })

  test('a link to a file', async () => {
    await writeFile(join(world.folder, 'real'), '')
    await symlink(join(world.folder, 'real'), log())
    await expect(enableFile()).rejects.toThrow('ELOOP')
  })
})

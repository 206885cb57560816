import {
  chmodSync,
  chownSync,
  cpSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import { dirname, join } from 'node:path'
import pg from 'pg'
import { expect, test } from 'vitest'
import { type PostgresServer, startPostgres } from '../../src/dev/embedded-postgres.ts'
import { binariesIn, findBinaries } from '../../src/dev/postgres-binaries.ts'
import { commandLine, processToken } from '../../src/dev/processes.ts'
import { built, runScript } from '../support/built.ts'
import { binariesOf } from '../support/postgres.ts'
import { freePort, MAJORS, startTestPostgres } from '../support/servers.ts'
import { testFolder } from '../support/test-root.ts'

const settings = { fsync: 'off' }
const ROOT = process.getuid?.() === 0

async function query(url: string, text: string): Promise<unknown[]> {
  const client = new pg.Client({ connectionString: url })
  await client.connect()
  try {
    return (await client.query(text)).rows
  } finally {
    await client.end()
  }
}

async function whileRunning<T>(
  server: PostgresServer,
  use: (server: PostgresServer) => Promise<T>,
): Promise<T> {
  try {
    return await use(server)
  } finally {
    await server.stop()
  }
}

/** PostgreSQL runs as the owner of its data, and refuses to run as another. */
const ownerOf = ({ home }: PostgresServer) => statSync(join(home, 'data')).uid

test('data outlives a stop, and a stopped server leaves no process and no socket', async () => {
  const dataDir = testFolder('pg')
  const first = await startPostgres({ dataDir, settings })
  await whileRunning(first, ({ url }) => query(url(), 'create table kept as select 7 as n'))
  expect(processToken(first.pid)).toBeUndefined()
  expect(readdirSync(first.socketDir)).toEqual([])

  const second = await startPostgres({ dataDir, settings })
  expect(await whileRunning(second, ({ url }) => query(url(), 'select n from kept'))).toEqual([{ n: 7 }])
})

test('the server of a process killed with -9 is taken over', async () => {
  const dataDir = testFolder('pg')
  const starter = runScript(`
    import { startPostgres } from '${built('src/dev/embedded-postgres.js')}'
    const server = await startPostgres({ dataDir: '${dataDir}', settings: { fsync: 'off' } })
    console.log(server.pid)
    setInterval(() => {}, 1000)`)
  const pid = Number(await starter.firstLine)
  await starter.kill()

  const server = await startPostgres({ dataDir, settings })
  expect(server.pid).toBe(pid)
  await whileRunning(server, ({ url }) => query(url(), 'select 1'))
  expect(processToken(pid)).toBeUndefined()
})

test('a server that was killed itself is started anew, with what was committed', async () => {
  const dataDir = testFolder('pg')
  const first = await startPostgres({ dataDir, settings: { fsync: 'on' } })
  await query(first.url(), 'create table kept as select 7 as n')
  process.kill(first.pid, 'SIGKILL')

  const second = await startPostgres({ dataDir, settings })
  expect(second.pid).not.toBe(first.pid)
  expect(await whileRunning(second, ({ url }) => query(url(), 'select n from kept'))).toEqual([{ n: 7 }])
})

test('a pid file whose pid has passed to another program is no obstacle', async () => {
  const dataDir = testFolder('pg')
  const first = await startPostgres({ dataDir, settings })
  const pidFile = join(first.home, 'data', 'postmaster.pid')
  const note = readFileSync(pidFile, 'utf8')
  const { uid, gid } = statSync(pidFile)
  await first.stop()
  // What a machine that lost power leaves; our own pid stands for the other program's.
  writeFileSync(pidFile, note.replace(/^\d+/, String(process.pid)), { mode: 0o600 })
  chownSync(pidFile, uid, gid)

  const second = await startPostgres({ dataDir, settings })
  expect(await whileRunning(second, ({ url }) => query(url(), 'select 1 as n'))).toEqual([{ n: 1 }])
})

test('a data folder with a long path gets its socket in a short place, which goes away again', async () => {
  const dataDir = join(testFolder('pg'), 'a-folder-with-a-long-name'.repeat(4))
  mkdirSync(dirname(dataDir), { recursive: true })
  const server = await startPostgres({ dataDir, settings })
  expect(Buffer.byteLength(server.socketDir)).toBeLessThan(90)
  expect(statSync(server.socketDir).mode & 0o777).toBe(0o700)
  await whileRunning(server, ({ url }) => query(url(), 'select 1'))
  expect(existsSync(server.socketDir)).toBe(false)
  if (server.home !== dataDir) rmSync(server.home, { recursive: true })
})

test('programs and data that the server account cannot reach are put where it can', async () => {
  const closed = testFolder('closed')
  chmodSync(closed, 0o700)
  const { native } = findBinaries()
  cpSync(native, join(closed, 'native'), { recursive: true, verbatimSymlinks: true })
  const binaries = binariesIn(join(closed, 'dist'))
  const dataDir = join(closed, 'postgres')

  const first = await startPostgres({ dataDir, binaries, settings })
  // As root it must be elsewhere and another's; as an ordinary user both are our own and stay.
  expect(first.home !== dataDir).toBe(ROOT)
  expect(ownerOf(first) !== process.getuid?.()).toBe(ROOT)
  expect(commandLine(first.pid).startsWith(closed)).toBe(!ROOT)
  await whileRunning(first, ({ url }) => query(url(), 'create table kept as select 7 as n'))

  const second = await startPostgres({ dataDir, binaries, settings })
  expect(second.home).toBe(first.home)
  expect(await whileRunning(second, ({ url }) => query(url(), 'select n from kept'))).toEqual([{ n: 7 }])
  rmSync(first.home, { recursive: true })
})

test('it takes nobody without the password, and nobody else can read that', async () => {
  const dataDir = testFolder('pg')
  const server = await startPostgres({ dataDir, settings })
  await whileRunning(server, async ({ home, url, password }) => {
    const stranger = url('postgres', { name: 'postgres', password: `${password}x` })
    await expect(query(stranger, 'select 1')).rejects.toMatchObject({ code: '28P01' })
    expect(
      await query(url(), "select 1 from pg_hba_file_rules where auth_method <> 'scram-sha-256'"),
    ).toEqual([])
    for (const name of readdirSync(home))
      expect([name, statSync(join(home, name)).mode & 0o007]).toEqual([name, 0])
    expect(statSync(join(home, 'superuser-password')).mode & 0o777).toBe(0o600)
    expect(readdirSync(home).sort()).toEqual(['data', 'run', 'server.log', 'superuser-password'])
  })
})

test('data of another release is refused, by name', async () => {
  const dataDir = testFolder('pg')
  const old = await binariesOf(13)
  await (await startPostgres({ dataDir, binaries: old, settings })).stop()
  await expect(startPostgres({ dataDir, settings })).rejects.toThrow(/is of PostgreSQL 13, this is 18/)
})

test("a server that does not start fails with the server's own words", async () => {
  const dataDir = testFolder('pg')
  const started = startPostgres({ dataDir, settings: { ...settings, work_mem: 'plenty' } })
  await expect(started).rejects.toThrow(/invalid value for parameter "work_mem"/)
  expect(existsSync(join(dataDir, 'data', 'postmaster.pid'))).toBe(false)
})

test('two servers live side by side, and one listens on a port of its own', async () => {
  const tcpPort = await freePort()
  const [plain, tcp] = await Promise.all([
    startPostgres({ dataDir: testFolder('pg'), settings }),
    startPostgres({ dataDir: testFolder('pg'), settings, tcpPort }),
  ])
  const listening = 'select inet_server_port() as port'
  expect(await whileRunning(plain, ({ url }) => query(url(), listening))).toEqual([{ port: null }])
  expect(await whileRunning(tcp, ({ url }) => query(url(), listening))).toEqual([{ port: tcpPort }])
})

test.each(MAJORS)('PostgreSQL %i starts, and starts again on the same address', async (major) => {
  const server = await startTestPostgres({ major })
  const release = `select current_setting('server_version_num')::int / 10000 as major`
  expect(await query(server.url(), release)).toEqual([{ major }])
  const url = server.url()
  await server.stop('immediate')
  await server.restart()
  expect(await query(url, release)).toEqual([{ major }])
  await server.remove()
})

import { type ChildProcess, spawn } from 'node:child_process'
import { open, readFile, rename, rm, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import pg from 'pg'
import type { PostgresBinaries } from './postgres-binaries.ts'
import { type PostgresHome, removeSocketFolder, socketFolder } from './postgres-home.ts'
import { commandLine, processToken, tokenLives } from './processes.ts'
import { launchOptions, type ServerAccount } from './server-account.ts'

/** Everything it takes to run one server. */
export type Cluster = {
  home: PostgresHome
  binaries: PostgresBinaries
  account: ServerAccount | undefined
  password: string
  settings: Record<string, string>
  tcpPort: number | undefined
}

/** A server that runs. */
export type Postmaster = { pid: number; port: number; socketDir: string; tcp: boolean }

export const SUPERUSER = 'postgres'
const SOCKET_PORT = 5432
/** For a server that starts, recovering what a crash left, or stops, writing down what it holds. */
const PATIENCE_MS = 60_000

/** The server that already runs on this data, once it is ready; undefined when none does, or it was just ending. */
export async function takeOver(cluster: Cluster): Promise<Postmaster | undefined> {
  const { home } = cluster
  const patience = Date.now() + PATIENCE_MS
  while (Date.now() < patience) {
    const { pid, port, socketDir, address } = await readPidFile(home)
    if (!pid) return undefined
    if (!isPostmaster(pid, home)) {
      if (socketDir && port) await removeSocketFolder(socketDir, port)
      // Its pid may belong to another program by now, which the server would take for a server.
      await rm(join(home.data, 'postmaster.pid'), { force: true })
      return undefined
    }
    const found = { pid, port, socketDir, tcp: address !== '' }
    // It writes the file line by line as it starts.
    if (socketDir && port && (await answers(cluster, found))) return found
    await sleep(20)
  }
  throw new Error(`a PostgreSQL server runs in ${home.path} and neither answers nor ends`)
}

async function readPidFile(home: PostgresHome) {
  const text = await readFile(join(home.data, 'postmaster.pid'), 'utf8').catch(() => '')
  const [pid, , , port, socketDir = '', address = ''] = text.split('\n')
  return { pid: Number(pid), port: Number(port), socketDir, address }
}

const isPostmaster = (pid: number, home: PostgresHome): boolean =>
  commandLine(pid).includes(`-D ${home.data} `)

/** Whether the server takes our password. Not yet, while it starts or stops; never, with another password. */
async function answers(cluster: Cluster, { socketDir, port }: Postmaster): Promise<boolean> {
  const client = new pg.Client({
    host: socketDir,
    port,
    user: SUPERUSER,
    password: cluster.password,
    database: 'postgres',
    connectionTimeoutMillis: 10_000,
  })
  client.on('error', () => undefined)
  try {
    await client.connect()
    return true
  } catch (cause) {
    const code = (cause as { code?: string }).code ?? ''
    if (!NOT_YET.has(code))
      throw new Error(`PostgreSQL in ${cluster.home.path} does not let us in`, { cause })
    return false
  } finally {
    await client.end().catch(() => undefined)
  }
}

/** No socket, nobody on it, gone while connecting; 57P03 and 57P01 are the server's own words for it. */
const NOT_YET = new Set(['ENOENT', 'ECONNREFUSED', 'ECONNRESET', 'EPIPE', '57P03', '57P01', '53300', ''])

export async function launch(cluster: Cluster): Promise<Postmaster> {
  const patience = Date.now() + PATIENCE_MS
  for (;;) {
    const socketDir = await socketFolder(cluster.home, cluster.account)
    const port = cluster.tcpPort ?? SOCKET_PORT
    const outcome = await launchOn(cluster, socketDir, port)
    if (typeof outcome !== 'string') return outcome
    // The process before us was killed between starting a server and that server's own note of it.
    const other = ALREADY_RUNS.test(outcome) ? await takeOver(cluster) : undefined
    if (other?.socketDir !== socketDir) await removeSocketFolder(socketDir, port)
    if (other) return other
    if (!PASSES.test(outcome) || Date.now() > patience) {
      throw new Error(`PostgreSQL did not start in ${cluster.home.path}:\n${outcome}`)
    }
    await sleep(50)
  }
}

const ALREADY_RUNS = /lock file "postmaster.pid" already exists/
/** The sessions of a server that was killed are still ending. */
const PASSES = /pre-existing shared memory block/

/** The server, ready; or what it wrote before it ended. */
async function launchOn(cluster: Cluster, socketDir: string, port: number): Promise<Postmaster | string> {
  const log = await openLog(cluster.home)
  try {
    const begin = (await log.stat()).size
    const child = spawnServer(cluster, socketDir, port, log.fd)
    const ended = new Promise<string>((resolve) => {
      child.once('error', (error) => resolve(error.message))
      child.once('exit', async () => {
        // The log may have been removed together with the data.
        const log = await readFile(cluster.home.log).catch(() => Buffer.alloc(0))
        resolve(log.subarray(begin).toString())
      })
    })
    const postmaster = { pid: child.pid ?? 0, port, socketDir, tcp: cluster.tcpPort !== undefined }
    return await readyOrEnded(cluster, postmaster, ended).catch((error) => {
      child.kill('SIGINT')
      throw error
    })
  } finally {
    await log.close()
  }
}

function spawnServer(cluster: Cluster, socketDir: string, port: number, log: number): ChildProcess {
  const { home, account, binaries, settings, tcpPort } = cluster
  const where = { listen_addresses: tcpPort ? '127.0.0.1' : '', unix_socket_directories: socketDir }
  const flags = Object.entries({ ...settings, ...where }).flatMap(([key, value]) => ['-c', `${key}=${value}`])
  const child = spawn(binaries.postgres, ['-D', home.data, '-p', String(port), ...flags], {
    ...launchOptions(account),
    // A session of its own: Ctrl-C is for us, and the server must live until we have drained.
    detached: true,
    stdio: ['ignore', log, log],
  })
  child.unref()
  return child
}

async function readyOrEnded(cluster: Cluster, postmaster: Postmaster, ended: Promise<string>) {
  for (;;) {
    const outcome = await Promise.race([ended, answers(cluster, postmaster)])
    if (outcome !== false) return outcome === true ? postmaster : outcome
    await sleep(20)
  }
}

/** Opened by us and handed down, so that the server's account needs no way to it. The last one is kept as `.1`. */
async function openLog(home: PostgresHome) {
  const size = await stat(home.log).then(
    (file) => file.size,
    () => 0,
  )
  if (size > 10_000_000) await rename(home.log, `${home.log}.1`)
  return open(home.log, 'a+', 0o600)
}

export async function stopPostmaster(
  { pid, socketDir, port }: Postmaster,
  home: PostgresHome,
  how: 'fast' | 'immediate',
): Promise<void> {
  // By pid and only while it is still that server: the number may have passed to another program.
  const token = isPostmaster(pid, home) ? processToken(pid) : undefined
  if (token) process.kill(pid, how === 'fast' ? 'SIGINT' : 'SIGQUIT')
  const patience = Date.now() + PATIENCE_MS
  let asked = false
  // Its command line is gone a little before it is.
  while (token && tokenLives(token)) {
    if (!asked && Date.now() > patience) {
      // What is committed is in its journal: ending without a checkpoint loses nothing.
      process.kill(pid, 'SIGQUIT')
      asked = true
    }
    await sleep(10)
  }
  await removeSocketFolder(socketDir, port)
}

import { chown, readFile, rename, rm, writeFile } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import { findBinaries, type PostgresBinaries, reachableBinaries } from './postgres-binaries.ts'
import { dataIn, makeDraft, openHome, superuserPassword } from './postgres-home.ts'
import { type Cluster, launch, type Postmaster, SUPERUSER, stopPostmaster, takeOver } from './postmaster.ts'
import { runAs, serverAccount } from './server-account.ts'

export type PostgresOptions = {
  /** A folder of the server's own, made when missing. What is in it is kept and used again. */
  dataDir: string
  /** Server settings that go before ours, such as `max_connections`. */
  settings?: Record<string, string>
  /** Another release than the default. */
  binaries?: PostgresBinaries
  /** Listen on this port of 127.0.0.1 too, and give URLs of that; otherwise it has a unix socket alone. */
  tcpPort?: number
}

export type PostgresServer = {
  /** For a client: the folder of the unix socket, and the port, which is part of the socket's name. */
  socketDir: string
  port: number
  superuser: string
  password: string
  /** The server's process; it is not our child when an earlier process of ours started it. */
  pid: number
  /** The folder with data and log: `dataDir`, or another when the server's account cannot get there. */
  home: string
  /** A URL for `pg`, psql and the like; by default the superuser's to the database `postgres`. */
  url(database?: string, user?: { name: string; password: string }): string
  /** `fast` ends sessions and writes everything down; `immediate` is like a crash, with recovery at next start. */
  stop(how?: 'fast' | 'immediate'): Promise<void>
}

const DEFAULTS: Record<string, string> = {
  max_connections: '200',
  shared_buffers: '32MB',
  timezone: 'UTC',
  log_timezone: 'UTC',
  // A statement that failed may carry a password's verifier: keep statements out of the log.
  log_min_error_statement: 'panic',
}

/**
 * Start the server whose data is in `dataDir`, making the data first when there is none, and wait until it
 * takes connections. A server that still runs there, because the process that started it was killed, is taken over.
 */
export async function startPostgres(options: PostgresOptions): Promise<PostgresServer> {
  const cluster = await openCluster(options)
  const running = await takeOver(cluster)
  return serverOf(cluster, running ?? (await launch(cluster)))
}

async function openCluster(options: PostgresOptions): Promise<Cluster> {
  // Absolute, since the server is started in another folder.
  const dataDir = resolve(options.dataDir)
  const account = await serverAccount(await dataIn(dataDir))
  const binaries = options.binaries ?? findBinaries()
  const home = await openHome(dataDir, account)
  const cluster = {
    home,
    account,
    binaries: account ? await reachableBinaries(binaries, account) : binaries,
    password: await superuserPassword(home),
    settings: { ...DEFAULTS, ...options.settings },
    tcpPort: options.tcpPort,
  }
  const made = await readFile(join(home.data, 'PG_VERSION'), 'utf8').catch(() => undefined)
  if (made === undefined) await initialise(cluster)
  else await requireRelease(cluster, made.trim())
  return cluster
}

/** `initdb`, beside the data's place and then renamed: data that is there is complete. */
async function initialise({ home, binaries, account, password, settings }: Cluster): Promise<void> {
  const draft = await makeDraft(home, account)
  const passwordFile = join(home.path, 'initdb-password')
  try {
    await writeFile(passwordFile, password, { mode: 0o600 })
    if (account) await chown(passwordFile, account.uid, account.gid)
    const how = [
      '-U',
      SUPERUSER,
      '--auth=scram-sha-256',
      `--pwfile=${passwordFile}`,
      '-E',
      'UTF8',
      '--locale=C',
    ]
    if (settings.fsync === 'off') how.push('--no-sync')
    await runAs(account, binaries.initdb, ['-D', draft, ...how])
  } finally {
    await rm(passwordFile, { force: true })
  }
  await rename(draft, home.data)
}

async function requireRelease({ home, binaries, account }: Cluster, made: string): Promise<void> {
  const { stdout } = await runAs(account, binaries.postgres, ['--version'])
  const release = /\d+/.exec(stdout)?.[0]
  if (release !== made) {
    throw new Error(
      `the data in ${home.path} is of PostgreSQL ${made}, this is ${release}: use another folder`,
    )
  }
}

function serverOf({ home, password }: Cluster, postmaster: Postmaster): PostgresServer {
  const { pid, port, socketDir, tcp } = postmaster
  const host = tcp ? '127.0.0.1' : encodeURIComponent(socketDir)
  return {
    socketDir,
    port,
    superuser: SUPERUSER,
    password,
    pid,
    home: home.path,
    url: (database = 'postgres', user = { name: SUPERUSER, password }) =>
      `postgres://${encodeURIComponent(user.name)}:${encodeURIComponent(user.password)}@${host}:${port}/${encodeURIComponent(database)}`,
    stop: (how = 'fast') => stopPostmaster(postmaster, home, how),
  }
}

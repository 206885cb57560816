import { createHash, randomBytes } from 'node:crypto'
import { chmod, chown, link, mkdir, mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { sharedFolder } from './postgres-binaries.ts'
import { canWrite, type ServerAccount } from './server-account.ts'

/**
 * Where one server keeps its things: `data`, `server.log`, `superuser-password` and, if the path is short
 * enough, `run` with its socket. It is the folder asked for, unless the server's account cannot get there:
 * then that folder holds a pointer to another.
 */
export type PostgresHome = { path: string; data: string; log: string }

const POINTER = 'moved-to'
/** Of the 108 bytes Linux gives the address of a socket, and the 104 of macOS, with the name's own 15. */
const LONGEST_SOCKET_FOLDER = 103 - '/.s.PGSQL.54321'.length

export async function openHome(dataDir: string, account: ServerAccount | undefined): Promise<PostgresHome> {
  const path = account ? await reachableHome(dataDir, account) : dataDir
  if (!account) await mkdir(dataDir, { recursive: true, mode: 0o700 })
  return homeAt(path)
}

/** The data in this folder, wherever it is; for asking who owns it before there is an account. */
export const dataIn = async (dataDir: string): Promise<string> =>
  join((await pointerIn(dataDir)) ?? dataDir, 'data')

const homeAt = (path: string): PostgresHome => ({
  path,
  data: join(path, 'data'),
  log: join(path, 'server.log'),
})

async function reachableHome(dataDir: string, account: ServerAccount): Promise<string> {
  const moved = await pointerIn(dataDir)
  if (moved !== undefined) {
    await makeFor(account, moved)
    return moved
  }
  await makeFor(account, dataDir)
  if (await canWrite(account, join(dataDir, 'run'))) return dataDir
  if (await stat(join(dataDir, 'data')).catch(() => undefined)) {
    throw new Error(
      `user id ${account.uid}, which PostgreSQL runs as, can no longer reach its data in ${dataDir}`,
    )
  }
  const key = createHash('sha256').update(dataDir).digest('hex').slice(0, 16)
  // Random too: after a `rm -rf` of the data folder the next one starts anew, not on the old one's data.
  const home = join(await sharedFolder(account), `data-${key}-${randomBytes(4).toString('hex')}`)
  await makeFor(account, home)
  await writeFile(join(dataDir, POINTER), home, { mode: 0o600 })
  return home
}

const pointerIn = (dataDir: string): Promise<string | undefined> =>
  readFile(join(dataDir, POINTER), 'utf8').then(
    (path) => path.trim(),
    () => undefined,
  )

/** Root's folder, which the account may pass through but not change, around the account's own. */
async function makeFor(account: ServerAccount, home: string): Promise<void> {
  if (await mkdir(home, { recursive: true, mode: 0o700 })) {
    await chown(home, 0, account.gid)
    // By itself, since the umask takes from what `mkdir` is asked for.
    await chmod(home, 0o710)
  }
  await makeOwned(account, join(home, 'run'))
}

async function makeOwned(account: ServerAccount, folder: string): Promise<void> {
  if (await mkdir(folder, { recursive: true, mode: 0o700 })) await chown(folder, account.uid, account.gid)
}

/** An empty folder for the data. */
export async function makeDraft(home: PostgresHome, account: ServerAccount | undefined): Promise<string> {
  const draft = `${home.data}.new`
  await rm(draft, { recursive: true, force: true })
  await mkdir(draft, { mode: 0o700 })
  if (account) await chown(draft, account.uid, account.gid)
  return draft
}

/** A folder for the socket, with a short path that the account can use. */
export async function socketFolder(home: PostgresHome, account: ServerAccount | undefined): Promise<string> {
  const own = join(home.path, 'run')
  if (fits(own)) {
    await mkdir(own, { recursive: true, mode: 0o700 })
    return own
  }
  for (const place of new Set([tmpdir(), '/tmp', '/var/tmp'])) {
    const folder = await mkdtemp(join(place, SOCKETS)).catch(() => undefined)
    if (folder === undefined) continue
    if (account) await chown(folder, account.uid, account.gid)
    if (fits(folder) && (!account || (await canWrite(account, folder)))) return folder
    await rm(folder, { recursive: true, force: true })
  }
  throw new Error(`no place for PostgreSQL's socket: ${own} is too long, and no temporary folder will do`)
}

const SOCKETS = 'leasehold-sockets-'
const fits = (folder: string): boolean => Buffer.byteLength(folder) <= LONGEST_SOCKET_FOLDER

/** Remove what a server that is gone left of its socket. Only in a folder that we made for it. */
export async function removeSocketFolder(folder: string, port: number): Promise<void> {
  const socket = join(folder, `.s.PGSQL.${port}`)
  await Promise.all([rm(socket, { force: true }), rm(`${socket}.lock`, { force: true })])
  if (/\/leasehold-sockets-\w{6}$/.test(folder)) await rm(folder, { recursive: true, force: true })
}

/** Made once and kept: the same before and after `initdb`, whoever starts the server. */
export async function superuserPassword(home: PostgresHome): Promise<string> {
  const file = join(home.path, 'superuser-password')
  await writeOnce(file, randomBytes(24).toString('hex'))
  return readFile(file, 'utf8')
}

/** Write a file that only we can read, whole or not at all, unless it is there. */
export async function writeOnce(file: string, content: string): Promise<void> {
  const draft = `${file}.${randomBytes(6).toString('hex')}`
  await writeFile(draft, content, { mode: 0o600, flush: true })
  try {
    await chmod(draft, 0o600)
    await link(draft, file)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error
  } finally {
    await rm(draft, { force: true })
  }
}

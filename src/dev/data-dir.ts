import { randomBytes } from 'node:crypto'
import { chmod, chown, mkdir, stat } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import { takeLock } from './dir-lock.ts'
import { writeOnce } from './postgres-home.ts'
import { serverAccount } from './server-account.ts'

/** The folder in which embedded mode keeps everything. It is ours alone until `release`. */
export type DataDir = {
  path: string
  /** 32 random bytes in base64, made at the first start. */
  masterKeyFile: string
  /** For `startPostgres`. */
  postgresDir: string
  release(): void
}

export async function openDataDir(wanted: string): Promise<DataDir> {
  const path = resolve(wanted)
  await makeFolder(path)
  const lock = await takeLock(join(path, 'lock'))
  if ('holder' in lock) {
    throw new Error(
      `${path} is in use by process ${lock.holder}: stop that one, or set LEASEHOLD_DATA_DIR to another folder`,
    )
  }
  try {
    const masterKeyFile = join(path, 'master-key')
    await writeOnce(masterKeyFile, `${randomBytes(32).toString('base64')}\n`)
    return { path, masterKeyFile, postgresDir: join(path, 'postgres'), release: lock.release }
  } catch (error) {
    lock.release()
    throw error
  }
}

async function makeFolder(path: string): Promise<void> {
  try {
    if (await mkdir(path, { recursive: true, mode: 0o700 })) await letServerThrough(path)
    const { uid, mode } = await stat(path)
    const self = process.getuid?.() ?? uid
    // Root may start what a user made: the files keep their owner.
    if (self !== 0 && uid !== self) throw new Error('it belongs to another user')
    if ((mode & 0o002) !== 0) throw new Error('every user may write to it')
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error)
    throw new Error(`LEASEHOLD_DATA_DIR: ${path} cannot be used: ${reason}`, { cause: error })
  }
}

/** As root the database runs as a system user, whose group may pass through this folder but not look into it. */
async function letServerThrough(path: string): Promise<void> {
  const account = await serverAccount()
  if (!account) return
  await chown(path, 0, account.gid)
  await chmod(path, 0o710)
}

import { constants } from 'node:fs'
import { type FileHandle, open } from 'node:fs/promises'
import { LINE_START } from './line.ts'
import type { Output } from './output.ts'

export type FileSettings = {
  path: string
  /** What its permissions are set to; 0 leaves those of a file that is there. */
  mode: number
}

const NEW_FILE_MODE = 0o600
/** No link is followed where the file should be, and no device or pipe is waited for. */
const FLAGS =
  constants.O_RDWR | constants.O_APPEND | constants.O_CREAT | constants.O_NOFOLLOW | constants.O_NONBLOCK
const LINE_FEED = 10

/** Opens a file to append to, making it when it is not there. Throws when it is not, or does not hold, an audit log. */
export async function openFile({ path, mode }: FileSettings): Promise<Output> {
  const file = await open(path, FLAGS, mode || NEW_FILE_MODE)
  try {
    const { torn } = await checkFile(file)
    if (mode !== 0) await file.chmod(mode)
    return output(file, torn)
  } catch (error) {
    await file.close()
    throw error
  }
}

function output(file: FileHandle, torn: boolean): Output {
  let first = torn ? '\n' : ''
  return {
    async take(lines) {
      // What is written to a file that nobody can find any more is lost to whoever reads it, and must not go unnoticed.
      if ((await file.stat()).nlink === 0) throw new Error('it has been deleted')
      await writeWhole(file, Buffer.from(first + lines.join('')))
      first = ''
      // The position moves next: a machine that loses its power must not lose what the ledger takes to be taken.
      await file.datasync()
    },
    close: () => file.close(),
  }
}

/** Whether a crash has cut off its last line, which must not run into the next one. */
async function checkFile(file: FileHandle): Promise<{ torn: boolean }> {
  const stat = await file.stat()
  if (!stat.isFile()) throw new Error('it is not a file')
  if (stat.size === 0) return { torn: false }
  const start = Buffer.alloc(Math.min(stat.size, LINE_START.length))
  await file.read(start, 0, start.length, 0)
  // Whoever may configure sinks must not get to write into the key file, or any file of somebody else's.
  if (!LINE_START.startsWith(start.toString('latin1')))
    throw new Error('it holds something that is no audit log')
  const end = Buffer.alloc(1)
  await file.read(end, 0, 1, stat.size - 1)
  return { torn: end[0] !== LINE_FEED }
}

async function writeWhole(file: FileHandle, bytes: Buffer): Promise<void> {
  for (let from = 0; from < bytes.length; ) {
    const { bytesWritten } = await file.write(bytes, from)
    from += bytesWritten
  }
}

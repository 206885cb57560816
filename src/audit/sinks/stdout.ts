import { write } from 'node:fs'
import { promisify } from 'node:util'
import { pause } from '../../lib/pause.ts'
import type { Output } from './output.ts'

const writeTo = promisify(write)
const STDOUT = 1
const FULL_PAUSE_MS = 50

/**
 * Written to by a thread, not by `process.stdout`, which stops the whole process while a pipe is full: a reader that
 * hangs must hold up nothing but this sink.
 */
export const openStdout = (): Output => ({
  async take(lines, signal) {
    const bytes = Buffer.from(lines.join(''))
    for (let from = 0; from < bytes.length; ) from += await writeSome(bytes.subarray(from), signal)
  },
  close: async () => {},
})

async function writeSome(bytes: Buffer, signal: AbortSignal): Promise<number> {
  for (;;) {
    if (signal.aborted) throw new Error('stdout is not being read')
    try {
      return (await writeTo(STDOUT, bytes)).bytesWritten
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EAGAIN') throw error
      await pause(FULL_PAUSE_MS, signal)
    }
  }
}

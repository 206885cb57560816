import {
  accessSync,
  chmodSync,
  constants,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statfsSync,
  writeFileSync,
} from 'node:fs'
import { freemem, tmpdir } from 'node:os'
import { join } from 'node:path'
import { commandLine, processToken, tokenLives } from '../../src/dev/processes.ts'

// Everything a test run starts or writes is below one folder named after the run's process. So whatever a
// test leaves behind is found when the run ends, and what a killed run leaves is found by the next one.

const PREFIX = 'leasehold-test-'
const VARIABLE = 'LEASEHOLD_TEST_ROOT'

/** Linux's folder in memory. The servers make thousands of databases: on a disk half of a run's processor time goes there. */
const IN_MEMORY = '/dev/shm'
/** A run takes a quarter of it. */
const ROOM_BYTES = 4 * 2 ** 30

/** Make the run's folder; the test processes, our children, find it by the variable. Clears up after dead runs. */
export function openTestRoot(): string {
  clearDeadRuns()
  const root = join(fitsInMemory() ? IN_MEMORY : tmpdir(), `${PREFIX}${processToken(process.pid)}`)
  mkdirSync(root, { recursive: true })
  // The account a server runs as passes through.
  chmodSync(root, 0o711)
  process.env[VARIABLE] = root
  return root
}

/** A new folder for one server or one test. It goes away with the run, if not before. */
export function testFolder(name: string): string {
  const root = process.env[VARIABLE]
  if (!root) throw new Error('no test run: this works below vitest only')
  const folder = mkdtempSync(join(root, `${name}-`))
  chmodSync(folder, 0o711)
  return folder
}

/** Leave a note of a server's process in its folder, for `clearTestRoot`. */
export function noteServer(folder: string, pid: number): void {
  writeFileSync(join(folder, 'server.token'), processToken(pid) ?? '')
}

/**
 * End what still runs in a run's folder and remove it. Returns what that was. All at once and without waiting
 * for promises, since it is also what a process does last.
 */
export function clearTestRoot(root: string): string[] {
  const left: string[] = []
  for (const folder of foldersIn(root, 3)) {
    const pid = postmasterIn(folder) ?? notedIn(folder)
    if (pid === undefined) continue
    left.push(`${commandLine(pid).trim()} (pid ${pid}) in ${folder}`)
    endNow(pid)
  }
  for (const folder of foldersIn(root, 3)) {
    const moved = read(join(folder, 'moved-to'))
    if (moved) rmSync(moved, { recursive: true, force: true })
  }
  rmSync(root, { recursive: true, force: true, maxRetries: 5, retryDelay: 50 })
  return left
}

function fitsInMemory(): boolean {
  try {
    accessSync(IN_MEMORY, constants.W_OK)
    const { bavail, bsize } = statfsSync(IN_MEMORY)
    return Math.min(bavail * bsize, freemem(), process.constrainedMemory()) >= ROOM_BYTES
  } catch {
    return false // not Linux, or not for us
  }
}

function clearDeadRuns(): void {
  for (const place of [IN_MEMORY, tmpdir()]) {
    for (const name of namesIn(place)) {
      if (!name.startsWith(PREFIX) || tokenLives(name.slice(PREFIX.length))) continue
      try {
        clearTestRoot(join(place, name))
      } catch {
        // Another user's.
      }
    }
  }
}

function namesIn(folder: string): string[] {
  try {
    return readdirSync(folder)
  } catch {
    return []
  }
}

function* foldersIn(folder: string, depth: number): Generator<string> {
  yield folder
  if (depth === 0) return
  for (const entry of readdirSync(folder, { withFileTypes: true })) {
    if (entry.isDirectory() && entry.name !== 'data') yield* foldersIn(join(folder, entry.name), depth - 1)
  }
}

function postmasterIn(folder: string): number | undefined {
  const data = join(read(join(folder, 'moved-to'))?.trim() ?? folder, 'data')
  const pid = Number.parseInt(read(join(data, 'postmaster.pid')) ?? '', 10)
  return pid && commandLine(pid).includes(data) ? pid : undefined
}

function notedIn(folder: string): number | undefined {
  const token = read(join(folder, 'server.token'))
  return token && tokenLives(token) ? Number.parseInt(token, 10) : undefined
}

/** SIGQUIT is PostgreSQL's immediate shutdown, which takes its children along; others just end. */
function endNow(pid: number): void {
  const token = processToken(pid)
  if (!token) return
  process.kill(pid, 'SIGQUIT')
  // A paused process takes no signal but this pair.
  process.kill(pid, 'SIGCONT')
  for (let waited = 0; tokenLives(token); waited += 20) {
    if (waited === 5_000) process.kill(pid, 'SIGKILL')
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 20)
  }
}

function read(file: string): string | undefined {
  try {
    return readFileSync(file, 'utf8')
  } catch {
    return undefined
  }
}

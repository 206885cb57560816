import { execFileSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { readFileSync } from 'node:fs'

/**
 * A name for one process that no other process will ever have, or undefined when it is dead. A pid alone
 * comes round again, so the time it started is part of it, and the boot, which that time is counted from.
 */
export function processToken(pid: number): string | undefined {
  const started = startOf(pid)
  if (started === undefined) return undefined
  const digest = createHash('sha256').update(`${bootId()}:${started}`).digest('hex')
  return `${pid}-${digest.slice(0, 16)}`
}

/** Whether the process with this token still runs. */
export const tokenLives = (token: string): boolean => processToken(Number.parseInt(token, 10)) === token

/** The arguments a process was started with; empty when it is dead or not ours to see. */
export function commandLine(pid: number): string {
  if (process.platform === 'linux') return (read(`/proc/${pid}/cmdline`) ?? '').replaceAll('\0', ' ')
  return ps('command=', pid)
}

function startOf(pid: number): string | undefined {
  if (process.platform !== 'linux') {
    const [state = 'Z', ...started] = ps('stat=,lstart=', pid).trim().split(/\s+/)
    return state.startsWith('Z') ? undefined : started.join(' ')
  }
  // The name in parentheses may hold spaces and parentheses of its own: count from the last one.
  const fields = read(`/proc/${pid}/stat`)
    ?.replace(/^.*\)\s/s, '')
    .split(' ')
  // A zombie has ended; it only waits for a parent that may never ask.
  if (!fields || fields[0] === 'Z' || fields[0] === 'X') return undefined
  return fields[19]
}

const bootId = (): string => read('/proc/sys/kernel/random/boot_id') ?? ''

function ps(columns: string, pid: number): string {
  try {
    return execFileSync('ps', ['-o', columns, '-p', String(pid)], {
      encoding: 'utf8',
      env: { ...process.env, LC_ALL: 'C' },
      stdio: ['ignore', 'pipe', 'ignore'],
    })
  } catch {
    return ''
  }
}

function read(file: string): string | undefined {
  try {
    return readFileSync(file, 'utf8')
  } catch {
    return undefined
  }
}

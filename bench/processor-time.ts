import { readdir, readFile } from 'node:fs/promises'

/** Linux counts processor time in hundredths of a second. */
const TICK_MS = 10

/**
 * Processor time, in milliseconds, that the sessions in a database have used so far: what a server's own machine
 * would notice, whatever else this one is doing. Zero where the system has no /proc.
 */
export async function sessionTimeMs(postmasterPid: number, database: string): Promise<number> {
  const pids = (await readdir('/proc').catch(() => [])).filter((name) => /^\d+$/.test(name))
  const times = await Promise.all(pids.map((pid) => timeOf(pid, postmasterPid, database)))
  return times.reduce((sum, ms) => sum + ms, 0)
}

/** Of one process. */
export async function processTimeMs(pid: number): Promise<number> {
  const stat = await readFile(`/proc/${pid}/stat`, 'utf8').catch(() => '')
  return stat === '' ? 0 : usedMs(fieldsOf(stat))
}

/** After the program's name, which may hold anything: state, parent, and further on user and system time. */
const fieldsOf = (stat: string): string[] => stat.slice(stat.lastIndexOf(')') + 2).split(' ')
const usedMs = (fields: readonly string[]): number => (Number(fields[11]) + Number(fields[12])) * TICK_MS

async function timeOf(pid: string, postmasterPid: number, database: string): Promise<number> {
  try {
    const stat = await readFile(`/proc/${pid}/stat`, 'utf8')
    const fields = fieldsOf(stat)
    if (Number(fields[1]) !== postmasterPid) return 0
    const title = await readFile(`/proc/${pid}/cmdline`, 'utf8')
    if (!title.includes(` ${database} `)) return 0
    return usedMs(fields)
  } catch {
    return 0 // it has just ended
  }
}

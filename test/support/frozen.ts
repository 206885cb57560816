import { readdirSync, readFileSync } from 'node:fs'
import type { TestPostgres } from './postgres.ts'

/** Stops a server with all its sessions, as a machine that hangs: connections stay open, and nothing answers. */
export function freeze(server: TestPostgres): () => void {
  const stopped = new Set<number>()
  // Until nothing new turns up: a server that is being stopped may be starting a session.
  for (let before = -1; before !== stopped.size; ) {
    before = stopped.size
    for (const pid of [server.pid, ...childrenOf(server.pid)]) {
      if (stopped.has(pid)) continue
      process.kill(pid, 'SIGSTOP')
      stopped.add(pid)
    }
  }
  return () => {
    for (const pid of stopped) {
      try {
        process.kill(pid, 'SIGCONT')
      } catch {
        // A session that ended on its own.
      }
    }
  }
}

function childrenOf(parent: number): number[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .map(Number)
    .filter((pid) => parentOf(pid) === parent)
}

function parentOf(pid: number): number | undefined {
  try {
    // The name in parentheses may hold anything; what follows the last one is the state and the parent.
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8')
    return Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[1])
  } catch {
    return undefined
  }
}

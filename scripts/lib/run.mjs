import { spawn } from 'node:child_process'
import { realpathSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

/** The clone, wherever it is. */
export const ROOT = fileURLToPath(new URL('../..', import.meta.url))

const SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP']

/**
 * Run a program to its end and return how it ended: `{ code, signal, interrupted }`.
 *
 * One Ctrl-C reaches us twice, from the terminal and from npm, and would reach the child a third time. So the
 * child gets a session of its own, away from the terminal's signals, and from us each signal once. The same
 * signal a second later is a person asking again, and is passed on too.
 */
export function run(command, args, options = {}) {
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, { cwd: ROOT, stdio: 'inherit', detached: true, ...options })
    const last = new Map()
    const forward = (signal) => {
      if (Date.now() - (last.get(signal) || 0) < 1000) return
      last.set(signal, Date.now())
      // To all of its group, as the terminal would: some programs are wrappers around another.
      try {
        process.kill(-child.pid, signal)
      } catch {
        // It has just ended.
      }
    }
    const settle = (done) => (value, signal) => {
      for (const name of SIGNALS) process.off(name, forward)
      done(value, signal)
    }
    for (const name of SIGNALS) process.on(name, forward)
    child.once('error', settle(reject))
    child.once(
      'exit',
      settle((code, signal) => resolve({ code, signal, interrupted: last.size > 0 })),
    )
  })
}

/** Run one of the project's own tools with the Node we run on. */
export const runTool = (name, args, options) =>
  run(process.execPath, [realpathSync(join(ROOT, 'node_modules', '.bin', name)), ...args], options)

/** Go on only when that went well; else end as it did. */
export function must(outcome, sentence) {
  if (outcome.code === 0) return
  if (!outcome.interrupted) console.error(sentence)
  endAs(outcome)
}

/** End the way the child did: with its exit code, or by its signal. */
export function endAs({ code, signal }) {
  if (signal) process.kill(process.pid, signal)
  process.exit(code === null ? 1 : code)
}

import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { fileURLToPath } from 'node:url'

const DIST = new URL('../../dist/', import.meta.url)

/** A file of the build, for tests that need a process of ours to kill. `npm test` builds first. */
export function built(file: string): string {
  const url = new URL(file, DIST)
  if (!existsSync(url)) throw new Error(`${fileURLToPath(url)} is missing: npm run build makes it`)
  return url.href
}

export type Script = { child: ChildProcess; firstLine: Promise<string>; kill(): Promise<void> }

/** Run a piece of JavaScript in a Node of its own; its first line of output is its answer. */
export function runScript(code: string): Script {
  const child = spawn(process.execPath, ['--input-type=module', '-e', code], {
    stdio: ['pipe', 'pipe', 'inherit'],
  })
  const ended = once(child, 'exit')
  const firstLine = new Promise<string>((resolve, reject) => {
    let text = ''
    child.stdout?.on('data', (part) => {
      text += part
      if (text.includes('\n')) resolve(text.slice(0, text.indexOf('\n')))
    })
    ended.then(() => reject(new Error(`ended without a line, only: ${text}`)), reject)
  })
  return {
    child,
    firstLine,
    kill: async () => {
      child.kill('SIGKILL')
      await ended
    },
  }
}

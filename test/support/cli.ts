import { execFile } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { built } from './built.ts'

export type Ended = { code: number; stdout: string; stderr: string }

/** Runs `leasehold` as a user would, without what our own environment says of a broker. */
export function leasehold(args: string[], env: NodeJS.ProcessEnv = {}): Promise<Ended> {
  const inherited = Object.entries(process.env).filter(([name]) => !/^(LEASEHOLD|VAULT)_/.test(name))
  const options = { env: { ...Object.fromEntries(inherited), ...env }, timeout: 150_000 }
  return new Promise((resolve) => {
    const file = fileURLToPath(built('src/cli.js'))
    execFile(process.execPath, [file, ...args], options, (error, stdout, stderr) => {
      resolve({ code: error ? Number(error.code) : 0, stdout, stderr })
    })
  })
}

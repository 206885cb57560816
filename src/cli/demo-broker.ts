import { type ChildProcess, spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { chmod, mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { messageOf } from '../lib/errors.ts'
import { type Api, ApiError, get, openApi } from './api.ts'

/** The broker a demonstration runs against, and how it came to be. */
export type DemoBroker = { api: Api; origin: string }

/** What to do when the demonstration is over, last first, however it ended. */
export type Undo = (() => Promise<unknown>)[]

const DEFAULT_ADDRESS = 'http://127.0.0.1:8200'
const PROBE_TIMEOUT_MS = 3_000
const START_TIMEOUT_MS = 120_000
const STOP_TIMEOUT_MS = 30_000

/** `own`: whatever runs already. */
export type DemoAsk = { env: NodeJS.ProcessEnv; cliFile: string; own: boolean }

/** The one VAULT_ADDR names; else the one at the default address, if it is a demo broker; else one of our own. */
export async function findBroker({ env, cliFile, own }: DemoAsk, undo: Undo): Promise<DemoBroker> {
  if (own) return startOwn(env, cliFile, undo)
  const api = openApi((env.VAULT_ADDR || DEFAULT_ADDRESS).replace(/\/+$/, ''), env.VAULT_TOKEN || 'root')
  const obstacle = await whyNot(api)
  if (obstacle === undefined) return { api, origin: `running at ${api.url}` }
  if (env.VAULT_ADDR) throw new Error(`VAULT_ADDR: ${obstacle}`)
  return startOwn(env, cliFile, undo)
}

/** What keeps us from using this broker; undefined when nothing does. */
async function whyNot(api: Api): Promise<string | undefined> {
  try {
    await get(`${api.url}/v1/sys/leasehold/jwks`, {}, PROBE_TIMEOUT_MS)
  } catch (error) {
    return error instanceof ApiError ? `${api.url} is not a Leasehold` : messageOf(error)
  }
  try {
    await api.ask('GET', 'database/config/demo')
    return undefined
  } catch (error) {
    if (!(error instanceof ApiError)) return messageOf(error)
    if (error.status === 403) return `${api.url} refuses the token; VAULT_TOKEN names another`
    return `${api.url} has no connection database/config/demo, as \`leasehold dev\` makes it`
  }
}

/** `leasehold dev` on a free port, with its data in a folder that goes away with it. */
async function startOwn(env: NodeJS.ProcessEnv, cliFile: string, undo: Undo): Promise<DemoBroker> {
  const folder = await mkdtemp(join(tmpdir(), 'leasehold-demo-'))
  // As root the database runs as another user, which has to pass through.
  await chmod(folder, 0o711)
  const token = randomBytes(12).toString('hex')
  const child = spawn(process.execPath, [cliFile, 'dev'], {
    env: {
      ...Object.fromEntries(Object.entries(env).filter(([name]) => !name.startsWith('LEASEHOLD_'))),
      LEASEHOLD_LISTEN: '127.0.0.1:0',
      LEASEHOLD_DATA_DIR: join(folder, 'broker'),
      LEASEHOLD_DEV_ROOT_TOKEN_ID: token,
      LEASEHOLD_LOG_LEVEL: 'warn',
    },
    stdio: ['ignore', 'pipe', 'pipe'],
    // Out of reach of the terminal's Ctrl-C: it is stopped by us, once, when nothing needs it any more.
    detached: true,
  })
  const ended = once(child, 'close')
  undo.push(async () => {
    const killer = setTimeout(() => child.kill('SIGKILL'), STOP_TIMEOUT_MS)
    child.kill('SIGTERM')
    await ended
    clearTimeout(killer)
    await rm(folder, { recursive: true, force: true })
  })
  const url = await addressOf(child)
  return { api: openApi(url, token), origin: `of my own, on ${url}, gone when I end` }
}

/** Reads the address from the banner, which is printed when the broker is ready. */
async function addressOf(child: ChildProcess): Promise<string> {
  let printed = ''
  let problems = ''
  const deadline = new AbortController()
  const timer = setTimeout(() => deadline.abort(), START_TIMEOUT_MS)
  try {
    return await new Promise<string>((resolve, reject) => {
      const fail = (what: string) => reject(new Error(`leasehold dev ${what}\n${problems.trimEnd()}`))
      child.stdout?.on('data', (part) => {
        printed += part
        const url = /^ *Address +(http\S+)$/m.exec(printed)?.[1]
        if (url) resolve(url)
      })
      child.stderr?.on('data', (part) => {
        problems += part
      })
      child.once('close', () => fail('ended before it was ready'))
      deadline.signal.onabort = () => fail('was not ready in time')
    })
  } finally {
    clearTimeout(timer)
  }
}

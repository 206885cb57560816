import { type ChildProcess, spawn } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { rm } from 'node:fs/promises'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { Redis } from 'ioredis'
import { type Program, provision } from './provision.ts'
import { noteServer, testFolder } from './test-root.ts'

export type RedisServer = {
  url: string
  port: number
  /** Remove every key, as an operator's FLUSHALL does. */
  flush(): Promise<void>
  /** As a crash: nothing is saved, connections break. */
  kill(): Promise<void>
  /** Ends it in good order; what it keeps on disk stays. */
  halt(): Promise<void>
  /** Start it again on the same port, after `kill` or `halt`. */
  start(): Promise<void>
  /** Stop and continue the process: connections stay open and nothing answers. */
  pause(): void
  resume(): void
  /** The end: process and files gone. */
  stop(): Promise<void>
}

/** A Redis of a test's own. With `keep` it writes every change to disk, so that a restart finds it. */
export async function startRedis(options: { keep?: boolean } = {}): Promise<RedisServer> {
  const program = await provision('redis')
  const folder = testFolder('redis')
  const port = await freePort()
  const persistence = options.keep ? ['--appendonly', 'yes', '--appendfsync', 'always'] : []
  let server: ChildProcess
  const start = async () => {
    server = spawnRedis(program, folder, port, persistence)
    await ready(server, folder, port)
  }
  const end = (signal: NodeJS.Signals) => {
    if (server.exitCode !== null || server.signalCode !== null) return Promise.resolve()
    const ended = new Promise<void>((resolve) => server.once('exit', () => resolve()))
    server.kill(signal)
    // A paused process does not see the other signal.
    server.kill('SIGCONT')
    return ended
  }
  await start()
  return {
    url: `redis://127.0.0.1:${port}`,
    port,
    start,
    flush: () => withClient(port, async (client) => void (await client.flushall())),
    kill: () => end('SIGKILL'),
    halt: () => end('SIGTERM'),
    pause: () => void server.kill('SIGSTOP'),
    resume: () => void server.kill('SIGCONT'),
    stop: async () => {
      await end('SIGKILL')
      await rm(folder, { recursive: true, force: true })
    },
  }
}

function spawnRedis(program: Program, folder: string, port: number, persistence: string[]): ChildProcess {
  const settings = [
    '--port',
    String(port),
    '--bind',
    '127.0.0.1',
    '--dir',
    folder,
    '--save',
    '',
    '--hz',
    '100',
  ]
  const log = ['--logfile', join(folder, 'redis.log')]
  const child = spawn(program.command, [...settings, ...log, ...persistence], {
    env: { ...process.env, ...program.env },
    // Ctrl-C is for vitest, which ends its servers itself.
    detached: true,
    stdio: 'ignore',
  })
  if (child.pid !== undefined) noteServer(folder, child.pid)
  return child
}

async function ready(server: ChildProcess, folder: string, port: number): Promise<void> {
  let failure: string | undefined
  server.once('error', (error) => {
    failure = error.message
  })
  server.once('exit', () => {
    failure ??= readFileSync(join(folder, 'redis.log'), 'utf8')
  })
  for (;;) {
    if (failure !== undefined) throw new Error(`Redis did not start: ${failure}`)
    const answered = await withClient(port, (client) => client.ping()).catch(() => undefined)
    if (answered === 'PONG') return
    await sleep(20)
  }
}

async function withClient<T>(port: number, use: (client: Redis) => Promise<T>): Promise<T> {
  const client = new Redis(port, '127.0.0.1', { lazyConnect: true, retryStrategy: null })
  client.on('error', () => undefined)
  try {
    await client.connect()
    return await use(client)
  } finally {
    client.disconnect()
  }
}

/** A port nobody listens on, below those the system gives to outgoing connections: it stays ours over a restart. */
export async function freePort(): Promise<number> {
  for (;;) {
    const port = 20_000 + Math.floor(Math.random() * 12_000)
    if (await isFree(port)) return port
  }
}

function isFree(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const probe = createServer().once('error', () => resolve(false))
    probe.listen(port, '127.0.0.1', () => probe.close(() => resolve(true)))
  })
}

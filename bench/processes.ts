import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { openSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { processTimeMs } from './processor-time.ts'

const CLI = fileURLToPath(new URL('../src/cli.js', import.meta.url))

export type BrokerProcess = {
  /** Resident memory, in bytes. */
  memory(): Promise<number>
  /** Processor time used so far, in milliseconds; 0 where the system has no /proc. */
  processorMs(): Promise<number>
  stop(): Promise<void>
}

/** The environment of an installation: its settings, and nothing of ours by accident. */
export type Settings = Record<string, string>

/** Starts `leasehold <command>` as production would; its log goes to a file in `folder`. */
export function startBroker(command: string, settings: Settings, folder: string): BrokerProcess {
  const log = openSync(join(folder, `${command}.log`), 'a')
  const child = spawn(process.execPath, [...nodeOptions(command), CLI, command], {
    env: { PATH: process.env.PATH, ...settings },
    stdio: ['ignore', log, log],
  })
  return {
    memory: () => residentBytes(child),
    processorMs: () => processTimeMs(child.pid ?? 0),
    stop: () => stop(child),
  }
}

/** For profiling: BENCH_NODE_SERVER="--cpu-prof --cpu-prof-dir=/tmp/prof" and the same for a worker. */
const nodeOptions = (command: string): string[] =>
  (process.env[`BENCH_NODE_${command.toUpperCase()}`] ?? '').split(' ').filter(Boolean)

async function stop(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return
  child.kill('SIGTERM')
  await once(child, 'exit')
}

async function residentBytes({ pid }: ChildProcess): Promise<number> {
  const status = await readFile(`/proc/${pid}/status`, 'utf8')
  return Number(/^VmRSS:\s+(\d+) kB/m.exec(status)?.[1]) * 1_024
}

/** Runs a command of ours to its end and answers what it printed. */
export async function runCli(command: string, settings: Settings): Promise<string> {
  const child = spawn(process.execPath, [CLI, command], {
    env: { PATH: process.env.PATH, ...settings },
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  let printed = ''
  child.stdout.on('data', (chunk) => {
    printed += chunk
  })
  const [code] = await once(child, 'close')
  if (code !== 0) throw new Error(`leasehold ${command} ended with ${code}`)
  return printed
}

const HEALTH_EVERY_MS = 4
const HEALTH_WITHIN_MS = 30_000

/** Waits for the first 200 of `sys/health`; answers how long that took. */
export async function untilHealthy(url: string): Promise<number> {
  const startedAt = performance.now()
  while (performance.now() - startedAt < HEALTH_WITHIN_MS) {
    const answer = await fetch(`${url}/v1/sys/health`).catch(() => undefined)
    await answer?.arrayBuffer()
    if (answer?.status === 200) return performance.now() - startedAt
    await sleep(HEALTH_EVERY_MS)
  }
  throw new Error(`${url} did not become healthy`)
}

/** A port nobody listens on, below those that the system gives to outgoing connections. */
export async function freePort(): Promise<number> {
  for (;;) {
    const port = 20_000 + Math.floor(Math.random() * 12_000)
    if (await isFree(port)) return port
  }
}

const isFree = (port: number): Promise<boolean> =>
  new Promise((resolve) => {
    const probe = createServer().once('error', () => resolve(false))
    probe.listen(port, '127.0.0.1', () => probe.close(() => resolve(true)))
  })

import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { rm } from 'node:fs/promises'
import { createInterface } from 'node:readline'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { built } from './built.ts'
import { noteServer, testFolder } from './test-root.ts'

/** What to do at the `at`-th statement that a process sends to the ledger or a target, counted from 1. */
export type GatePlan = {
  at: number
  /** `hold` waits there until `release`. */
  what: 'die before' | 'die after sending' | 'hold' | 'lose the answer'
  /** Starts counting at the first statement that this matches; at once without it. */
  from?: string
  /** Counts only statements that this matches. */
  only?: string
}

/** Where a gate ended its process: the statement, and the server's process that it was for. */
export type Death = { at: number; label: string; backend: number }
export type LogLine = { level?: number; msg?: string; [field: string]: unknown }
export type Exit = { code: number | null; signal: NodeJS.Signals | null }

/** A process of the installation, started from the build, as an operator starts it. */
export type Process = {
  pid: number
  /** A server's address; empty for other commands. */
  url: string
  stdout(): string
  /** What it wrote on stderr: log lines, and the plain sentences as `msg`. */
  log(): LogLine[]
  exited: Promise<Exit>
  isRunning(): boolean
  death(): Death | undefined
  /** Resolves once the process follows the plan; null takes it away. This and the next two reject when it ends first. */
  gate(plan: GatePlan | null): Promise<void>
  /** Resolves with the statement's label when the gate holds one. */
  held(): Promise<string>
  release(at: number): Promise<void>
  kill(): Promise<void>
  /** SIGTERM, and its exit. */
  terminate(): Promise<Exit>
}

export type Settings = Record<string, string | undefined>
type Options = { settings: Settings; plan?: GatePlan | undefined }

const GATE = new URL('./gate.mjs', import.meta.url).href

const READY: Record<string, string> = { server: 'the API is listening', worker: 'the worker is running' }

/** A command of the command line, started and not waited for. */
export function launch(command: readonly string[], { settings, plan }: Options): Process {
  const folder = testFolder('process')
  const child = spawn(
    process.execPath,
    ['--import', GATE, fileURLToPath(built('src/cli.js')), ...command],
    // Ctrl-C is for vitest, which ends its processes itself.
    { env: environment(settings, plan), stdio: ['ignore', 'pipe', 'pipe', 'ipc'], detached: true },
  )
  if (child.pid !== undefined) noteServer(folder, child.pid)
  return processOf(child, folder)
}

/** A server or a worker, ready for work. */
export async function start(command: 'server' | 'worker', options: Options): Promise<Process> {
  const started = launch([command], options)
  for (;;) {
    const ready = started.log().find(({ msg }) => msg === READY[command])
    if (ready) return Object.assign(started, { url: String(ready.url ?? '') })
    if (!started.isRunning() && !started.death()) {
      throw new Error(`leasehold ${command} did not start: ${JSON.stringify(started.log())}`)
    }
    if (!started.isRunning()) return started
    await soon()
  }
}

function environment(settings: Settings, plan: GatePlan | undefined): NodeJS.ProcessEnv {
  const inherited = Object.entries(process.env).filter(([name]) => !name.startsWith('LEASEHOLD_'))
  const gate = plan ? { GATE_PLAN: JSON.stringify(plan) } : {}
  return { ...Object.fromEntries(inherited), LEASEHOLD_LOG_FORMAT: 'json', ...settings, ...gate }
}

function processOf(child: ChildProcess, folder: string): Process {
  const log: LogLine[] = []
  let stdout = ''
  child.stdout?.on('data', (part) => {
    stdout += part
  })
  if (child.stderr) createInterface(child.stderr).on('line', (line) => void log.push(parsed(line)))
  // "close" and not "exit": then all of its output has been read.
  const exited = once(child, 'close').then(async ([code, signal]): Promise<Exit> => {
    await rm(folder, { recursive: true, force: true })
    return { code, signal }
  })
  const { hears, held } = conversation(child)
  const gone = async (): Promise<never> => {
    await exited
    throw new Error(`the process has ended: ${JSON.stringify(log.slice(-3))}`)
  }
  const late = async (): Promise<never> => {
    await sleep(PATIENCE_MS, undefined, { ref: false })
    throw new Error('the process never came to a statement of its gate')
  }
  const end = async (signal: NodeJS.Signals): Promise<Exit> => {
    child.kill(signal)
    return exited
  }
  return {
    pid: child.pid ?? 0,
    url: '',
    stdout: () => stdout,
    log: () => log,
    exited,
    isRunning: () => child.exitCode === null && child.signalCode === null,
    death: () => {
      const line = log.find(({ diedAt }) => diedAt !== undefined)
      return line && { at: Number(line.diedAt), label: String(line.label), backend: Number(line.backend) }
    },
    gate: (plan) => Promise.race([hears({ plan }), gone()]),
    held: () => Promise.race([held(), gone(), late()]),
    release: (at) => Promise.race([hears({ release: at }), gone()]),
    kill: async () => void (await end('SIGKILL')),
    terminate: () => end('SIGTERM'),
  }
}

/** What is said to the gate, each word until it was heard, and what it says of statements it holds. */
function conversation(child: ChildProcess) {
  const heldLabels: string[] = []
  const waiting: ((label: string) => void)[] = []
  const heard = new Map<number, () => void>()
  let words = 0
  child.on('message', (message: { heard?: number; held?: number; label?: string }) => {
    if (message.heard !== undefined) heard.get(message.heard)?.()
    if (message.held === undefined) return
    const next = waiting.shift()
    if (next) next(message.label ?? '')
    else heldLabels.push(message.label ?? '')
  })
  return {
    hears(word: object): Promise<void> {
      words += 1
      const id = words
      return new Promise((resolve, reject) => {
        heard.set(id, resolve)
        child.send({ ...word, id }, (error) => error && reject(error))
      })
    },
    held(): Promise<string> {
      const label = heldLabels.shift()
      return label === undefined ? new Promise((resolve) => waiting.push(resolve)) : Promise.resolve(label)
    },
  }
}

function parsed(line: string): LogLine {
  try {
    return JSON.parse(line) as LogLine
  } catch {
    return { msg: line }
  }
}

const POLL_MS = 15
const PATIENCE_MS = 45_000

const soon = () => sleep(POLL_MS)

/** Asks again until the answer is yes; fails after far longer than it should ever take, with what was seen last. */
export async function until(what: string, ask: () => unknown, seen: () => unknown = () => ''): Promise<void> {
  for (const end = performance.now() + PATIENCE_MS; !(await ask()); ) {
    if (performance.now() > end) {
      throw new Error(`it never came to this: ${what}; ${JSON.stringify(await seen())}`)
    }
    await soon()
  }
}

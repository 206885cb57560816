import { type AuditSinkState, countAuditBacklogs, listAuditSinks } from '../../ledger/audit-sinks.ts'
import type { Ledger } from '../../ledger/db.ts'
import { messageOf } from '../../lib/errors.ts'
import type { MayGrant } from '../../lib/granting.ts'
import { jitter } from '../../lib/ids.ts'
import type { Logger } from '../../lib/log.ts'
import { within } from '../../lib/pause.ts'
import { openSink, type SinkSecrets } from './open.ts'
import { DEFAULT_MAX_BACKLOG, readOptions, type SinkSettings } from './options.ts'
import { createShipper, type Shipper } from './shipper.ts'

/** Brings the events of the ledger to the sinks, from every process that runs it. */
export type Shipping = {
  /** Resolves when it is known whether anything may be granted; then ships until `stop`. */
  start(): Promise<void>
  /** One look at every sink; resolves when what there was then has been shipped, or was not taken. */
  once(): Promise<void>
  /** Lets batches under way end, for a few seconds. */
  stop(): Promise<void>
  /** For after a log has been moved away. */
  reopen(): void
  mayGrant: MayGrant
  /** How the sinks stood at the last look. */
  sinks(): readonly AuditSinkState[]
}

const EVERY_MS = 1_000
const GRACE_MS = 5_000

type Parts = {
  ledger: Ledger
  secrets: Pick<SinkSecrets, 'find'>
  /** This machine's name, and this process's. */
  host: string
  holder: string
  log: Logger
}

export function createShipping(parts: Parts): Shipping {
  const { ledger, log } = parts
  const shippers = new Map<string, Shipper>()
  const givingUp = new AbortController()
  let states: readonly AuditSinkState[] = []
  let closed: string | undefined
  let timer: NodeJS.Timeout | undefined
  let round: Promise<void> = Promise.resolve()
  let started = false
  let stopped = false

  const shipperOf = (state: AuditSinkState, settings: SinkSettings): Shipper => {
    const known = shippers.get(state.id)
    if (known) return known
    const open = () => openSink(state, settings, parts.secrets)
    const made = createShipper({ ...parts, settings, open, signal: givingUp.signal }, state)
    shippers.set(state.id, made)
    return made
  }

  const look = async (): Promise<void> => {
    if (states.length > 0) await countAuditBacklogs(ledger)
    states = await listAuditSinks(ledger)
    closed = tellChange(log, closed, states.find(isTooFarBehind))
    for (const state of states) {
      const settings = settingsOf(state)
      if (settings && (settings.host ?? parts.host) === parts.host) shipperOf(state, settings).look(state)
    }
    const live = new Set(states.map(({ id }) => id))
    for (const [id, shipper] of shippers) {
      if (live.has(id)) continue
      shippers.delete(id)
      shipper.close().catch(() => {})
    }
  }

  const loop = async (): Promise<void> => {
    await look().catch((error) => log.warn({ error: messageOf(error) }, 'the audit sinks could not be read'))
    if (stopped) return
    timer = setTimeout(() => {
      round = loop()
    }, EVERY_MS * jitter(0.9, 1.1))
  }

  return {
    start() {
      if (!started) round = loop()
      started = true
      return round
    },
    async once() {
      await look()
      await Promise.all([...shippers.values()].map((shipper) => shipper.idle()))
    },
    async stop() {
      stopped = true
      clearTimeout(timer)
      await round
      const closing = Promise.all([...shippers.values()].map((shipper) => shipper.close()))
      if (await within(closing, GRACE_MS)) return
      givingUp.abort()
      // What neither ends nor can be given up, such as a write to a file system that hangs, is left behind.
      await within(closing, GRACE_MS)
    },
    reopen() {
      for (const shipper of shippers.values()) shipper.reopen()
    },
    mayGrant: () => closed,
    sinks: () => states,
  }
}

/** Undefined for a sink that a newer version has enabled and this one does not understand: others ship to it. */
function settingsOf({ type, options }: AuditSinkState): SinkSettings | undefined {
  try {
    return readOptions(type, options)
  } catch {
    return undefined
  }
}

/** A position that is none of this server's cannot be measured from, so it counts as too far. */
function isTooFarBehind(state: AuditSinkState): boolean {
  const { maxBacklog } = settingsOf(state) ?? { maxBacklog: DEFAULT_MAX_BACKLOG }
  return state.displaced || (maxBacklog > 0 && state.backlog > maxBacklog)
}

/** Callers who are not proven get to see it too, so it names no sink: the log does. */
const CLOSED = 'an audit sink is too far behind: nothing is granted until it has caught up; revoking works'

function tellChange(
  log: Logger,
  before: string | undefined,
  behind: AuditSinkState | undefined,
): string | undefined {
  if (behind && before === undefined) {
    const { path: sink, backlog, error, displaced } = behind
    const what = displaced
      ? 'an audit sink has a position of another server'
      : 'an audit sink is too far behind'
    log.error({ sink, backlog, error }, `${what}: nothing is granted`)
  }
  if (!behind && before !== undefined) log.info('the audit sinks have caught up: granting again')
  return behind && CLOSED
}

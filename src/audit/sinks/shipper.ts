import {
  type AuditSinkClaim,
  type AuditSinkState,
  advanceAuditSink,
  claimAuditSink,
  readAuditBatch,
  releaseAuditSink,
} from '../../ledger/audit-sinks.ts'
import type { Ledger } from '../../ledger/db.ts'
import { backoffMs } from '../../lib/backoff.ts'
import { messageOf } from '../../lib/errors.ts'
import type { Logger } from '../../lib/log.ts'
import { shippedLine } from './line.ts'
import type { SinkSettings } from './options.ts'
import type { Output } from './output.ts'

/** What one process does for one sink. */
export type Shipper = {
  /** Begins to ship what there is, unless it is doing so, another process does, or it is too soon after a failure. */
  look(state: AuditSinkState): void
  /** A file is opened anew before anything more is written. */
  reopen(): void
  idle(): Promise<void>
  /** Ends what is going on, and leaves the sink to others. */
  close(): Promise<void>
}

export type ShipperParts = {
  ledger: Ledger
  log: Logger
  /** This process's name in claims. */
  holder: string
  settings: SinkSettings
  open(): Promise<Output>
  /** Aborted when batches under way are to be given up. */
  signal: AbortSignal
}

/** A claim outlives the slowest batch by this much. */
const CLAIM_MARGIN_SECONDS = 30
const MAX_WAIT_MS = 60_000
const ERROR_CHARACTERS = 300

/**
 * Ships to one sink, in order, one batch after another. The position moves when the sink has taken a batch, and only
 * under this process's claim: a process that dies in between leaves events that the sink gets twice, and none that it
 * never gets.
 */
export function createShipper(
  parts: ShipperParts,
  { id, path }: Pick<AuditSinkState, 'id' | 'path'>,
): Shipper {
  const { ledger, settings, log, holder, signal } = parts
  const claimSeconds = CLAIM_MARGIN_SECONDS + settings.timeoutMs / 1_000
  const output = heldOutput(parts.open)
  let held: AuditSinkClaim | undefined
  let failures = 0
  let notBeforeMs = 0
  let most = settings.batch.events
  let working: Promise<void> | undefined

  const failed = async (fence: number, error: unknown): Promise<void> => {
    if (signal.aborted) return output.drop()
    failures += 1
    notBeforeMs = performance.now() + Math.min(backoffMs(failures), MAX_WAIT_MS)
    // The batch may be what it does not take: too large, or too slow.
    most = Math.max(1, Math.floor(most / 2))
    log.warn({ sink: path, error: messageOf(error), failures }, 'an audit sink did not take its events')
    await output.drop()
    held = undefined
    await releaseAuditSink(ledger, { id, fence, error: messageOf(error).slice(0, ERROR_CHARACTERS) })
  }

  /** Answers whether there may be more. */
  const shipBatch = async (claim: AuditSinkClaim): Promise<boolean> => {
    const events = within(await readAuditBatch(ledger, claim.position, most), settings.batch.bytes)
    const last = events.at(-1)
    if (!last) return false
    const timeout = AbortSignal.timeout(settings.timeoutMs)
    try {
      await (await output.opened()).take(events.map(shippedLine), AbortSignal.any([timeout, signal]))
    } catch (error) {
      await failed(claim.fence, timeout.aborted ? new Error(tooSlow(settings), { cause: error }) : error)
      return false
    }
    claim.position = { xid: last.xid, writer: last.writer, seq: last.seq }
    const { fence, position: to } = claim
    if (!(await advanceAuditSink(ledger, { id, fence, to, taken: events.length, seconds: claimSeconds }))) {
      held = undefined
      await output.drop()
      return false
    }
    failures = 0
    most = Math.min(settings.batch.events, most * 2)
    return true
  }

  const ship = async (): Promise<void> => {
    const claim = await claimAuditSink(ledger, { id, by: holder, seconds: claimSeconds })
    held = claim
    if (!claim) return output.drop()
    while (!signal.aborted && (await shipBatch(claim)));
  }

  return {
    look(state) {
      if (working) return
      const next = nextFor(state, holder, claimSeconds)
      if (next === 'ship' && performance.now() >= notBeforeMs) {
        working = ship()
          .catch((error) =>
            log.warn(
              { sink: path, error: messageOf(error) },
              'the ledger did not let audit events be shipped',
            ),
          )
          .finally(() => {
            working = undefined
          })
      } else if (next === 'leave' || output.isStale()) {
        working = output.drop().finally(() => {
          working = undefined
        })
      }
    },
    reopen: output.reopen,
    idle: async () => working,
    async close() {
      await working
      await output.drop()
      if (held) await releaseAuditSink(ledger, { id, fence: held.fence }).catch(() => {})
    },
  }
}

function heldOutput(open: () => Promise<Output>) {
  let output: Output | undefined
  let stale = false
  const drop = async (): Promise<void> => {
    const dropped = output
    output = undefined
    stale = false
    await dropped?.close().catch(() => {})
  }
  return {
    drop,
    async opened(): Promise<Output> {
      if (stale) await drop()
      output ??= await open()
      return output
    },
    reopen(): void {
      stale = output !== undefined
    },
    isStale: () => stale,
  }
}

const tooSlow = ({ timeoutMs }: SinkSettings): string => `it took longer than ${timeoutMs / 1_000} s`

/** Whoever has a sink keeps it, so that a file stays on one machine as long as may be. */
function nextFor(state: AuditSinkState, holder: string, claimSeconds: number): 'ship' | 'leave' | 'wait' {
  const { claimedBy, claimLeftSeconds, lagSeconds, displaced } = state
  const left = claimLeftSeconds ?? 0
  if (displaced || (claimedBy !== null && claimedBy !== holder && left > 0)) return 'leave'
  if (lagSeconds !== null) return 'ship'
  return claimedBy === holder && left < claimSeconds / 2 ? 'ship' : 'wait'
}

/** As many of the first as have so many bytes, and one at least. */
function within<Event extends { body: string }>(events: readonly Event[], bytes: number): Event[] {
  let left = bytes
  const end = events.findIndex(({ body }) => {
    left -= Buffer.byteLength(body)
    return left < 0
  })
  return end < 0 ? [...events] : events.slice(0, Math.max(1, end))
}

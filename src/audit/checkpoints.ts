import {
  type AuditCheckpoint,
  type AuditHead,
  auditHeads,
  auditTime,
  auditWriters,
  insertCheckpoint,
  recentCheckpoints,
  startedWriters,
} from '../ledger/audit.ts'
import type { Db, Ledger } from '../ledger/db.ts'
import { messageOf } from '../lib/errors.ts'
import { jitter } from '../lib/ids.ts'
import type { Logger } from '../lib/log.ts'
import { type CheckpointHeads, headsNamedBy, makeCheckpoint, type Sign } from './checkpoint.ts'

export type Checkpoints = {
  /** Makes one now, if any chain has moved since the last; answers its number. */
  make(): Promise<number | undefined>
  /** Makes them from time to time until `stop`, which makes a last one. Neither fails: the log hears of trouble. */
  start(): void
  stop(): Promise<void>
}

const INTERVAL_MS = 10_000
/** Of several processes at their ends, each gives way to another only so often. */
const LAST_ATTEMPTS = 5

/**
 * Signs where the audit chains of all processes stand. Every process tries, since any of them may be the last; the
 * ledger's unique number lets one of those that try at once win, and the rest find nothing to do the next time.
 */
export function createCheckpoints(parts: {
  ledger: Ledger
  sign: Sign
  issuer: string
  log: Pick<Logger, 'warn' | 'info'>
  intervalMs?: number
}): Checkpoints {
  const { ledger, log, intervalMs = INTERVAL_MS } = parts
  let timer: NodeJS.Timeout | undefined
  let round: Promise<unknown> = Promise.resolve()
  let stopped = true
  let failing = false

  let known: Known | undefined

  /** The number, if one was made; `lost` to somebody who made one at the same time. */
  const makeAfter = async (seconds: number): Promise<number | 'lost' | undefined> => {
    const made = await ledger.transaction((db) => makeOn(db, parts, known, seconds)).catch(lostOrThrow)
    if (made === 'lost') return made
    if (made) known = made.known
    return made?.number
  }

  const quietly = async (work: () => Promise<unknown>): Promise<void> => {
    try {
      await work()
      if (failing) log.info('checkpoints of the audit log are made again')
      failing = false
    } catch (error) {
      if (!failing) log.warn({ error: messageOf(error) }, 'no checkpoint of the audit log could be made')
      failing = true
    }
  }

  const makeNow = async (): Promise<number | undefined> => {
    for (let attempt = 1; attempt <= LAST_ATTEMPTS; attempt++) {
      const made = await makeAfter(0)
      if (made !== 'lost') return made
    }
    return undefined
  }

  const schedule = (): void => {
    if (stopped) return
    timer = setTimeout(() => {
      // Half of it: those of the others that come a little early are then not refused.
      round = quietly(() => makeAfter(intervalMs / 2_000)).then(schedule)
    }, intervalMs * jitter(0.8, 1.2))
    // One more checkpoint is no reason for a process to live on whose end has gone wrong.
    timer.unref()
  }

  return {
    make: makeNow,
    start() {
      if (!stopped) return
      stopped = false
      schedule()
    },
    async stop() {
      stopped = true
      clearTimeout(timer)
      await round
      await quietly(makeNow)
    },
  }
}

/** The chains that may still grow, and how far each had come at a time. */
type Known = { at: string; seqs: ReadonlyMap<string, number> }

/** The number, if one was made. */
type Made = { known: Known; number: number | undefined }

async function makeOn(
  db: Db,
  { sign, issuer }: { sign: Sign; issuer: string },
  known: Known | undefined,
  afterSeconds: number,
): Promise<Made | undefined> {
  const recent = await recentCheckpoints(db)
  const [last] = recent
  // One dated in the future is no reason to wait: the ledger's clock was set back.
  if (last && last.ageSeconds >= 0 && last.ageSeconds < afterSeconds) return undefined
  const at = await auditTime(db)
  const found = await auditHeads(db, await writersNow(db, known))
  const open = found.filter(({ closed }) => !closed).map(({ writer, seq }) => [writer, seq] as const)
  const now: Known = { at, seqs: new Map(open) }
  const heads = unnamed(
    found.filter(({ writer, seq, recent }) =>
      known?.seqs.has(writer) ? known.seqs.get(writer) !== seq : recent,
    ),
    recent,
  )
  if (Object.keys(heads).length === 0) return { known: now, number: undefined }
  const checkpoint = await makeCheckpoint(sign, last, { iss: issuer, at, heads })
  await insertCheckpoint(db, checkpoint)
  return { known: now, number: checkpoint.number }
}

/** All of them only once: an installation's finished chains are many after years. */
async function writersNow(db: Db, known: Known | undefined): Promise<string[]> {
  if (!known) return auditWriters(db)
  return [...new Set([...known.seqs.keys(), ...(await startedWriters(db, known.at))])]
}

/** Those heads that no recent checkpoint names as they are. */
function unnamed(heads: readonly AuditHead[], recent: readonly AuditCheckpoint[]): CheckpointHeads {
  const named = new Set(recent.flatMap((checkpoint) => Object.entries(headsNamedBy(checkpoint)).map(placeOf)))
  const moved = heads.map(({ writer, seq, hash }) => [writer, { seq, hash }] as const)
  return Object.fromEntries(moved.filter((head) => !named.has(placeOf(head))))
}

const placeOf = ([writer, { seq, hash }]: readonly [string, CheckpointHeads[string]]): string =>
  `${writer} ${seq} ${hash}`

const UNIQUE_VIOLATION = '23505'

function lostOrThrow(error: unknown): 'lost' {
  const { code, table } = error as { code?: string; table?: string }
  if (code === UNIQUE_VIOLATION && table === 'audit_checkpoint') return 'lost'
  throw error
}

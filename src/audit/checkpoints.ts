import {
  type AuditCheckpoint,
  auditTime,
  insertCheckpoint,
  movedHeads,
  recentCheckpoints,
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

  const makeAfter = (seconds: number): Promise<Made> =>
    ledger.transaction((db) => makeOn(db, parts, seconds)).catch(lostOrThrow)

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

/** The number; undefined when there was nothing to do; `lost` to somebody who made one at the same time. */
type Made = number | 'lost' | undefined

async function makeOn(
  db: Db,
  { sign, issuer }: { sign: Sign; issuer: string },
  afterSeconds: number,
): Promise<Made> {
  const recent = await recentCheckpoints(db)
  const [last] = recent
  // One dated in the future is no reason to wait: the ledger's clock was set back.
  if (last && last.ageSeconds >= 0 && last.ageSeconds < afterSeconds) return undefined
  const at = await auditTime(db)
  const heads = unnamed(await movedHeads(db), recent)
  if (Object.keys(heads).length === 0) return undefined
  const checkpoint = await makeCheckpoint(sign, last, { iss: issuer, at, heads })
  await insertCheckpoint(db, checkpoint)
  return checkpoint.number
}

/** Those heads that no recent checkpoint names as they are. */
function unnamed(
  heads: Awaited<ReturnType<typeof movedHeads>>,
  recent: readonly AuditCheckpoint[],
): CheckpointHeads {
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

import { type AuditRow, auditTime, insertAuditEvents } from '../ledger/audit.ts'
import type { Db, Ledger } from '../ledger/db.ts'
import { batcher } from '../lib/batcher.ts'
import { BrokerError } from '../lib/errors.ts'
import { newId } from '../lib/ids.ts'
import { ok } from '../lib/result.ts'
import type { StoredEvent } from './chain.ts'
import { type AuditEvent, CLOSING, canonical } from './event.ts'
import { openWriters } from './writers.ts'

/** Writes events in the transaction of the change they are about, so that neither is there without the other. */
export type Trail = {
  /** Runs `work` in a transaction, and writes what it answers as `events` into it. As `Ledger.transaction` otherwise. */
  commit<T>(work: (db: Db) => Promise<{ result: T; events: readonly AuditEvent[] }>): Promise<T>
  /** Writes an event of its own, together with others that come at the same time. */
  record(event: AuditEvent): Promise<void>
  /** Ends the chains of this process. */
  close(): Promise<void>
}

/** As many as transactions of one process can be under way. */
const CHAINS = 10

export function openTrail(ledger: Ledger): Trail {
  const writers = openWriters(CHAINS, newId, { rolledBack })

  const commit: Trail['commit'] = (work) =>
    writers.use((begin) =>
      ledger.transaction(async (db) => {
        const append = begin()
        const { result, events } = await work(db)
        if (events.length > 0) {
          const at = await auditTime(db)
          await insertAuditEvents(
            db,
            toRows(append(events.map((event) => ({ at, body: canonical(event) }))), events),
          )
        }
        return result
      }),
    )

  const record = batcher<AuditEvent, void>(async (events) => {
    await commit(async () => ({ result: undefined, events }))
    return events.map(() => ok(undefined))
  })

  return {
    commit,
    record,
    close: () =>
      writers.close((closings) =>
        ledger.transaction(async (db) => {
          const stored = closings(await auditTime(db))
          await insertAuditEvents(
            db,
            toRows(
              stored,
              stored.map(() => CLOSING),
            ),
          )
        }),
      ),
  }
}

const toRows = (stored: readonly StoredEvent[], events: readonly AuditEvent[]): AuditRow[] =>
  stored.map((event, i) => ({
    ...event,
    type: events[i]?.type ?? 'system',
    principal: events[i]?.who?.principal,
    leaseId: events[i]?.lease_id,
    target: events[i]?.target,
  }))

const UNIQUE_VIOLATION = '23505'

/**
 * Whether the ledger surely holds nothing of the transaction. Not when there was no answer, nor when the event's place
 * was taken: then an earlier answer was wrong.
 */
function rolledBack(error: unknown): boolean {
  if (error instanceof BrokerError && error.code === 'unavailable') return false
  const { code, table } = error as { code?: string; table?: string }
  return !(code === UNIQUE_VIOLATION && table === 'audit_event')
}

import { AsyncLocalStorage } from 'node:async_hooks'
import type { Db, Ledger } from '../ledger/db.ts'
import type { AuditEvent } from './event.ts'
import type { Trail } from './trail.ts'

/**
 * The request, or the job, on whose behalf something is being done: its event goes into the transaction of the first
 * change it makes. Held by the asynchronous context and not handed down, so that no change, however deep, can be made
 * without its event because somebody forgot to pass it on.
 */
export type Audited = {
  /** The event, given what the change answered; undefined when that was no change after all. */
  event(result: unknown): AuditEvent | undefined
  /** Set by whoever has committed the event. */
  written: boolean
}

const inHand = new AsyncLocalStorage<Audited>()

export const onBehalfOf = <T>(audited: Audited, work: () => Promise<T>): Promise<T> =>
  inHand.run(audited, work)

/** The request in hand whose event is still to be written. For flights, which carry it with each of their items. */
export function auditedRequest(): Audited | undefined {
  const audited = inHand.getStore()
  return audited?.written ? undefined : audited
}

const CHANGES = /\b(?:insert\s+into|update|delete\s+from)\s+leasehold\./i
const changes = new Map<string, boolean>()

/** Our statements are a few dozen fixed texts. */
function isChange(sql: string): boolean {
  const known = changes.get(sql)
  if (known !== undefined) return known
  const change = CHANGES.test(sql)
  changes.set(sql, change)
  return change
}

/** The ledger as requests use it: what one changes first is committed together with its event. */
export function auditedLedger(ledger: Ledger, trail: Trail): Ledger {
  const transaction = async <T>(work: (db: Db) => Promise<T>): Promise<T> => {
    const audited = auditedRequest()
    if (!audited) return ledger.transaction(work)
    let wrote = false
    const answer = await trail.commit(async (db) => {
      const result = await work(db)
      const event = audited.event(result)
      wrote = event !== undefined
      return { result, events: event ? [event] : [] }
    })
    if (wrote) audited.written = true
    return answer
  }
  return {
    query: (sql, values) =>
      auditedRequest() && isChange(sql)
        ? transaction((db) => db.query(sql, values))
        : ledger.query(sql, values),
    transaction,
    close: () => ledger.close(),
  }
}

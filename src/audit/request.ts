import { AsyncLocalStorage } from 'node:async_hooks'
import type { QueryResultRow } from 'pg'
import type { Behalf, Db, Ledger } from '../ledger/db.ts'
import type { AuditEvent } from './event.ts'
import type { Trail } from './trail.ts'

/** What a request turns out to be about, as far as its event says so. */
export type Facts = Pick<AuditEvent, 'lease_id' | 'target' | 'role' | 'details'>

/**
 * The request, or the job, on whose behalf something is being done: its event goes into the transaction of the first
 * change it makes. Held by the asynchronous context and not handed down, so that no change, however deep, can be made
 * without its event because somebody forgot to pass it on.
 */
export type Audited = {
  facts: Facts
  /** The event, given what the change answered; undefined when that was no change after all. */
  event(result: unknown, facts: Facts): AuditEvent | undefined
  /** A request has one event; of a job, each change has one. */
  once: boolean
  /** Nothing is recorded with a change from now on: the event is in the ledger, or the request is over. */
  closed: boolean
  /** Of the transaction in hand: events of the things it does that have one each, beside its own. */
  parts?: AuditEvent[]
}

const inHand = new AsyncLocalStorage<Audited>()

export const onBehalfOf = <T>(audited: Audited, work: () => Promise<T>): Promise<T> =>
  inHand.run(audited, work)

/** A job of ours: each change that it makes has an event of its own. */
export const aJob = (event: (result: unknown) => AuditEvent | undefined): Audited => ({
  facts: {},
  event,
  once: false,
  closed: false,
})

/**
 * Does one of several things that a transaction is for, in it: that has an event of its own, committed with the one of
 * the whole, or none. What `work` says it is about is said of the part alone.
 */
export async function partOfIt<T>(
  event: (facts: Facts) => AuditEvent | undefined,
  work: () => Promise<T>,
): Promise<T> {
  const whole = inHand.getStore()
  const part: Audited = { facts: {}, event: () => undefined, once: true, closed: true }
  const done = await inHand.run(part, work)
  const made = event(part.facts)
  if (made) whole?.parts?.push(made)
  return done
}

/** Says what the request in hand is about, for its event. */
export function about(facts: Facts): void {
  const audited = inHand.getStore()
  if (audited) Object.assign(audited.facts, facts)
}

function inNeedOfEvent(): Audited | undefined {
  const audited = inHand.getStore()
  return audited?.closed ? undefined : audited
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

/** A ledger each of whose transactions is a change of its own by a job of ours, whoever waits for it. */
export const ledgerOfJob = (ledger: Ledger, job: Audited): Ledger => ({
  ...ledger,
  transaction: (work) => onBehalfOf(job, () => ledger.transaction(work)),
})

/** The ledger as requests and jobs use it: what one changes first is committed together with its event. */
export function auditedLedger(ledger: Ledger, trail: Trail): Ledger {
  /** `partsOf`: what the transaction did for each of these, by its result. */
  const commit = async <T>(
    audited: readonly (Audited | undefined)[],
    work: (db: Db) => Promise<T>,
    partsOf: (result: T) => readonly unknown[],
  ): Promise<T> => {
    const recorded = new Set<Audited>()
    const answer = await trail.commit(async (db) => {
      recorded.clear()
      for (const one of audited) if (one) one.parts = []
      const result = await work(db)
      const parts = partsOf(result)
      const events: AuditEvent[] = audited.flatMap((one) => one?.parts ?? [])
      audited.forEach((one, i) => {
        if (!one || one.closed || recorded.has(one) || parts[i] === NOTHING) return
        const event = one.event(parts[i], one.facts)
        if (!event) return
        events.push(event)
        recorded.add(one)
      })
      return { result, events }
    })
    for (const one of recorded) one.closed = one.once
    return answer
  }

  const transaction = <T>(work: (db: Db) => Promise<T>): Promise<T> => {
    const audited = inNeedOfEvent()
    return audited ? commit([audited], work, (result) => [result]) : ledger.transaction(work)
  }

  return {
    query: <Row extends QueryResultRow>(sql: string, values?: unknown[]) => {
      const audited = inNeedOfEvent()
      return audited && isChange(sql)
        ? commit([audited], (db) => db.query<Row>(sql, values), changedBy)
        : ledger.query<Row>(sql, values)
    },
    transaction,
    behalf: inNeedOfEvent,
    transactionFor: (behalves, work) =>
      behalves.some((behalf) => behalf !== undefined)
        ? commit(behalves.map(asAudited), work, (results) =>
            results.map((result) => (result.ok && result.value !== false ? result.value : NOTHING)),
          )
        : ledger.transaction(work),
    close: () => ledger.close(),
  }
}

const NOTHING = Symbol('nothing was changed')

/** A statement that found no row has changed none: what it was for has not been done. */
const changedBy = (result: { rowCount: number | null }): readonly unknown[] => [
  result.rowCount === 0 ? NOTHING : result,
]

/** Only what `behalf` gave comes back. */
const asAudited = (behalf: Behalf | undefined): Audited | undefined => behalf as Audited | undefined

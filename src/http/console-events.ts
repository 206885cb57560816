import type { ServerResponse } from 'node:http'
import { setTimeout as sleep } from 'node:timers/promises'
import { type Changes, TOPICS, type Topic } from '../audit/live-changes.ts'
import { BrokerError, messageOf } from '../lib/errors.ts'
import type { Logger } from '../lib/log.ts'

/** Which ids of what changed its person may be told. */
export type MaySee = Readonly<Record<Topic, boolean>>

/** Open pages, and what they are told while they are open. */
export type ConsoleEvents = {
  /**
   * Makes room for a page, or throws 429; the answer is to be handed the response, which from then on is a stream of
   * server-sent events. It ends with the session, with its token, and with this process.
   */
  admit(sessionId: string, maySee: MaySee): (res: ServerResponse) => void
  /** Says goodbye to all, and lets nobody in any more. */
  close(): void
}

type Parts = {
  /** Begins to follow what changes: each look answers for the time since the one before. */
  follow(): () => Promise<{ changes: Changes; now: Date }>
  /** Those of these sessions that still stand. */
  standing(ids: readonly string[]): Promise<Set<string>>
  log: Logger
  lookEveryMs?: number
  heartbeatMs?: number
  perSession?: number
  inTotal?: number
}

type Page = { sessionId: string; maySee: MaySee; res: ServerResponse | undefined; greeted: boolean }

/** A change is told within this and the time that a look takes. */
const LOOK_EVERY_MS = 250
const HEARTBEAT_MS = 10_000
const PAGES_PER_SESSION = 8
const PAGES_IN_TOTAL = 500
/** Whoever reads so little that this much waits reads nothing any more, and comes again. */
const UNREAD_BYTES = 64 * 1_024
/** An admitted page whose answer never came to be written takes no room for longer. */
const ADMITTED_MS = 30_000

/** Looks at the ledger while any page is open, once for all of them, and not at all otherwise. */
export function consoleEvents({
  follow,
  standing,
  log,
  lookEveryMs = LOOK_EVERY_MS,
  heartbeatMs = HEARTBEAT_MS,
  perSession = PAGES_PER_SESSION,
  inTotal = PAGES_IN_TOTAL,
}: Parts): ConsoleEvents {
  const pages = new Set<Page>()
  let closed = false
  let watching = false
  let beatAtMs = 0

  const round = async (look: ReturnType<Parts['follow']>): Promise<void> => {
    const { changes, now } = await look()
    const open = [...pages].filter(({ res }) => res !== undefined)
    const standingIds = await standing([...new Set(open.map(({ sessionId }) => sessionId))])
    const beats = performance.now() >= beatAtMs
    if (beats) beatAtMs = performance.now() + heartbeatMs
    for (const page of open) {
      if (!standingIds.has(page.sessionId)) end(page, 'session_over')
      else if (page.greeted) tellChanges(page, changes, beats ? now : undefined)
      else greet(page, now, heartbeatMs)
    }
  }

  /** A ledger that is away is no reason to close pages: they notice that no heartbeat comes. */
  const watch = async (): Promise<void> => {
    const look = follow()
    let failing = false
    while (pages.size > 0 && !closed) {
      try {
        await round(look)
        failing = false
      } catch (error) {
        if (!failing) log.warn({ error: messageOf(error) }, 'open pages cannot be told of changes for now')
        failing = true
      }
      await sleep(lookEveryMs)
    }
    watching = false
  }

  const end = (page: Page, reason: 'session_over' | 'shutdown'): void => {
    tell(page, 'end', { reason })
    pages.delete(page)
    page.res?.end()
  }

  const stream = (page: Page) => (res: ServerResponse) => {
    page.res = res
    res.once('close', () => pages.delete(page))
    res.setHeader('Content-Type', 'text/event-stream')
    // Some proxies keep an answer back until it is whole.
    res.setHeader('X-Accel-Buffering', 'no')
    res.flushHeaders()
    if (closed) return end(page, 'shutdown')
    if (watching) return
    watching = true
    void watch()
  }

  return {
    admit(sessionId, maySee) {
      if (closed) throw new BrokerError('unavailable', 'this server is shutting down')
      const own = [...pages].filter((page) => page.sessionId === sessionId).length
      if (own >= perSession || pages.size >= inTotal) {
        throw new BrokerError('too_many_requests', 'too many open pages; close some of them', {
          retryAfterSeconds: 5,
        })
      }
      const page: Page = { sessionId, maySee, res: undefined, greeted: false }
      pages.add(page)
      setTimeout(() => page.res ?? pages.delete(page), ADMITTED_MS).unref()
      return stream(page)
    },
    close() {
      closed = true
      for (const page of [...pages]) end(page, 'shutdown')
    },
  }
}

/** After a look: what the page reads from now on is no older than what it will be told of. */
function greet(page: Page, now: Date, heartbeatMs: number): void {
  page.greeted = true
  tell(page, 'hello', { now: now.toISOString(), heartbeat_seconds: heartbeatMs / 1_000 })
}

function tellChanges(page: Page, changes: Changes, beat: Date | undefined): void {
  for (const topic of TOPICS) {
    const ids = changes[topic]
    if (ids !== undefined) tell(page, 'change', { topic, ids: page.maySee[topic] ? ids : null })
  }
  if (beat) tell(page, 'heartbeat', { now: beat.toISOString() })
}

function tell({ res }: Page, event: string, data: object): void {
  if (!res || res.writableEnded) return
  if (res.writableLength > UNREAD_BYTES) return void res.destroy()
  res.write(`event: ${event}\ndata: ${JSON.stringify(data)}\n\n`)
}

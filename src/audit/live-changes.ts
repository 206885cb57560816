import type { Db } from '../ledger/db.ts'
import { LIVE_EVENTS_AT_ONCE, type LiveLook, lookForChanges } from '../ledger/live-events.ts'

export const TOPICS = ['leases', 'grants', 'targets'] as const
export type Topic = (typeof TOPICS)[number]

/** What of a topic changed; null when it is too many to name, or nobody can say which. */
export type Changes = Partial<Record<Topic, readonly string[] | null>>

const IDS_AT_MOST = 50

/**
 * Follows what changes in the ledger, by looking. The first look only says where to begin. Says nothing of what is
 * merely read, so that a page's own reading wakes no page.
 */
export function liveChanges(ledger: Db): () => Promise<{ changes: Changes; now: Date }> {
  let last: Pick<LiveLook, 'snapshot' | 'targets'> | undefined
  let knownGrants = new Set<string>()

  return async () => {
    const look = await lookForChanges(ledger, last?.snapshot)
    const moves = look.grants.map(({ id, number }) => ({ id, key: `${id} ${number}` }))
    const moved = moves.filter(({ key }) => !knownGrants.has(key)).map(({ id }) => id)
    const found = newFound()
    if (last) {
      if (look.events.length > LIVE_EVENTS_AT_ONCE) found.leases = null
      for (const event of look.events) noteEvent(found, event)
      if (moved.length > 0) add(found, 'grants', moved)
      if (look.targets !== last.targets) found.targets ??= new Set()
    }
    knownGrants = new Set(moves.map(({ key }) => key))
    last = look
    return { changes: shown(found), now: look.now }
  }
}

/** undefined: nothing; an empty set: something that has no name here. */
type Found = Record<Topic, Set<string> | null | undefined>

const newFound = (): Found => ({ leases: undefined, grants: undefined, targets: undefined })

function add(found: Found, topic: Topic, ids: readonly string[]): void {
  if (found[topic] === null) return
  const known = found[topic] ?? new Set<string>()
  for (const id of ids) known.add(id)
  found[topic] = known
}

type LiveEvent = LiveLook['events'][number]

function noteEvent(found: Found, { leaseId, target, type, body }: LiveEvent): void {
  if (leaseId !== null) {
    add(found, 'leases', [leaseId.slice(leaseId.lastIndexOf('/') + 1)])
    return
  }
  const { operation, path } = whatOf(body)
  if (operation === 'read' || operation === 'list' || operation === 'login') return
  // Many at once are named by nothing: those of a prefix, a token or a mount.
  if (/^(?:sys\/(?:leases|leasehold\/leases|mounts|auth)|auth\/token)(?:\/|$)/.test(path)) found.leases = null
  if (body?.includes('"leases_ending":')) found.leases = null
  const isOfTarget = target !== null || /\/(?:config|static-roles|rotate-r|reset)/.test(path)
  if (isOfTarget || (type === 'system' && path === '')) add(found, 'targets', [])
}

/** Of an event that somebody edited in the ledger, nothing can be said. */
function whatOf(body: string | null): { operation: string; path: string } {
  try {
    const { what } = JSON.parse(body ?? '{}') as { what?: { operation?: string; path?: string } }
    return { operation: what?.operation ?? '', path: what?.path ?? '' }
  } catch {
    return { operation: '', path: '' }
  }
}

const shown = (found: Found): Changes =>
  Object.fromEntries(
    TOPICS.flatMap((topic) => {
      const ids = found[topic]
      if (ids === undefined) return []
      return [[topic, ids === null || ids.size === 0 || ids.size > IDS_AT_MOST ? null : [...ids]]]
    }),
  )

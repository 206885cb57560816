import type { V1Job, V1Pod } from '@kubernetes/client-node'
import { atMost } from '../../lib/at-most.ts'
import { backoffMs } from '../../lib/backoff.ts'
import { isObject } from '../../lib/objects.ts'
import { pause } from '../../lib/pause.ts'
import { EngineError, type Follow, type Following, type Lane, type Tied } from '../engine.ts'
import { type Api, isAbsent } from './api.ts'
import { readTie, type Tie, type TieKind } from './ask.ts'
import { placeOf } from './name.ts'
import { watchEvents } from './watch.ts'

/** Something a lease is tied to, and where it is. */
type TieAt = Tie & { namespace: string }
type Place = { namespace: string; kind: TieKind }
/** Leases by what they are tied to. */
type Wanted = Map<string, TieAt>

const PATHS = { Pod: ['/api/v1', 'pods'], Job: ['/apis/batch/v1', 'jobs'] } as const
const METADATA_ONLY = 'application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1'
const RETRY_AT_MOST_MS = 30_000
/** Looks under way at once, of all those that the endings of a target leave room for. */
const LOOKS = 4
/** A watch that ended sooner, or before half of its time, ended for a fault. */
const SOON_MS = 5_000

const pathOf = ({ namespace, kind }: Place): string => {
  const [root, resource] = PATHS[kind]
  return `${root}/namespaces/${namespace}/${resource}`
}

/** Whether it is gone for good: deleted, another of the same name, or at the end of its work. */
export async function isGone(api: Api, lane: Lane, tie: TieAt): Promise<boolean> {
  try {
    const { body } = await api.ask(lane, { path: `${pathOf(tie)}/${tie.name}` })
    const { metadata } = body as V1Pod | V1Job
    return metadata?.uid !== tie.uid || hasFinished(tie.kind, body)
  } catch (error) {
    if (isAbsent(error, tie.name)) return true
    throw error
  }
}

function hasFinished(kind: TieKind, object: unknown): boolean {
  if (kind === 'Pod') return ['Succeeded', 'Failed'].includes((object as V1Pod).status?.phase ?? '')
  const conditions = (object as V1Job).status?.conditions ?? []
  return conditions.some(({ type, status }) => ['Complete', 'Failed'].includes(type) && status === 'True')
}

/** One watch for each kind of thing in each namespace, however many leases are tied to such. */
export function followTies(api: Api, { onGone, onTrouble, resyncMs }: Follow): Following {
  const places = new Map<string, ReturnType<typeof followPlace>>()
  const stopping = new Set<Promise<void>>()
  const look = atMost(LOOKS)

  const stop = (key: string): void => {
    const place = places.get(key)
    places.delete(key)
    if (!place) return
    const done = place.stop().finally(() => stopping.delete(done))
    stopping.add(done)
  }

  return {
    follow(tied) {
      const byPlace = new Map<string, { place: Place; wanted: Wanted }>()
      for (const each of tied) {
        const tie = tieAt(each)
        if (!tie) continue
        const key = `${tie.kind} ${tie.namespace}`
        const here = byPlace.get(key) ?? { place: tie, wanted: new Map() }
        byPlace.set(key, here)
        here.wanted.set(each.account.leaseId, tie)
      }
      for (const key of places.keys()) if (!byPlace.has(key)) stop(key)
      for (const [key, { place, wanted }] of byPlace) {
        const following = places.get(key) ?? followPlace(api, look, place, { onGone, onTrouble, resyncMs })
        places.set(key, following)
        following.want(wanted)
      }
    },
    async stop() {
      for (const key of [...places.keys()]) stop(key)
      await Promise.all(stopping)
    },
  }
}

function tieAt({ account, asked }: Tied): TieAt | undefined {
  const tie = readTie(asked)
  return tie && { ...tie, namespace: placeOf(account).namespace }
}

/**
 * Looks at everything once, then is told of changes from a moment before that look; when the telling ends, for whatever
 * reason and at the latest after `resyncMs`, all over again. So a missed event costs time, never a lease.
 */
function followPlace(
  api: Api,
  look: ReturnType<typeof atMost>,
  place: Place,
  { onGone, onTrouble, resyncMs }: Follow,
) {
  let wanted: Wanted = new Map()
  const stopped = new AbortController()

  /** Those that could not be seen: one of them must not hide the others. */
  const lookAt = async (ties: Wanted): Promise<{ unseen: string[]; error?: unknown }> => {
    const entries = [...ties]
    const looks = await Promise.allSettled(
      entries.map(([leaseId, tie]) =>
        look(async () => {
          if (!stopped.signal.aborted && (await isGone(api, 'ending', tie))) onGone(leaseId)
        }),
      ),
    )
    const unseen = entries.flatMap(([leaseId], i) => (looks[i]?.status === 'rejected' ? [leaseId] : []))
    return { unseen, error: looks.find((each) => each.status === 'rejected')?.reason }
  }
  const tell = (object: Record<string, unknown>): void => {
    const uid = isObject(object.metadata) ? object.metadata.uid : undefined
    for (const [leaseId, tie] of wanted) if (tie.uid === uid) onGone(leaseId)
  }
  const round = async (): Promise<void> => {
    const from = await versionNow(api, place)
    const { unseen, error } = await lookAt(wanted)
    if (unseen.length > 0) throw error
    const query = { resourceVersion: from, timeoutSeconds: String(Math.ceil(resyncMs / 1_000)) }
    for await (const { type, object } of watchEvents(
      api,
      { path: pathOf(place), query, resyncMs },
      stopped.signal,
    )) {
      if (type === 'DELETED' || hasFinished(place.kind, object)) tell(object)
    }
  }
  const loop = async (): Promise<void> => {
    for (let failures = 0; !stopped.signal.aborted; ) {
      const startedMs = performance.now()
      try {
        await round()
        const isSoon = performance.now() - startedMs < Math.min(SOON_MS, resyncMs / 2)
        failures = isSoon ? failures + 1 : 0
      } catch (error) {
        if (stopped.signal.aborted) return
        failures += 1
        onTrouble(error)
      }
      if (failures > 0) await pause(Math.min(RETRY_AT_MOST_MS, backoffMs(failures)), stopped.signal)
    }
  }
  const done = loop()

  return {
    want(next: Wanted): void {
      const newcomers = new Map([...next].filter(([leaseId]) => !wanted.has(leaseId)))
      wanted = next
      // What went before we knew of its lease is in no event to come.
      void lookAt(newcomers).then(({ unseen, error }) => {
        for (const leaseId of unseen) wanted.delete(leaseId)
        if (unseen.length > 0 && !stopped.signal.aborted) onTrouble(error)
      })
    },
    async stop(): Promise<void> {
      stopped.abort()
      await done
    },
  }
}

/** The moment that a watch is to begin at. */
async function versionNow(api: Api, place: Place): Promise<string> {
  const { body } = await api.ask('ending', {
    path: pathOf(place),
    query: { limit: '1' },
    accept: METADATA_ONLY,
  })
  const version = isObject(body.metadata) ? body.metadata.resourceVersion : undefined
  if (typeof version === 'string') return version
  throw new EngineError('blocked', `the API server answers a list of ${place.kind}s without a version`)
}

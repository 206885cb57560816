import { isObject } from '../../lib/objects.ts'
import { EngineError } from '../engine.ts'
import type { Api } from './api.ts'

export type WatchEvent = { type: string; object: Record<string, unknown> }

/** No object that a cluster stores is larger. */
const MAX_EVENT_BYTES = 2 * 1_024 * 1_024
/** The server ends a watch by itself; one that did not is cut after this much longer. */
const GRACE_MS = 30_000

/**
 * What happens to the objects of a path from a version on, until the server ends the telling, or says that it cannot
 * begin so far back (410): then all have to be looked at again. Throws an `EngineError` for any other fault.
 */
export async function* watchEvents(
  api: Api,
  { path, query, resyncMs }: { path: string; query: Record<string, string>; resyncMs: number },
  signal: AbortSignal,
): AsyncIterable<WatchEvent> {
  const ended = AbortSignal.any([signal, AbortSignal.timeout(resyncMs + GRACE_MS)])
  const asked = { ...query, watch: 'true', allowWatchBookmarks: 'true' }
  const response = await api.stream({ path, query: asked }, ended)
  try {
    for await (const line of linesOf(response as AsyncIterable<Buffer>)) {
      const event = readEvent(line)
      if (event.type === 'ERROR') {
        if (event.object.code === 410) return
        throw new EngineError('blocked', `the watch was ended: ${String(event.object.message)}`)
      }
      if (event.type !== 'BOOKMARK') yield event
    }
  } catch (error) {
    if (ended.aborted && !signal.aborted) return
    if (error instanceof EngineError) throw error
    throw new EngineError('unreachable', 'the watch was cut off', { cause: error })
  } finally {
    response.destroy()
  }
}

async function* linesOf(chunks: AsyncIterable<Buffer>): AsyncIterable<string> {
  let held = Buffer.alloc(0)
  for await (const chunk of chunks) {
    held = Buffer.concat([held, chunk])
    for (let end = held.indexOf(10); end >= 0; end = held.indexOf(10)) {
      const line = held.subarray(0, end).toString('utf8')
      held = held.subarray(end + 1)
      if (line.trim() !== '') yield line
    }
    if (held.length > MAX_EVENT_BYTES)
      throw new EngineError('blocked', 'the watch tells of something too large')
  }
}

function readEvent(line: string): WatchEvent {
  try {
    const event: unknown = JSON.parse(line)
    if (isObject(event) && typeof event.type === 'string' && isObject(event.object)) {
      return { type: event.type, object: event.object }
    }
  } catch {
    // Its own text would quote the event.
  }
  throw new EngineError('blocked', 'the watch tells something that is not an event')
}

import type { ServerResponse } from 'node:http'
import type { Store, StoreEvent } from './kubernetes-store.ts'

const BOOKMARK_EVERY_MS = 100

/** Tells of what happens from a version on: one event a line, until the time is up or the other side leaves. */
export function serveWatch(
  store: Store,
  res: ServerResponse,
  { resource, namespace, query }: { resource: string; namespace: string | undefined; query: URLSearchParams },
): void {
  res.writeHead(200, { 'content-type': 'application/json' })
  const tell = (type: string, object: unknown) => res.write(`${JSON.stringify({ type, object })}\n`)
  const missed = store.since(resource, Number(query.get('resourceVersion') ?? store.version()))
  if (!missed) {
    tell('ERROR', {
      kind: 'Status',
      status: 'Failure',
      reason: 'Expired',
      code: 410,
      message: 'too old resource version',
    })
    return void res.end()
  }
  const onEvent = (event: StoreEvent): void => {
    const isHere = namespace === undefined || event.object.metadata.namespace === namespace
    if (event.resource === resource && isHere) tell(event.type, event.object)
  }
  for (const event of missed) onEvent(event)
  store.events.on('event', onEvent)
  const bookmarks = setInterval(
    () => tell('BOOKMARK', { metadata: { resourceVersion: String(store.version()) } }),
    BOOKMARK_EVERY_MS,
  )
  const stop = () => {
    clearInterval(bookmarks)
    clearTimeout(over)
    store.events.off('event', onEvent)
  }
  const over = setTimeout(
    () => {
      stop()
      res.end()
    },
    Number(query.get('timeoutSeconds') ?? 300) * 1_000,
  )
  res.once('close', stop)
}

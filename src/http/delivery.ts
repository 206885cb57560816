import type { ServerResponse } from 'node:http'
import { send, type WireReply } from './envelope.ts'

type Undo = () => Promise<void>

/** What must be undone when an answer does not reach its caller: a credential nobody received must end. */
export type Delivery = {
  onUndelivered(undo: Undo): void
  /** Says which handler may still register; nothing is undone before it has settled. */
  handledBy(running: Promise<unknown>): void
  pending(): boolean
  /** Runs what was registered, each once; a failure goes to the log. */
  undo(): Promise<void>
}

export function newDelivery(onFailure: (error: unknown) => void): Delivery {
  const undos: Undo[] = []
  let handler: Promise<unknown> = Promise.resolve()
  return {
    onUndelivered: (undo) => undos.push(undo),
    handledBy: (running) => {
      handler = running.catch(() => undefined)
    },
    pending: () => undos.length > 0,
    undo: async () => {
      await handler
      await Promise.all(undos.splice(0).map((undo) => undo().catch(onFailure)))
    },
  }
}

/** Sends the reply. False when the connection was gone before all of it was handed to the system. */
export function deliver(res: ServerResponse, reply: WireReply, delivery: Delivery): Promise<boolean> {
  const socket = res.req.socket
  if (socket.destroyed) return Promise.resolve(false)
  if (!delivery.pending()) {
    send(res, reply)
    return Promise.resolve(true)
  }
  // One listener for each request in hand; a pipelining client may have many.
  socket.setMaxListeners(0)
  return new Promise((resolve) => {
    const lost = () => resolve(false)
    // Not the response's own "close": one that waits behind another on its connection does not get it.
    socket.once('close', lost)
    // "finish" also comes when a write failed, so the socket is asked, and before Node itself closes a last one.
    res.prependOnceListener('finish', () => {
      socket.off('close', lost)
      resolve(!socket.destroyed)
    })
    send(res, reply)
  })
}

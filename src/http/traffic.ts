import type { IncomingMessage, Server, ServerResponse } from 'node:http'
import type { Socket } from 'node:net'

export type Traffic = {
  /** Whether a request of this connection still waits for its answer. */
  busy(socket: Socket): boolean
  /** Waits until no request is in hand, for at most `graceMs`, then closes every connection. */
  drain(graceMs: number): Promise<void>
}

/** Follows a server's connections and the requests in hand on each. */
export function watchTraffic(server: Server): Traffic {
  const connections = new Set<Socket>()
  const inHand = new Set<ServerResponse>()
  let idle: (() => void) | undefined

  server.on('connection', (socket: Socket) => {
    connections.add(socket)
    socket.once('close', () => connections.delete(socket))
  })

  server.on('request', ({ socket }: IncomingMessage, res: ServerResponse) => {
    const over = (): void => {
      socket.off('close', over)
      inHand.delete(res)
      if (inHand.size === 0) idle?.()
    }
    // A pipelining client may have many requests in hand on one connection.
    socket.setMaxListeners(0)
    socket.once('close', over)
    res.once('finish', over)
    inHand.add(res)
    if (idle) leave(res)
  })

  return {
    busy: (socket) => [...inHand].some((res) => res.req.socket === socket),
    drain: async (graceMs) => {
      let timer: NodeJS.Timeout | undefined
      await new Promise<void>((resolve) => {
        idle = resolve
        timer = setTimeout(resolve, graceMs)
        for (const res of inHand) leave(res)
        if (inHand.size === 0) resolve()
      })
      clearTimeout(timer)
      for (const socket of connections) socket.destroy()
    },
  }
}

/** Tells the client not to use this connection again. */
function leave(res: ServerResponse): void {
  if (!res.headersSent) res.setHeader('Connection', 'close')
}

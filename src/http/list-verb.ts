import type { Server } from 'node:http'
import { Server as TlsServer } from 'node:https'
import type { Socket } from 'node:net'
import { listSwapper } from './list-swapper.ts'

/**
 * Lets the server receive LIST, which Node's parser does not know, as `req.method === 'LIST'`.
 *
 * The parser knows LINK, which nobody sends and which differs in two letters. So the two are swapped in the bytes
 * that arrive, in place, before the parser reads them, and swapped back in the request. No length changes, so whatever
 * else a connection carries keeps its framing; a LINK sent on the wire is refused by the parser as LIST used to be.
 */
export function acceptListVerb(server: Server): void {
  const arrival = server instanceof TlsServer ? 'secureConnection' : 'connection'
  server.on(arrival, (socket: Socket) => {
    // In front of the parser's own listener. Node hands over the bytes it would have parsed unseen once it has one.
    socket.prependListener('data', listSwapper())
  })
  server.prependListener('request', (req) => {
    if (req.method === 'LINK') req.method = 'LIST'
  })
}

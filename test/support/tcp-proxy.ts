import type { AddressInfo } from 'node:net'
import { connect, createServer, type Socket } from 'node:net'

/** Sits before a server on a unix socket and can hold back what a client sends, as a slow network would. */
export type TcpProxy = {
  /** `host:port` to connect to. */
  place: string
  /** The first packet that contains this text is held, and with it all that follows on its connection. */
  holdAt(text: string): { held: Promise<void>; release(): void; cut(): void }
  /** Stops passing anything on, in either direction, without closing: a server that hangs. */
  freeze(): void
  stop(): Promise<void>
}

export async function startTcpProxy(socketPath: string): Promise<TcpProxy> {
  const sockets = new Set<Socket>()
  let trap: { text: string; spring(client: Socket, server: Socket, packet: Buffer): void } | undefined
  let frozen = false

  const listener = createServer((client) => {
    const server = connect(socketPath)
    for (const socket of [client, server]) {
      sockets.add(socket)
      socket.on('error', () => {})
      socket.on('close', () => sockets.delete(socket))
    }
    const pass = (packet: Buffer) => frozen || server.write(packet)
    client.on('data', (packet: Buffer) => {
      if (trap && packet.includes(trap.text)) {
        const { spring } = trap
        trap = undefined
        client.pause()
        spring(client, server, packet)
      } else pass(packet)
    })
    server.on('data', (packet: Buffer) => frozen || client.write(packet))
    client.on('close', () => server.destroy())
    server.on('close', () => client.destroy())
  })
  await new Promise<void>((resolve) => listener.listen(0, '127.0.0.1', resolve))

  return {
    place: `127.0.0.1:${(listener.address() as AddressInfo).port}`,
    holdAt(text) {
      let release = () => {}
      let cut = () => {}
      const held = new Promise<void>((resolve) => {
        trap = {
          text,
          spring(client, server, packet) {
            release = () => {
              server.write(packet)
              client.resume()
            }
            cut = () => client.destroy()
            resolve()
          },
        }
      })
      return { held, release: () => release(), cut: () => cut() }
    },
    freeze() {
      frozen = true
    },
    async stop() {
      for (const socket of sockets) socket.destroy()
      await new Promise((resolve) => listener.close(resolve))
    },
  }
}

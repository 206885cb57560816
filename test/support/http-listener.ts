import http from 'node:http'
import type { AddressInfo } from 'node:net'

export type Heard = { method: string; path: string; headers: http.IncomingHttpHeaders; body: string }

/** A server that writes down what it gets, and answers as the test says. */
export type Listener = {
  url: string
  heard: Heard[]
  close(): Promise<void>
}

export async function openListener(
  answer: (res: http.ServerResponse, heard: Heard) => void = (res) => void res.writeHead(204).end(),
): Promise<Listener> {
  const heard: Heard[] = []
  const server = http.createServer((req, res) => {
    let body = ''
    req.setEncoding('utf8')
    req.on('data', (piece: string) => {
      body += piece
    })
    req.on('end', () => {
      const one = { method: req.method ?? '', path: req.url ?? '', headers: req.headers, body }
      heard.push(one)
      answer(res, one)
    })
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    heard,
    close: () =>
      new Promise((resolve) => {
        server.closeAllConnections()
        server.close(() => resolve())
      }),
  }
}

import { once } from 'node:events'
import { connect, type Socket } from 'node:net'

/**
 * One kept-alive HTTP connection, one request at a time. Written by hand because client and server share the
 * machine: Node's own client costs about as much processor time as the server's whole answer.
 */
export type HttpClient = {
  /** The parsed JSON of the answer, undefined when it has no body. Throws when the status is not 2xx. */
  call(method: string, path: string, body?: unknown): Promise<unknown>
  close(): void
}

export async function openHttp(url: string, token: string): Promise<HttpClient> {
  const { hostname, port } = new URL(url)
  const socket = connect(Number(port), hostname)
  socket.setNoDelay(true)
  await once(socket, 'connect')
  const head = `Host: ${hostname}:${port}\r\nX-Vault-Token: ${token}\r\nX-Vault-Request: true\r\n`
  const answers = reader(socket)

  return {
    async call(method, path, body) {
      const text = body === undefined ? '' : JSON.stringify(body)
      socket.write(
        `${method} /v1/${path} HTTP/1.1\r\n${head}Content-Length: ${Buffer.byteLength(text)}\r\n\r\n${text}`,
      )
      const { status, text: answer } = await answers.next()
      if (status < 200 || status > 299) throw new Error(`${method} ${path} answered ${status}: ${answer}`)
      return answer === '' ? undefined : JSON.parse(answer)
    },
    close: () => void socket.destroy(),
  }
}

type Answer = { status: number; text: string }

function reader(socket: Socket) {
  let received = Buffer.alloc(0)
  let waiting: { resolve: (answer: Answer) => void; reject: (error: Error) => void } | undefined
  const fail = (error: Error) => waiting?.reject(error)

  socket.on('data', (chunk) => {
    received = received.length === 0 ? chunk : Buffer.concat([received, chunk])
    const answer = parse(received)
    if (!answer) return
    received = received.subarray(answer.length)
    waiting?.resolve(answer)
  })
  socket.on('error', fail)
  socket.on('close', () => fail(new Error('the server closed the connection')))

  return {
    next: () =>
      new Promise<Answer>((resolve, reject) => {
        waiting = { resolve, reject }
      }),
  }
}

/** Our server always says the length of a body. */
function parse(received: Buffer): (Answer & { length: number }) | undefined {
  const headEnd = received.indexOf('\r\n\r\n')
  if (headEnd < 0) return undefined
  const head = received.toString('latin1', 0, headEnd)
  const bodyLength = Number(/^content-length: *(\d+)/im.exec(head)?.[1] ?? 0)
  const length = headEnd + 4 + bodyLength
  if (received.length < length) return undefined
  return { status: Number(head.slice(9, 12)), text: received.toString('utf8', headEnd + 4, length), length }
}

import { once } from 'node:events'
import { get } from 'node:https'
import { type AddressInfo, createServer } from 'node:net'
import { connect as connectTls } from 'node:tls'
import { expect, test } from 'vitest'
import { handle, type Route } from '../../src/http/route.ts'
import { listen } from '../../src/http/server.ts'
import { newAuthority } from '../support/certificates.ts'
import { ask, dial, exchange, parts, serving, silent, statuses } from '../support/wire.ts'

const REQUEST = 'GET /v1/database/slow HTTP/1.1\r\nHost: x\r\nX-Vault-Token: good\r\n\r\n'

/** A route that answers when told, and says when it was asked. */
function slowRoute() {
  let release = (): void => {}
  let started = (): void => {}
  const released = new Promise<void>((resolve) => {
    release = resolve
  })
  const asked = new Promise<void>((resolve) => {
    started = resolve
  })
  const read = handle({}, async () => {
    started()
    await released
    return { data: { done: true } }
  })
  const database: Route[] = [
    { path: 'slow', on: { read } },
    { path: 'quick', on: { read: handle({}, async () => ({ data: {} })) } },
  ]
  return { database, asked, release: () => release() }
}

test('an address in use is an error that names the setting', async () => {
  const taken = createServer().listen(0, '127.0.0.1')
  await once(taken, 'listening')
  const { port } = taken.address() as AddressInfo

  await expect(listen({ host: '127.0.0.1', port }, () => {}, silent)).rejects.toThrow(
    `127.0.0.1:${port} is in use; LEASEHOLD_LISTEN names another`,
  )
  await expect(listen({ host: '192.0.2.1', port: 0 }, () => {}, silent)).rejects.toThrow('LEASEHOLD_LISTEN')
  taken.close()
})

test('closing finishes the request in hand, takes no new connection, and closes kept ones', async () => {
  const { database, asked, release } = slowRoute()
  await serving(parts({ database }), async (at) => {
    const [kept, busy] = [await dial(at.port), await dial(at.port)]
    kept.write(REQUEST.replace('slow', 'quick'))
    await once(kept, 'data')
    const heard = exchange(busy, REQUEST)
    await asked
    const keptClosed = once(kept, 'close')
    const closed = at.close()
    await keptClosed
    await expect(dial(at.port)).rejects.toThrow('ECONNREFUSED')
    release()

    expect(await heard).toMatch(/^HTTP\/1\.1 200 [\s\S]*Connection: close\r\n[\s\S]*"done":true/)
    await closed
  })
})

test('closing waits no longer than its grace', async () => {
  const { database, asked } = slowRoute()
  await serving(parts({ database }), async (at) => {
    const heard = exchange(await dial(at.port), REQUEST)
    await asked
    await at.close(0)

    expect(await heard).toBe('')
  })
})

test('what cannot be parsed is refused in the dialect’s shape', async () => {
  await serving(parts({}), async (at) => {
    const refused = [
      'hello\r\n\r\n',
      'GET / HTTP/1.1\r\n\r\n',
      'PUT /v1/a HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n',
      `GET / HTTP/1.1\r\nHost: x\r\nX: ${'a'.repeat(40_000)}\r\n\r\n`,
    ]
    const answers = await Promise.all(refused.map(async (text) => exchange(await dial(at.port), text)))

    expect(answers.map((heard) => statuses(heard)[0])).toEqual([405, 400, 400, 431])
    for (const heard of [answers[0], answers[2], answers[3]]) {
      expect(heard).toMatch(/Content-Type: application\/json\r\n[\s\S]*\{"errors":\[\]\}\n$/)
    }
  })
})

test('rubbish behind a request in hand is not answered in its place', async () => {
  const { database, asked, release } = slowRoute()
  await serving(parts({ database }), async (at) => {
    const socket = await dial(at.port)
    const heard = exchange(socket, REQUEST)
    await asked
    socket.write('rubbish\r\n\r\n')

    expect(await heard).toBe('')
    release()
  })
})

test('over TLS only clients with a certificate of the authority get in, when one is set', async () => {
  const authority = newAuthority()
  const { cert, key } = authority.issue('localhost')
  const { database } = slowRoute()
  const tls = { cert, key, clientCa: authority.cert }
  await serving(
    parts({ database }),
    async (at) => {
      expect(at.url).toBe(`https://127.0.0.1:${at.port}`)
      const status = await new Promise((resolve, reject) => {
        const url = `${at.url}/v1/database/quick`
        const headers = { 'X-Vault-Token': 'good' }
        get(url, { ca: authority.cert, ...authority.issue('job'), headers }, (res) => {
          res.resume().on('end', () => resolve(res.statusCode))
        }).on('error', reject)
      })
      expect(status).toBe(200)

      for (const stranger of [{}, newAuthority('another').issue('job')]) {
        const socket = connectTls({ port: at.port, host: '127.0.0.1', ca: authority.cert, ...stranger })
        const heard: Buffer[] = []
        socket.on('error', () => {}).on('data', (chunk) => heard.push(chunk))
        socket.on('secureConnect', () => socket.write(REQUEST))
        await new Promise((resolve) => socket.once('close', resolve))
        expect(heard).toEqual([])
      }
    },
    tls,
  )
})

test('a hundred pipelined requests are answered in order', async () => {
  const { database } = slowRoute()
  await serving(parts({ database }), async (at) => {
    const request = REQUEST.replace('slow', 'quick')
    const last = request.replace('\r\n\r\n', '\r\nConnection: close\r\n\r\n')
    expect(statuses(await exchange(await dial(at.port), request.repeat(99) + last))).toEqual(
      Array(100).fill(200),
    )
    expect((await ask(at, 'GET', '/v1/database/quick')).status).toBe(200)
  })
})

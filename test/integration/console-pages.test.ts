import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { consoleFiles } from '../../src/http/console-files.ts'
import { ask, builtPages } from './console-world.ts'

let pages: Awaited<ReturnType<typeof builtPages>>
let url: string
let stop: () => void
beforeAll(async () => {
  pages = await builtPages()
  const serve = consoleFiles(pages.folder)
  const server = createServer((req, res) => void serve(req, res, (req.url ?? '').slice('/ui/'.length)))
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  stop = () => void server.close()
})
afterAll(async () => {
  stop()
  await pages.remove()
})

const nonceOf = (text: string): string => /name="csp-nonce" content="([^"]+)"/.exec(text)?.[1] ?? ''

test('a page is the same at every path, with a nonce of its own each time', async () => {
  const [first, second] = [await ask(url, { path: '/ui/' }), await ask(url, { path: '/ui/leases/abc' })]
  const nonces = [first, second].map(({ text }) => nonceOf(text))
  expect(new Set(nonces).size).toBe(2)
  for (const [i, page] of [first, second].entries()) {
    expect([page.status, page.headers['cache-control'], page.headers['referrer-policy']]).toEqual([
      200,
      'no-store',
      'no-referrer',
    ])
    const csp = String(page.headers['content-security-policy'])
    expect(csp).toContain(`style-src 'self' 'nonce-${nonces[i]}'`)
    expect(csp).toContain("script-src 'self';")
    expect(csp).toContain("frame-ancestors 'none'")
    expect(csp).not.toContain('unsafe')
    expect(page.text).not.toContain('__CSP_NONCE__')
  }
})

test('what is named by its content may be kept for ever, and comes packed to who takes it so', async () => {
  const plain = await ask(url, { path: '/ui/assets/main-1a2b.js' })
  expect([plain.status, plain.headers['cache-control'], plain.headers['content-type']]).toEqual([
    200,
    'public, max-age=31536000, immutable',
    'text/javascript; charset=utf-8',
  ])
  const response = await fetch(`${url}/ui/assets/main-1a2b.js`, { headers: { 'accept-encoding': 'gzip' } })
  expect(response.headers.get('content-encoding')).toBe('gzip')
  expect(await response.text()).toBe(plain.text)
})

test('another file is looked for again each time', async () => {
  const icon = await ask(url, { path: '/ui/icon.svg' })
  expect([icon.status, icon.headers['cache-control']]).toEqual([200, 'no-cache'])
})

describe('nothing outside the folder', () => {
  test.each([
    '/ui/../secret.txt',
    '/ui/%2e%2e/secret.txt',
    '/ui/..%2fsecret.txt',
    '/ui/assets/../../secret.txt',
    '/ui/assets/%2e%2e%2f%2e%2e%2fsecret.txt',
    '/ui//etc/passwd',
    '/ui/assets/..\\..\\secret.txt',
    '/ui/assets/main-1a2b.js%00.txt',
  ])('comes by %s', async (path) => {
    const { status, text } = await ask(url, { path })
    expect(text).not.toMatch(/not for the web|root:/)
    expect([200, 404]).toContain(status)
    if (status === 200) expect(nonceOf(text)).not.toBe('')
  })

  test('nor does a file that is not there turn into a page', async () => {
    expect((await ask(url, { path: '/ui/assets/main-0000.js' })).status).toBe(404)
  })
})

test('nothing is written, and nothing is served that was not built', async () => {
  expect((await ask(url, { path: '/ui/', method: 'POST' })).status).toBe(405)
  const none = consoleFiles('/nowhere/at/all')
  const server = createServer((req, res) => void none(req, res, ''))
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const answer = await ask(`http://127.0.0.1:${(server.address() as AddressInfo).port}`, { path: '/ui/' })
  server.close()
  expect([answer.status, answer.text]).toEqual([
    404,
    'the console is not part of this build; npm run build makes it\n',
  ])
})

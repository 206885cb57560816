import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { openTestBroker, type TestBroker } from '../support/broker.ts'
import { ask, openBrowser } from './console-world.ts'

let at: TestBroker
beforeAll(async () => {
  at = await openTestBroker()
})
afterAll(() => at.close())

const signedIn = async (token = at.root) => {
  const browser = openBrowser(at.url)
  const answer = await browser.signIn(token)
  if (answer.status !== 200) throw new Error(`${answer.status} ${answer.text}`)
  return browser
}

const newToken = async (fields: object = {}) =>
  (await at.api('POST', 'auth/token/create', { ttl: '1h', ...fields })).json.auth.client_token as string

describe('signing in with a token', () => {
  test('gives a cookie that no script reads and no other site sends, and says who it is', async () => {
    const answer = await openBrowser(at.url).signIn(at.root)
    const [cookie = ''] = answer.headers['set-cookie'] ?? []
    expect(cookie).toMatch(/^leasehold_console=[\w-]{43}; Path=\/ui\/; HttpOnly; SameSite=Strict$/)
    expect(answer.json).toMatchObject({
      display_name: 'root',
      root: true,
      signed_in_by: 'token',
      oidc: null,
      token_expires_at: null,
      may: { leases: true, revoke: true, targets: true, summary: true, audit: true },
    })
    expect(new Date(answer.json.session_expires_at).getTime()).toBeGreaterThan(Date.parse(answer.json.now))
    expect(answer.text).not.toContain(at.root)
  })

  test('says Secure where the browser is reached over TLS', async () => {
    const answer = await openBrowser(at.url).visit(
      'POST',
      '/ui/session',
      { token: at.root },
      { origin: 'https://leasehold.example' },
    )
    expect(answer.headers['set-cookie']?.[0]).toContain('; Secure')
  })

  test('is refused for a token that is none, and gives no cookie', async () => {
    for (const token of ['lh.nobody', '', '   ', 7, null]) {
      const answer = await openBrowser(at.url).visit('POST', '/ui/session', { token })
      expect([answer.status, answer.headers['set-cookie']]).toEqual([403, undefined])
    }
  })

  test('takes no session id from the browser, and ends the one it had', async () => {
    const browser = openBrowser(at.url)
    const planted = 'A'.repeat(43)
    browser.cookies.set('leasehold_console', planted)
    await browser.signIn(at.root)
    const first = browser.cookies.get('leasehold_console')
    expect(first).not.toBe(planted)
    await browser.signIn(at.root)
    const old = openBrowser(at.url)
    old.cookies.set('leasehold_console', first as string)
    expect((await old.visit('GET', '/ui/session')).status).toBe(401)
    expect((await browser.visit('GET', '/ui/session')).status).toBe(200)
  })

  test('leaves in the ledger neither the token nor what opens it', async () => {
    const browser = await signedIn()
    const cookie = browser.cookies.get('leasehold_console') as string
    const { rows } = await at.ledger.ledger.query<{ whole: string }>(
      'select s::text as whole from leasehold.console_session s',
    )
    expect(rows.length).toBeGreaterThan(0)
    for (const { whole } of rows) {
      expect(whole).not.toContain(Buffer.from(at.root).toString('hex'))
      expect(whole).not.toContain(Buffer.from(cookie).toString('hex'))
      expect(whole).not.toContain(cookie)
    }
  })
})

describe('a session', () => {
  test('asks the API as its token would, and is on record as such', async () => {
    const browser = await signedIn(await newToken({ policies: 'default', display_name: 'ada' }))
    const allowed = await browser.visit('POST', '/ui/v1/sys/capabilities-self', { paths: ['sys/mounts'] })
    expect([allowed.status, allowed.json.data['sys/mounts']]).toEqual([200, ['deny']])
    const denied = await browser.visit('GET', '/ui/v1/sys/mounts')
    expect(denied.status).toBe(403)
    const { events } = (await at.api('GET', 'sys/leasehold/audit?limit=1000')).json.data
    const recorded = events.filter(
      (event: { body: { request_id?: string } }) =>
        event.body.request_id === denied.headers['leasehold-request-id'],
    )
    expect(recorded).toHaveLength(1)
    expect(recorded[0].body).toMatchObject({
      who: { display_name: 'token-ada' },
      what: { operation: 'read', path: 'sys/mounts' },
      decision: { allowed: false },
    })
  })

  test('lists, writes and deletes as well', async () => {
    const browser = await signedIn()
    expect((await browser.visit('LIST', '/ui/v1/sys/leases/lookup')).status).toBe(404)
    expect(
      (
        await browser.visit('POST', '/ui/v1/sys/policies/acl/mine', {
          policy: 'path "x" { capabilities = ["read"] }',
        })
      ).status,
    ).toBe(204)
    expect((await browser.visit('GET', '/ui/v1/sys/policies/acl?list=true')).json.data.keys).toContain('mine')
    expect((await browser.visit('DELETE', '/ui/v1/sys/policies/acl/mine')).status).toBe(204)
  })

  test('does not lend its rights to a token in a header, nor take them from one', async () => {
    const nobody = openBrowser(at.url)
    const answer = await nobody.visit('GET', '/ui/v1/sys/mounts', undefined, { 'x-vault-token': at.root })
    expect(answer.status).toBe(401)
  })

  test('is over with its token', async () => {
    const token = await newToken({ policies: 'default' })
    const browser = await signedIn(token)
    await at.api('POST', 'auth/token/revoke', { token })
    for (const path of ['/ui/session', '/ui/v1/auth/token/lookup-self', '/ui/events']) {
      expect([path, (await browser.visit('GET', path)).status]).toEqual([path, 401])
    }
  })

  test('lasts half a day at most', async () => {
    const browser = await signedIn()
    await at.ledger.advance(12 * 3_600 + 1)
    expect((await browser.visit('GET', '/ui/session')).status).toBe(401)
  })

  test('counts no failed guess as a session: unknown cookies are nobody', async () => {
    for (const cookie of ['x', 'A'.repeat(43), '../..', `${'A'.repeat(43)}; leasehold_console=b`]) {
      const browser = openBrowser(at.url)
      browser.cookies.set('leasehold_console', cookie)
      expect((await browser.visit('GET', '/ui/session')).status).toBe(401)
    }
  })

  test('is believed from one cookie of its name alone', async () => {
    const browser = await signedIn()
    const cookie = `leasehold_console=${browser.cookies.get('leasehold_console')}`
    const twice = await browser.visit('GET', '/ui/session', undefined, { cookie: `${cookie}; ${cookie}` })
    expect(twice.status).toBe(401)
  })
})

describe('signing out', () => {
  test('ends the session for everybody who has its cookie, and leaves a typed token alone', async () => {
    const token = await newToken({ policies: 'default' })
    const browser = await signedIn(token)
    const stolen = openBrowser(at.url)
    stolen.cookies.set('leasehold_console', browser.cookies.get('leasehold_console') as string)
    const out = await browser.visit('DELETE', '/ui/session')
    expect([out.status, out.json, browser.cookies.has('leasehold_console')]).toEqual([
      200,
      { kept_token: true },
      false,
    ])
    expect((await stolen.visit('GET', '/ui/v1/auth/token/lookup-self')).status).toBe(401)
    const still = await at.api('GET', 'auth/token/lookup-self', undefined, { 'X-Vault-Token': token })
    expect(still.status).toBe(200)
  })

  test('without a session takes the cookie away all the same', async () => {
    const browser = openBrowser(at.url)
    browser.cookies.set('leasehold_console', 'A'.repeat(43))
    expect((await browser.visit('DELETE', '/ui/session')).status).toBe(401)
    expect(browser.cookies.has('leasehold_console')).toBe(false)
  })
})

describe('another site', () => {
  const foreign: [string, Record<string, string>][] = [
    ['without the header', { 'leasehold-console': '' }],
    ['with another value of it', { 'leasehold-console': 'true' }],
    ['by its own word', { 'sec-fetch-site': 'cross-site' }],
    ['of the same domain', { 'sec-fetch-site': 'same-site' }],
    ['typed in or linked', { 'sec-fetch-site': 'none' }],
  ]
  test.each(foreign)('gets nothing: %s', async (_, headers) => {
    const browser = await signedIn()
    for (const [method, path] of [
      ['GET', '/ui/v1/database/creds/app'],
      ['POST', '/ui/v1/sys/policies/acl/theirs'],
      ['DELETE', '/ui/session'],
      ['GET', '/ui/session'],
      ['POST', '/ui/session'],
      ['POST', '/ui/session/oidc'],
    ] as const) {
      const answer = await browser.visit(method, path, method === 'POST' ? {} : undefined, headers)
      expect([method, path, answer.status]).toEqual([method, path, 403])
      expect(answer.headers['set-cookie']).toBeUndefined()
    }
    expect((await browser.visit('GET', '/ui/session')).status).toBe(200)
    expect((await at.ledger.ledger.query('select from leasehold.lease')).rows).toHaveLength(0)
  })

  test('gets nothing with another Origin from a browser that does not name sites', async () => {
    const browser = await signedIn()
    const cookie = `leasehold_console=${browser.cookies.get('leasehold_console')}`
    const from = (origin: string | undefined, method = 'POST') =>
      ask(at.url, {
        path: '/ui/v1/sys/policies/acl/theirs',
        method,
        body: { policy: 'path "x" { capabilities = ["read"] }' },
        headers: { cookie, 'leasehold-console': '1', ...(origin !== undefined && { origin }) },
      })
    for (const origin of [
      'https://evil.example',
      'null',
      `${at.url}.evil.example`,
      '',
      'http://127.0.0.1:1',
    ]) {
      expect([origin, (await from(origin)).status]).toEqual([origin, 403])
    }
    expect((await from(undefined)).status).toBe(403)
    expect((await from(at.url)).status).toBe(204)
    expect((await from(at.url.toUpperCase().replace('HTTP', 'http'), 'DELETE')).status).toBe(204)
  })

  test('gets no stream of events', async () => {
    const browser = await signedIn()
    const answer = await browser.visit('GET', '/ui/events', undefined, { 'sec-fetch-site': 'cross-site' })
    expect(answer.status).toBe(403)
  })
})

test('the API itself knows no cookie', async () => {
  const browser = await signedIn()
  const cookie = `leasehold_console=${browser.cookies.get('leasehold_console')}`
  for (const path of ['/v1/sys/mounts', '/v1/auth/token/lookup-self', '/v1/ui/session', '/v1/ui/events']) {
    const answer = await ask(at.url, { path, headers: { cookie, 'leasehold-console': '1' } })
    expect([path, answer.status]).toEqual([path, 403])
  }
})

test('paths beside the console lead nowhere', async () => {
  const browser = await signedIn()
  for (const path of ['/ui/v1/', '/ui/v1/../session', '/ui/v1/%2e%2e/session', '/uix', '/ui/v1/ui/session']) {
    const { status, text } = await browser.visit('GET', path)
    expect([path, [400, 404].includes(status), text.includes('session_expires_at')]).toEqual([
      path,
      true,
      false,
    ])
  }
  const folder = await browser.visit('GET', '/ui')
  expect([folder.status, folder.headers.location]).toEqual([308, '/ui/'])
})

test('a body that cannot be read is refused as everywhere', async () => {
  const browser = openBrowser(at.url)
  expect((await browser.visit('POST', '/ui/session', ['x'])).status).toBe(400)
  expect((await browser.visit('POST', '/ui/session', 'x'.repeat(2_000_000))).status).toBe(413)
  expect((await browser.visit('PUT', '/ui/session', {})).status).toBe(405)
})

import { request } from 'node:http'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type AccessWorld, openAccessWorld } from './break-glass-access-world.ts'
import { ask, openBrowser, type StreamEvent } from './console-world.ts'

/** Each test is what another site, a neighbour's host or a colleague may try on the console; it passes where it fails. */

let at: AccessWorld
beforeAll(async () => {
  at = await openAccessWorld({ max_live: 50 })
})
afterAll(() => at.close())

const COOKIE = 'leasehold_console'

async function signedIn(token: string) {
  const browser = openBrowser(at.url)
  expect((await browser.signIn(token)).status).toBe(200)
  return { browser, cookie: `${COOKIE}=${browser.cookies.get(COOKIE)}` }
}

/** As a form of another site sends it: no header of ours, no JSON. */
function post(path: string, headers: Record<string, string>, body: string): Promise<number> {
  return new Promise((resolve, reject) => {
    const sent = request(`${at.url}${path}`, { method: 'POST', headers, agent: false }, (res) => {
      res.resume()
      resolve(res.statusCode ?? 0)
    })
    sent.once('error', reject)
    sent.end(body)
  })
}

describe('a script in the page', () => {
  test('never gets at the token that the cookie keeps from it, nor at another one', async () => {
    const { browser } = await signedIn(at.ann.token)
    for (const [method, path] of [
      ['GET', 'auth/token/lookup-self'],
      ['POST', 'auth/token/renew-self'],
      ['POST', 'auth/token/create'],
      ['GET', '%61uth/token/lookup-self'],
    ] as const) {
      const answer = await browser.visit(method, `/ui/v1/${path}`)
      expect([403, 404], `${method} ${path}`).toContain(answer.status)
      expect(JSON.stringify(answer)).not.toContain(at.ann.token)
    }
  })
})

describe('another site', () => {
  test('votes, signs in and signs out by no form of its own, even if the cookie came along', async () => {
    const { cookie, browser } = await signedIn(at.ann.token)
    const { id, plan_hash } = await at.ask()
    const bodies = [
      ['application/x-www-form-urlencoded', `plan_hash=${plan_hash}`],
      ['text/plain', JSON.stringify({ plan_hash })],
      [
        'multipart/form-data; boundary=x',
        `--x\r\ncontent-disposition: form-data; name="plan_hash"\r\n\r\n${plan_hash}\r\n--x--`,
      ],
      ['application/json', JSON.stringify({ plan_hash })],
    ] as const
    for (const path of [`/ui/v1/break-glass/requests/${id}/approve`, '/ui/session', '/ui/session/oidc']) {
      for (const [type, body] of bodies) {
        for (const from of [
          {},
          { origin: 'https://evil.example', 'sec-fetch-site': 'cross-site' },
          { origin: 'null' },
          { 'sec-fetch-site': 'same-site', 'leasehold-console': '1' },
          { origin: 'https://evil.example', 'leasehold-console': '1' },
          { 'leasehold-console': '1' },
        ]) {
          const headers = Object.fromEntries(Object.entries(from).filter(([, value]) => value !== undefined))
          const status = await post(path, { cookie, 'content-type': type, ...headers }, body)
          expect(status, `${path} ${type} ${JSON.stringify(from)}`).toBe(403)
        }
      }
    }
    expect((await at.look(id)).votes).toEqual([])
    expect((await browser.visit('GET', '/ui/session')).status).toBe(200)
  })

  test('that takes our address under its own name has nobody’s session there', async () => {
    const evil = { host: 'evil.example', origin: 'http://evil.example', 'sec-fetch-site': 'same-origin' }
    const headers = { ...evil, 'leasehold-console': '1' }
    for (const path of ['/ui/session', '/ui/v1/sys/leasehold/leases', '/ui/events']) {
      expect((await ask(at.url, { path, headers })).status, path).toBe(401)
    }
    const begun = await ask(at.url, {
      path: '/ui/session/oidc',
      method: 'POST',
      headers,
      body: { mount: 'oidc/', role: 'console' },
    })
    expect(begun.status).toBeGreaterThan(399)
    expect(begun.headers['set-cookie']).toBeUndefined()
  })

  test('finishes no sign-in that this browser did not begin, and sends nobody elsewhere', async () => {
    const flow = (fields: object) =>
      `${COOKIE}_oidc=${Buffer.from(
        JSON.stringify({ nonce: 'n', mount: 'oidc/', role: 'r', returnTo: '/ui/', secure: false, ...fields }),
      ).toString('base64url')}`
    for (const cookie of [
      '',
      flow({}),
      flow({ returnTo: '//evil.example/' }),
      flow({ returnTo: '/ui/\\evil.example' }),
      flow({ mount: '../../sys/' }),
      flow({ mount: 'oidc/?x=' }),
      flow({ role: '"><script>alert(1)</script>' }),
    ]) {
      const answer = await ask(at.url, {
        path: '/ui/oidc/callback?state=stolen&code=stolen&error=%3Cscript%3Ealert(1)%3C/script%3E',
        headers: { cookie, 'sec-fetch-site': 'cross-site' },
      })
      expect(answer.status).toBeGreaterThan(399)
      expect(answer.text).not.toMatch(/<script|evil\.example/)
      expect(answer.headers['set-cookie']?.some((line) => line.startsWith(`${COOKIE}=`)) ?? false).toBe(false)
      expect(answer.headers['content-security-policy']).toMatch("default-src 'none'")
    }
  })
})

describe('paths', () => {
  test('with encoded dots and slashes lead to nothing but pages and the API', async () => {
    const { browser } = await signedIn(at.rita.token)
    for (const path of [
      '/ui/..%2f..%2fpackage.json',
      '/ui/%2e%2e/%2e%2e/package.json',
      '/ui/assets/..%2f..%2fpackage.json',
      '/ui/assets/%2e%2e%2fsecret.txt',
      '/ui/....//package.json',
      '/ui/v1/..%2f..%2fui/session',
      '/ui/v1/%2e%2e/sys/health',
      '/ui/v1//../session',
      '/ui//v1/sys/leasehold/leases',
      '/UI/v1/sys/mounts',
    ]) {
      const answer = await browser.visit('GET', path)
      expect(answer.text, path).not.toMatch(/"dependencies"|"leases"|display_name|not for the web/)
    }
    for (const path of ['break-glass/policies/db', 'break-glass//policies/db', 'break-glass/%70olicies/db']) {
      expect((await browser.visit('POST', `/ui/v1/${path}`, { roles: ['*'] })).status, path).toBe(403)
    }
  })
})

describe('a colleague', () => {
  test('learns of no request that is none of theirs by the stream', async () => {
    const { browser } = await signedIn((await at.people.person('passer-by')).token)
    const stream = await browser.follow()
    await stream.next(({ event }) => event === 'hello')
    const { id } = await at.ask()
    const isOfGrants = ({ event, data }: StreamEvent) => event === 'change' && data.topic === 'grants'
    const told = await stream.next(isOfGrants)
    expect(JSON.stringify(told.data)).not.toContain(id)
    expect((await browser.visit('GET', `/ui/v1/break-glass/requests/${id}`)).status).toBe(404)
    stream.close()
  })

  test('who was signed out everywhere votes by no open page', async () => {
    const ann = await at.people.person('ann-twice', { groups: ['oncall'] })
    const { browser } = await signedIn(ann.token)
    const { id, plan_hash } = await at.ask()
    await at.api('POST', 'auth/token/revoke-accessor', { accessor: ann.accessor })
    const vote = await browser.visit('POST', `/ui/v1/break-glass/requests/${id}/approve`, { plan_hash })
    expect(vote.status).toBe(401)
    expect((await at.look(id)).votes).toEqual([])
  })

  test('gets back what they wrote as text, and never as a page', async () => {
    const { browser } = await signedIn(at.rita.token)
    const markup = '<script>alert(1)</script>"\'`{{7*7}} <img src=x onerror=alert(1)> \u202e and more'
    const asked = await browser.visit('POST', '/ui/v1/break-glass/requests', {
      ...{ policy: 'db', roles: ['database/creds/app'], reason: markup, ticket: '<b>INC</b>' },
    })
    expect(asked.status).toBe(200)
    expect(asked.headers['content-type']).toMatch('application/json')
    expect(asked.headers['x-content-type-options']).toBe('nosniff')
    expect(asked.json.data.reason).toBe(markup)
    await browser.visit('POST', `/ui/v1/break-glass/requests/${asked.json.data.id}/cancel`, {})
  })

  test('sends nothing that the server cannot keep', async () => {
    const { browser } = await signedIn(at.rita.token)
    const texts = [
      'nul \u0000 in the middle of a reason',
      `lone \ud800 surrogate in the reason`,
      'x'.repeat(2_001),
    ]
    for (const reason of texts) {
      const asked = await browser.visit('POST', '/ui/v1/break-glass/requests', {
        ...{ policy: 'db', roles: ['database/creds/app'], reason },
      })
      expect(asked.status, JSON.stringify(reason.slice(0, 40))).toBe(400)
    }
    const { id, plan_hash } = await at.ask()
    const vote = await at.act(at.ann, id, 'approve', { plan_hash, comment: 'nul \u0000 here' })
    expect(vote.status).toBe(400)
    expect((await at.look(id)).votes).toEqual([])
  })
})

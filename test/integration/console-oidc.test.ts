import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { safeReturn } from '../../src/http/console-oidc.ts'
import type { OidcWorld } from './auth-oidc-world.ts'
import { openOidcWorld } from './auth-oidc-world.ts'
import { type Browser, openBrowser } from './console-world.ts'

let world: OidcWorld
let redirectUri: string
beforeAll(async () => {
  world = await openOidcWorld()
  redirectUri = `${world.at.url}/ui/oidc/callback`
  await world.role('console', { allowed_redirect_uris: redirectUri, token_policies: 'default,borrower' })
  const policy = `path "database/creds/app" { capabilities = ["read"] }
    path "auth/token/create" { capabilities = ["update"] }`
  await world.at.api('POST', 'sys/policies/acl/borrower', { policy })
})
afterAll(() => world.close())

const begin = (browser: Browser, fields: object = {}) =>
  browser.visit('POST', '/ui/session/oidc', { role: 'console', ...fields })

/** As the person with this browser, to the provider and back; answers where the provider sends them. */
async function atProvider(authUrl: string, name = 'alice'): Promise<string> {
  const { pathname, search } = await world.provider.signIn(authUrl, { name })
  return `${pathname}${search}`
}

const FROM_PROVIDER = { 'leasehold-console': '', 'sec-fetch-site': 'cross-site' }
const back = (browser: Browser, path: string) => browser.visit('GET', path, undefined, FROM_PROVIDER)

async function signIn(browser: Browser, fields: object = {}, name = 'alice') {
  const begun = await begin(browser, fields)
  if (begun.status !== 200) throw new Error(`${begun.status} ${begun.text}`)
  return back(browser, await atProvider(begun.json.auth_url, name))
}

describe('a person signs in at the provider', () => {
  test('and comes back to the page they wanted, known by name and groups', async () => {
    const browser = openBrowser(world.at.url)
    const answer = await signIn(browser, { return_to: '/ui/approvals/abc?tab=1#x' })
    expect([answer.status, answer.headers['content-type']]).toEqual([200, 'text/html; charset=utf-8'])
    expect(answer.text).toContain('content="0; url=/ui/approvals/abc?tab=1#x"')
    expect(answer.text).not.toContain('<script')
    expect(answer.headers['content-security-policy']).toContain("default-src 'none'")
    const who = (await browser.visit('GET', '/ui/session')).json
    expect(who).toMatchObject({
      kind: 'human',
      mount: 'auth/oidc/',
      subject: 'alice',
      groups: ['ops', 'dba'],
      signed_in_by: 'oidc',
      oidc: { mount: 'oidc/', role: 'console' },
      root: false,
      may: { leases: false, break_glass: false },
    })
    expect(answer.text).not.toMatch(/lh\.[0-9A-Za-z]{20}/)
  })

  test('the way back is open to the browser alone that began it', async () => {
    const [alice, mallory] = [openBrowser(world.at.url), openBrowser(world.at.url)]
    const begun = await begin(alice)
    const callback = await atProvider(begun.json.auth_url)
    const stolen = await back(mallory, callback)
    expect([stolen.status, mallory.cookies.size]).toEqual([400, 0])
    await begin(mallory)
    expect((await back(mallory, callback)).status).toBeGreaterThanOrEqual(400)
    expect(mallory.cookies.has('leasehold_console')).toBe(false)
  })

  test('the way back is gone once', async () => {
    const browser = openBrowser(world.at.url)
    const begun = await begin(browser)
    const flow = browser.cookies.get('leasehold_console_oidc') as string
    const callback = await atProvider(begun.json.auth_url)
    expect((await back(browser, callback)).status).toBe(200)
    browser.cookies.set('leasehold_console_oidc', flow)
    expect((await back(browser, callback)).status).toBeGreaterThanOrEqual(400)
  })

  test('its cookies are what they have to be', async () => {
    const browser = openBrowser(world.at.url)
    const begun = await begin(browser)
    expect(begun.headers['set-cookie']?.[0]).toMatch(
      /^leasehold_console_oidc=[\w-]+; Path=\/ui\/oidc\/; HttpOnly; SameSite=Lax; Max-Age=600$/,
    )
    const done = await back(browser, await atProvider(begun.json.auth_url))
    expect(done.headers['set-cookie']).toEqual([
      'leasehold_console_oidc=; Path=/ui/oidc/; HttpOnly; SameSite=Lax; Max-Age=0',
      expect.stringMatching(/^leasehold_console=[\w-]{43}; Path=\/ui\/; HttpOnly; SameSite=Strict$/),
    ])
  })

  test('anew, when a vote asks for it, and the session before is over', async () => {
    const browser = openBrowser(world.at.url)
    await signIn(browser)
    const before = openBrowser(world.at.url)
    before.cookies.set('leasehold_console', browser.cookies.get('leasehold_console') as string)
    const begun = await begin(browser, { fresh: true })
    const { searchParams } = new URL(begun.json.auth_url)
    expect([searchParams.get('prompt'), searchParams.get('max_age')]).toEqual(['login', '0'])
    expect((await back(browser, await atProvider(begun.json.auth_url))).status).toBe(200)
    expect((await before.visit('GET', '/ui/session')).status).toBe(401)
    expect((await browser.visit('GET', '/ui/session')).json.auth_time).not.toBeNull()
  })

  test.each([
    ['', false, false],
    ['', true, true],
    ['?revoke=true', true, false],
    ['?revoke=false', false, true],
  ])('and out by DELETE /ui/session%s, with a lease: %s, token kept: %s', async (query, withLease, kept) => {
    const browser = openBrowser(world.at.url)
    await signIn(browser)
    if (withLease) {
      const lease = await browser.visit('GET', '/ui/v1/database/creds/app')
      expect(lease.status).toBe(200)
    }
    const { accessor, ends_leases } = (await browser.visit('GET', '/ui/session')).json
    expect(ends_leases).toBe(withLease ? 1 : 0)
    const out = await browser.visit('DELETE', `/ui/session${query}`)
    expect([out.status, out.json, browser.cookies.has('leasehold_console')]).toEqual([
      200,
      { kept_token: kept },
      false,
    ])
    const looked = await world.at.api('POST', 'auth/token/lookup-accessor', { accessor })
    expect(looked.status === 200).toBe(kept)
  })

  test('and is not signed out by a word that is neither yes nor no', async () => {
    const browser = openBrowser(world.at.url)
    await signIn(browser)
    expect((await browser.visit('DELETE', '/ui/session?revoke=maybe')).status).toBe(400)
    expect((await browser.visit('GET', '/ui/session')).status).toBe(200)
  })
})

describe('a sign-in that fails says so on a page', () => {
  test('when the person says no', async () => {
    const browser = openBrowser(world.at.url)
    const begun = await begin(browser)
    const { pathname, search } = await world.provider.signIn(begun.json.auth_url, {
      name: 'alice',
      denies: true,
    })
    const answer = await back(browser, `${pathname}${search}`)
    expect([answer.status, answer.text.includes('The sign-in failed')]).toEqual([400, true])
    expect(browser.cookies.has('leasehold_console')).toBe(false)
  })

  test('and shows markup as text', async () => {
    const browser = openBrowser(world.at.url)
    await begin(browser)
    const query = new URLSearchParams({
      state: '<script>alert(1)</script>',
      code: '"><img src=x>',
      error: '<b>',
    })
    const answer = await back(browser, `/ui/oidc/callback?${query}`)
    expect(answer.status).toBe(400)
    expect(answer.text).not.toMatch(/<script|<img|<b>/)
  })

  test('before it begins, when the role does not allow the address', async () => {
    const answer = await begin(openBrowser(world.at.url), { role: 'people' })
    expect([answer.status, answer.json.errors[0]]).toEqual([400, expect.stringContaining(redirectUri)])
  })
})

test('the sign-in page knows which ways there are', async () => {
  const { status, json } = await openBrowser(world.at.url).visit('GET', '/ui/session/methods')
  expect([status, json.token, json.oidc]).toEqual([
    200,
    true,
    [{ mount: 'oidc/', path: 'auth/oidc/', description: '', default_role: 'people' }],
  ])
})

test.each([
  ['/ui/leases?state=active#top', '/ui/leases?state=active#top'],
  ['/ui/', '/ui/'],
  ['', '/ui/'],
  ['https://evil.example/ui/', '/ui/'],
  ['//evil.example/ui/', '/ui/'],
  ['/ui//evil.example', '/ui//evil.example'],
  ['/ui/../v1/sys/mounts', '/ui/'],
  ['/ui/%2e%2e/v1/sys/mounts', '/ui/'],
  ['/ui/\\..\\..\\evil', '/ui/'],
  ['\\\\evil.example', '/ui/'],
  ['javascript:alert(1)', '/ui/'],
  ['/ui/v1/database/creds/app', '/ui/'],
  ['/ui/session', '/ui/'],
  ['/ui/oidc/callback?code=1', '/ui/'],
  ['/ui/\u0000x', '/ui/%00x'],
  ['/v1/sys/mounts', '/ui/'],
])('coming back to %j leads to %s', (asked, led) => {
  expect(safeReturn(asked)).toBe(led)
})

import { afterAll, beforeAll, expect, test } from 'vitest'
import { openTestBroker, type TestBroker } from '../support/broker.ts'
import { openPeople, type People } from '../support/glass-people.ts'
import { type KeyWorld, ORIGIN, openKeyWorld } from './auth-webauthn-world.ts'
import { openBrowser } from './console-world.ts'

let at: TestBroker
let people: People
let keys: KeyWorld
beforeAll(async () => {
  at = await openTestBroker()
  people = await openPeople(at)
  keys = await openKeyWorld(at)
})
afterAll(() => at.close())

const enrolled = async (name: string) =>
  keys.enrol(await people.person(name, { policies: ['keys'], metadata: { role: 'people' } }))

async function signedIn(name: string) {
  const { key, id } = await enrolled(name)
  const browser = openBrowser(at.url)
  const begun = await browser.visit('POST', '/ui/session/webauthn/begin', {})
  const credential = key.get(begun.json.data.options)
  const finished = await browser.visit('POST', '/ui/session/webauthn/finish', { credential })
  expect([begun.status, finished.status, finished.json]).toEqual([200, 200, { signed_in: true }])
  return { browser, key, id }
}

test('the sign-in page says where keys work', async () => {
  const { json } = await openBrowser(at.url).visit('GET', '/ui/session/methods')
  expect(json.webauthn).toEqual([
    { mount: 'webauthn/', path: 'auth/webauthn/', description: '', origins: [ORIGIN] },
  ])
})

test('a key begins a session, which knows how it began and ends with its token', async () => {
  const { browser, key, id } = await signedIn('ada')
  const { json } = await browser.visit('GET', '/ui/session')
  expect(json).toMatchObject({
    ...{ signed_in_by: 'webauthn', webauthn: { mount: 'webauthn/' }, oidc: null },
    ...{ subject: 'ada', kind: 'human', mount: 'auth/webauthn/', amr: ['hwk', 'user', 'mfa'] },
  })
  const { json: listed } = await browser.visit('GET', '/ui/v1/auth/webauthn/keys?list=true')
  expect(listed.data.keys).toEqual([id])
  const [before] = [...browser.cookies.values()]
  const again = key.get((await browser.visit('POST', '/ui/session/webauthn/begin', {})).json.data.options)
  await browser.visit('POST', '/ui/session/webauthn/finish', { credential: again })
  expect([...browser.cookies.values()]).not.toEqual([before])
  const live = async () => {
    const { rows } = await at.ledger.ledger.query(
      `select from leasehold.token where path = 'auth/webauthn/login/finish' and ended_at is null`,
    )
    return rows.length
  }
  const standing = await live()
  expect((await browser.visit('DELETE', '/ui/session')).json).toEqual({ kept_token: false })
  expect(await live()).toBe(standing - 1)
})

test('a page gets no token out of it, nor anything else below auth/ but what is about its own keys', async () => {
  const { browser, key, id } = await signedIn('bea')
  const { json } = await browser.visit('POST', '/ui/session/webauthn/begin', {})
  const credential = key.get(json.data.options)
  for (const [method, path] of [
    ['POST', 'login/finish'],
    ['POST', 'login/begin'],
    ['GET', 'config'],
    ['GET', 'key-owners?list=true'],
  ]) {
    const answer = await browser.visit(method ?? '', `/ui/v1/auth/webauthn/${path}`, { credential })
    expect([path, answer.status], answer.text).toEqual([path, expect.toSatisfy((status) => status >= 400)])
    expect(answer.text).not.toContain('lh.')
  }
  expect((await browser.visit('GET', `/ui/v1/auth/webauthn/keys/${id}`)).status).toBe(200)
})

test('another site begins no session, by whatever key', async () => {
  const { key } = await enrolled('cas')
  const browser = openBrowser(at.url)
  const credential = key.get(await keys.begin())
  const foreign = [{ 'leasehold-console': '' }, { 'sec-fetch-site': 'cross-site' }]
  for (const headers of foreign) {
    const answer = await browser.visit('POST', '/ui/session/webauthn/finish', { credential }, headers)
    expect(answer.status).toBe(403)
  }
  expect((await browser.visit('GET', '/ui/session/webauthn/finish')).status).toBe(405)
  const refused = await browser.visit('POST', '/ui/session/webauthn/finish', {
    credential: 'x',
    mount: 'no/',
  })
  expect(refused.status).toBe(400)
  expect(browser.cookies.size).toBe(0)
  expect((await browser.visit('POST', '/ui/session/webauthn/finish', { credential })).status).toBe(200)
})

import type { Page } from 'playwright-core'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { DEMO } from '../../src/dev/demo-target.ts'
import { banner } from '../../src/dev/dev.ts'
import type { People } from '../../src/dev/people.ts'
import { PEOPLE_LOGIN, seatPeople } from '../../src/dev/people-access.ts'
import { EMERGENCY, GUARDED } from '../../src/dev/people-grants.ts'
import { PEOPLE, PROOFS } from '../../src/dev/people-known.ts'
import type { Identity } from '../../src/policy/principal.ts'
import { openTestBroker, type TestBroker } from '../support/broker.ts'
import {
  openBrowser,
  overflows,
  PHONE,
  pressOn,
  screenshot,
  seriousFindings,
  type TestBrowser,
} from '../support/browser.ts'
import { silent } from '../support/wire.ts'

// The sample people of embedded mode: a browser, the real provider and the real OIDC method.

let world: TestBroker
let people: People
let browser: TestBrowser

beforeAll(async () => {
  ;[world, browser] = await Promise.all([openTestBroker(), openBrowser()])
  await enrolDemo()
  people = (await seatPeople(world.broker, world.url, silent)) as People
})

afterAll(async () => {
  await browser?.close()
  await people?.stop()
  await world?.close()
})

/** What the demo database is to the sample people: the names are all that they know of it. */
async function enrolDemo(): Promise<void> {
  const { urlTemplate, admin, password, readers } = world.target
  const plugin = { plugin_name: 'postgresql-database-plugin', allowed_roles: 'demo-*' }
  const login = { connection_url: urlTemplate, username: admin, password }
  await world.api('POST', `${DEMO.mount}config/${DEMO.connection}`, { ...plugin, ...login })
  const role = { db_name: DEMO.connection, member_of: readers }
  await world.api('POST', `${DEMO.mount}roles/${DEMO.readwriteRole}`, role)
}

const REDIRECT = 'http://localhost:8250/oidc/callback'
const NONCE = 'only the one who began it knows'

async function authUrl(asked: Record<string, string> = {}): Promise<string> {
  const body = { role: PEOPLE_LOGIN.role, redirect_uri: REDIRECT, client_nonce: NONCE }
  const { json } = await world.api('POST', `${PEOPLE_LOGIN.mount}oidc/auth_url`, body)
  const url = new URL(json.data.auth_url)
  for (const [name, value] of Object.entries(asked)) url.searchParams.set(name, value)
  return url.href
}

/** What the command line does with the address that the person came back to. */
function logIn(back: URL) {
  const query = new URLSearchParams(back.searchParams)
  query.set('client_nonce', NONCE)
  return world.api('GET', `${PEOPLE_LOGIN.mount}oidc/callback?${query}`)
}

/** Where the browser is sent after `act`. Nobody listens there: the address is all that is looked at. */
async function sentBack(page: Page, act: () => Promise<unknown>): Promise<URL> {
  const [request] = await Promise.all([
    page.waitForRequest((asked) => asked.url().startsWith(REDIRECT)),
    act(),
  ])
  return new URL(request.url())
}

type Api = TestBroker['api']

/** Requests in the name of a sample person who has just signed in. */
async function signedIn(sub: string, proofId = 'code'): Promise<Api> {
  const person = PEOPLE.find((one) => one.sub === sub) as (typeof PEOPLE)[number]
  const proof = PROOFS.find(({ id }) => id === proofId) as (typeof PROOFS)[number]
  const { page, close } = await browser.open()
  await page.goto(await authUrl())
  const { json } = await logIn(await sentBack(page, () => button(page, proof.label, person.name).click()))
  await close()
  const token = { 'X-Vault-Token': json.auth.client_token }
  return (method, path, body, headers) => world.api(method, path, body, { ...token, ...headers })
}

async function identityOf(accessor: string): Promise<Identity> {
  const sql = 'select identity from leasehold.token where accessor = $1'
  const { rows } = await world.ledger.ledger.query<{ identity: Identity }>(sql, [accessor])
  return (rows[0] as { identity: Identity }).identity
}

const button = (page: Page, proof: string, name: string) =>
  page.getByRole('button', { name: `${proof} as ${name}`, exact: true })

const [ADA] = PEOPLE as [(typeof PEOPLE)[number]]
const CHOICES = PEOPLE.map((person, i) => ({
  person,
  proof: PROOFS[i % PROOFS.length] as (typeof PROOFS)[number],
}))

describe('a sample person', () => {
  test.each(CHOICES)('$person.name signs in $proof.label', async ({ person, proof }) => {
    const { page, problems, close } = await browser.open()
    await page.goto(await authUrl())
    const begun = Math.floor(Date.now() / 1_000)
    const back = await sentBack(page, () => button(page, proof.label, person.name).click())
    const { status, json } = await logIn(back)

    expect({ status, json }).toMatchObject({ status: 200, json: { auth: { policies: expect.anything() } } })
    expect(json.auth.token_policies).toEqual(['default', PEOPLE_LOGIN.policy])
    const identity = await identityOf(json.auth.accessor)
    expect(identity).toMatchObject({
      kind: 'human',
      mount: PEOPLE_LOGIN.mount,
      subject: person.sub,
      groups: person.groups,
      metadata: { name: person.name, email: person.email },
      amr: proof.amr,
      acr: proof.acr,
    })
    expect(identity.authTime).toBeGreaterThanOrEqual(begun - 1)
    expect(problems).toEqual([])
    await close()
  })

  test('is asked again each time, and may be another', async () => {
    const { page, close } = await browser.open()
    const subjects: string[] = []
    for (const [person, asked] of [
      [PEOPLE[0], {}],
      [PEOPLE[1], { prompt: 'login', max_age: '0' }],
    ] as const) {
      await page.goto(await authUrl(asked))
      const isFresh = 'max_age' in asked
      expect(await page.getByText('asks for a fresh sign-in').count()).toBe(isFresh ? 1 : 0)
      const back = await sentBack(page, () =>
        button(page, 'With a second factor', person?.name ?? '').click(),
      )
      const { json } = await logIn(back)
      subjects.push((await identityOf(json.auth.accessor)).subject)
    }
    expect(subjects).toEqual(['ada', 'ben'])
    await close()
  })

  test('may think better of it', async () => {
    const { page, close } = await browser.open()
    await page.goto(await authUrl())
    const back = await sentBack(page, () => page.getByRole('button', { name: 'Cancel' }).click())
    expect(back.searchParams.get('error')).toBe('access_denied')
    expect((await logIn(back)).status).toBe(400)
    await close()
  })

  test('needs no mouse', async () => {
    const { page, close } = await browser.open()
    await page.goto(await authUrl())
    const back = await sentBack(page, () => pressOn(page, button(page, 'With a security key', ADA.name)))
    expect((await logIn(back)).status).toBe(200)
    await close()
  })

  test.each(['light', 'dark'] as const)('can read the page, %s and on a small phone', async (colorScheme) => {
    const { page, problems, close } = await browser.open({ ...PHONE, colorScheme })
    await page.goto(await authUrl({ max_age: '0' }))
    expect(await seriousFindings(page)).toEqual([])
    expect(await overflows(page)).toBe(false)
    await screenshot(page, `people-${colorScheme}`)
    // The page that says that a sign-in is over.
    await page.goto(`${people.issuer}/interaction/unknown`)
    expect(await page.getByRole('heading', { level: 1 }).textContent()).toBe('You cannot sign in here now')
    expect(await seriousFindings(page)).toEqual([])
    expect(problems).toEqual([])
    await close()
  })
})

describe('the provider of the sample people', () => {
  test('tells nobody anything under another name than its own', async () => {
    const answer = await fetch(people.issuer.replace('127.0.0.1', 'localhost'))
    expect(answer.status).toBe(421)
  })

  test('sends nobody anywhere but back to Leasehold', async () => {
    const { page, close } = await browser.open()
    const answer = await page.goto(await authUrl({ redirect_uri: 'https://elsewhere.example/' }))
    expect(answer?.status()).toBe(400)
    expect(await page.textContent('body')).toContain('redirect_uri')
    await close()
  })
})

describe('the sample policies', () => {
  const guarded = `${DEMO.mount}creds/${GUARDED.role}`

  test.each(['ben', 'chloe', 'emil'])('%s authorizes what Ada reads of the control group', async (sub) => {
    const [ada, other] = [await signedIn('ada'), await signedIn(sub)]
    const asked = await ada('GET', guarded)
    expect(asked.json).toMatchObject({ data: null, wrap_info: { creation_path: guarded } })
    const { token, accessor } = asked.json.wrap_info
    const seen = await other('POST', 'sys/control-group/request', { accessor })
    expect(seen.json.data).toMatchObject({
      approved: false,
      request_entity: { name: 'Ada Okafor (oidc-ada)' },
    })
    expect((await ada('POST', 'sys/wrapping/unwrap', { token })).status).toBe(400)
    const agreed = await other('POST', 'sys/control-group/authorize', { accessor })
    expect(agreed.json.data).toEqual({ approved: true })
    const given = await ada('POST', 'sys/wrapping/unwrap', { token })
    expect(given.json.data).toMatchObject({ username: expect.any(String), password: expect.any(String) })
    const id = seen.json.data.request_id
    expect((await ada('POST', `break-glass/requests/${id}/end`, { reason: 'done' })).status).toBeLessThan(300)
  })

  test('the access past it is refused without an approval', async () => {
    const ada = await signedIn('ada')
    expect((await ada('GET', `${DEMO.mount}creds/${EMERGENCY.role}`)).status).toBe(403)
  })

  test('a sealed request has who asks, who witnesses and two who ratify, and somebody left to review', async () => {
    const [ada, ben] = [await signedIn('ada', 'key'), await signedIn('ben', 'key')]
    const asked = await ada('POST', 'break-glass/requests', {
      policy: EMERGENCY.policy,
      lane: 'sealed',
      roles: [`${DEMO.mount}creds/${EMERGENCY.role}`],
      reason: 'nobody else can be reached tonight',
      ticket: 'INC-7',
    })
    expect([asked.status, asked.text]).toEqual([200, expect.stringContaining('"lane":"sealed"')])
    const { id, plan_hash } = asked.json.data
    const at = `break-glass/requests/${id}`
    const find = async () => (await ada('GET', at)).json.data
    expect((await ben('POST', `${at}/witness`, { plan_hash })).status).toBeLessThan(300)
    const active = await ada('POST', `${at}/activate`, {})
    expect([active.status, active.text]).toEqual([200, expect.stringContaining('password')])

    expect((await ben('POST', `${at}/ratify`, { plan_hash })).status).toBeGreaterThanOrEqual(400)
    for (const [sub, ratification] of [
      ['chloe', 'due'],
      ['emil', 'ratified'],
    ] as const) {
      const vote = await (await signedIn(sub))('POST', `${at}/ratify`, { plan_hash })
      expect([sub, vote.status, vote.text]).toEqual([sub, 200, expect.anything()])
      expect((await find()).ratification).toBe(ratification)
    }
    await ada('POST', `${at}/end`, { reason: 'done' })
    expect((await find()).state).toBe('review_due')
    for (const [sub, mayReview] of [
      ['dana', true],
      ['emil', false],
    ] as const) {
      const { json } = await (await signedIn(sub))('GET', at)
      expect([sub, json.data.allowed.includes('review')]).toEqual([sub, mayReview])
    }
  })
})

test('what a start prints ends with the address of the console, and says who can sign in', () => {
  const running = { psqlHost: '/run', hasCluster: false, stop: async () => {}, reopenLogs: () => {} }
  const text = banner({ ...running, url: 'http://127.0.0.1:8200', hasPeople: true }, 'root')
  expect(text.trimEnd().split('\n').at(-1)?.trim()).toBe('http://127.0.0.1:8200/ui/')
  for (const { name } of PEOPLE) expect(text).toContain(name)
  const without = banner({ ...running, url: 'http://127.0.0.1:8200', hasPeople: false }, 'root')
  expect(without).not.toContain(ADA.name)
})

/** As it was before there was a control group. */
const olderPolicy = (present: string): string => {
  const from = present.indexOf('# Answers with a wrapping token')
  return present.slice(0, from) + present.slice(present.indexOf('# See who has access'))
}

describe('at the next start', () => {
  test('the mount works with the new provider, and what its owner changed stays', async () => {
    await world.api('POST', `${PEOPLE_LOGIN.mount}role/${PEOPLE_LOGIN.role}`, { token_ttl: '7m' })
    const next = await seatPeople(world.broker, world.url, silent)
    expect(next).toBeDefined()
    try {
      const { json } = await world.api('GET', `${PEOPLE_LOGIN.mount}config`)
      expect(json.data.oidc_discovery_url).toBe(next?.issuer)
      const role = await world.api('GET', `${PEOPLE_LOGIN.mount}role/${PEOPLE_LOGIN.role}`)
      expect(role.json.data.token_ttl).toBe(420)
      expect(await authUrl()).toContain(next?.issuer)
    } finally {
      await next?.stop()
    }
  })

  test('the policy is brought up to date where it is as an older version made it', async () => {
    const path = `sys/policies/acl/${PEOPLE_LOGIN.policy}`
    const text = async () => (await world.api('GET', path)).json.data.policy as string
    const startAgain = async () => (await seatPeople(world.broker, world.url, silent))?.stop()
    const present = await text()
    await world.api('PUT', path, { policy: olderPolicy(present) })
    await world.api('DELETE', `${DEMO.mount}roles/${GUARDED.role}`)
    await startAgain()
    expect(await text()).toBe(present)
    expect((await world.api('GET', `${DEMO.mount}roles/${GUARDED.role}`)).status).toBe(200)

    const theirs = `${olderPolicy(present)}# ours\n`
    await world.api('PUT', path, { policy: theirs })
    await startAgain()
    expect(await text()).toBe(theirs)
    await world.api('PUT', path, { policy: present })
  })

  test('a mount that its owner gave to another provider is left alone', async () => {
    const config = { oidc_client_id: 'ours', oidc_client_secret: 'x', skip_jwks_validation: true }
    const elsewhere = { ...config, oidc_discovery_url: 'https://idp.example' }
    await world.api('POST', `${PEOPLE_LOGIN.mount}config`, elsewhere)
    expect(await seatPeople(world.broker, world.url, silent)).toBeUndefined()
    const { json } = await world.api('GET', `${PEOPLE_LOGIN.mount}config`)
    expect(json.data.oidc_discovery_url).toBe('https://idp.example')
  })
})

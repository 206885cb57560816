import type { Page } from 'playwright-core'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { banner } from '../../src/dev/dev.ts'
import type { People } from '../../src/dev/people.ts'
import { PEOPLE_LOGIN, seatPeople } from '../../src/dev/people-access.ts'
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
  people = (await seatPeople(world.broker, world.url, silent)) as People
})

afterAll(async () => {
  await browser?.close()
  await people?.stop()
  await world?.close()
})

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

test('what a start prints ends with the address of the console, and says who can sign in', () => {
  const running = { psqlHost: '/run', hasCluster: false, stop: async () => {}, reopenLogs: () => {} }
  const text = banner({ ...running, url: 'http://127.0.0.1:8200', hasPeople: true }, 'root')
  expect(text.trimEnd().split('\n').at(-1)?.trim()).toBe('http://127.0.0.1:8200/ui/')
  for (const { name } of PEOPLE) expect(text).toContain(name)
  const without = banner({ ...running, url: 'http://127.0.0.1:8200', hasPeople: false }, 'root')
  expect(without).not.toContain(ADA.name)
})

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

  test('a mount that its owner gave to another provider is left alone', async () => {
    const config = { oidc_client_id: 'ours', oidc_client_secret: 'x', skip_jwks_validation: true }
    const elsewhere = { ...config, oidc_discovery_url: 'https://idp.example' }
    await world.api('POST', `${PEOPLE_LOGIN.mount}config`, elsewhere)
    expect(await seatPeople(world.broker, world.url, silent)).toBeUndefined()
    const { json } = await world.api('GET', `${PEOPLE_LOGIN.mount}config`)
    expect(json.data.oidc_discovery_url).toBe('https://idp.example')
  })
})

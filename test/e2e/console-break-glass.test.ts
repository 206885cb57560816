import pg from 'pg'
import type { Page } from 'playwright-core'
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest'
import { configOf } from '../integration/kubernetes-world.ts'
import { PHONE, pressOn, seriousFindings, timesInMemory, type Window } from '../support/browser.ts'
import { openTestCluster } from '../support/kubernetes-cluster.ts'
import {
  act,
  actByKeyboard,
  askByKeyboard,
  askFor,
  button,
  dialog,
  fillIn,
  heading,
  idOfRequest,
  review,
  state,
  toDecide,
} from './console-steps.ts'
import { type ConsoleWorld, openConsoleWorld, picture } from './console-world.ts'

// Emergency access from the first ask to the review, in the browsers of those who take part.

// Browsers are slow where many other tests run.
vi.setConfig({ testTimeout: 240_000 })

let world: ConsoleWorld

beforeAll(async () => {
  world = await openConsoleWorld()
})

afterAll(async () => {
  await world?.close()
})

type Part = 'User name' | 'Password' | 'Host' | 'Port' | 'Database' | 'Namespace'

/** What the dialog shows under this name. */
const partOf = (page: Page, name: Part): Promise<string> => page.getByLabel(name, { exact: true }).innerText()

async function logIn(page: Page): Promise<string> {
  const parts = ['User name', 'Password', 'Host', 'Port', 'Database'] as const
  const [user, password, host, port, database] = await Promise.all(parts.map((name) => partOf(page, name)))
  const client = new pg.Client({ user, password, host, port: Number(port), database })
  await client.connect()
  try {
    const { rows } = await client.query('update purchase set bought_at = now() where id = 1 returning id')
    return JSON.stringify(rows)
  } finally {
    await client.end()
  }
}

const close = (windows: Window[]) => Promise.all(windows.map((window) => window.close()))

describe('a requester, two approvers and a reviewer', () => {
  test('from ask to review', async () => {
    const [ada, ben, chloe, dana] = await Promise.all([
      world.signIn('Ada Okafor', { path: '/access/ask' }),
      world.signIn('Ben Santos'),
      world.signIn('Chloe Weber'),
      world.signIn('Dana Lind', { path: '/reviews' }),
    ])

    // She asks, and may not vote herself. It reaches the others' open pages by itself.
    const reason = 'Orders are stuck in the queue and have to be let go by hand'
    await fillIn(ada.page, 'shop-emergency', { minutes: 20, reason, ticket: 'INC-42' })
    expect(await seriousFindings(ada.page)).toEqual([])
    await picture(ada.page, 'ask')
    await button(ada.page, 'Ask for access').click()
    const id = await idOfRequest(ada.page)
    await heading(ada.page, 'Ada Okafor (oidc-ada): access to demo').waitFor()
    await ada.page.getByText('Approve: nobody has a vote on their own request').waitFor()
    expect(await button(ada.page, 'Approve').count()).toBe(0)
    await toDecide(ben.page, 20).waitFor()
    await picture(ben.page, 'approvals')
    await toDecide(ben.page, 20).click()

    // The first vote, after a second look that names the target, is not enough.
    await button(ben.page, 'Approve').click()
    await dialog(ben.page, 'Approve')
      .getByText(/for 20 minutes/)
      .waitFor()
    expect(await seriousFindings(ben.page)).toEqual([])
    await picture(ben.page, 'approve')
    await button(ben.page, 'Go back').click()
    await act(ben.page, 'Approve', 'Approve access to demo', { Comment: 'I see them too' })
    await ada.page.getByText('I see them too', { exact: true }).waitFor()
    expect(await button(ada.page, 'Activate access to demo').count()).toBe(0)

    await chloe.page.goto(`${world.ui}/requests/${id}`)
    await act(chloe.page, 'Approve', 'Approve access to demo')
    await button(ada.page, 'Activate access to demo').click()

    // The password is good, and once the dialog is closed it is nowhere.
    await dialog(ada.page, 'Connection details').waitFor()
    await picture(ada.page, 'credentials')
    await button(ada.page, 'Show Password').click()
    const password = await partOf(ada.page, 'Password')
    expect(await timesInMemory(ada.page, password)).toBeGreaterThan(0)
    expect(await logIn(ada.page)).toBe('[{"id":1}]')
    expect(await seriousFindings(ada.page)).toEqual([])
    await button(ada.page, 'Done, forget them').click()
    await dialog(ada.page, 'Connection details').waitFor({ state: 'hidden' })
    expect(await timesInMemory(ada.page, password)).toBe(0)
    const kept = `JSON.stringify([localStorage, sessionStorage, history.state, location.href, document.cookie])`
    expect(await ada.page.evaluate(kept)).not.toContain(password)
    await ada.page.goto('about:blank')
    await ada.page.goBack()
    await heading(ada.page).waitFor()
    expect(await ada.page.content()).not.toContain(password)

    // She gives it back; it is over when that is proved, and then somebody else has to look at it.
    expect(await seriousFindings(ada.page)).toEqual([])
    await picture(ada.page, 'request')
    await act(ada.page, 'End now', 'End access to demo')
    await state(ada.page, 'review due').waitFor()
    await dana.page.getByRole('link', { name: /oidc-ada\) asked for/ }).click()
    // Nobody finds it in order who has not opened the log; where it is said there is the focus.
    await dana.page.getByRole('radio', { name: 'It was as it should be' }).check()
    await button(dana.page, 'Sign the review').click()
    await dana.page.getByText('Open the log of the request first').waitFor()
    await dana.page.locator('input[type=checkbox]:focus').waitFor()
    expect(await seriousFindings(dana.page)).toEqual([])
    await picture(dana.page, 'review')
    await review(dana.page, 'Two orders were let go, as was said')
    await dana.page.getByText("Signed with this broker's key: checked in this browser.").waitFor()
    await state(ada.page, 'closed ok').waitFor()
    expect([ada, ben, chloe, dana].flatMap(({ problems }) => problems)).toEqual([])
    await close([ada, ben, chloe, dana])
  })
})

describe('a requester and an approver', () => {
  test('without a mouse', async () => {
    const [ada, ben] = await Promise.all([
      world.signIn('Ada Okafor', { path: '/access' }),
      world.signIn('Ben Santos'),
    ])
    await pressOn(ada.page, ada.page.getByRole('link', { name: 'Ask for access' }))
    const id = await askByKeyboard(ada.page, 'shop-change', {
      minutes: 15,
      reason: 'A planned change',
      ticket: 'CHG-7',
    })
    await pressOn(ben.page, toDecide(ben.page, 15))
    await actByKeyboard(ben.page, 'Approve', 'Approve access to demo')
    await pressOn(ada.page, button(ada.page, 'Activate access to demo'))
    await pressOn(ada.page, button(ada.page, 'Done, forget them'))
    await actByKeyboard(ada.page, 'End now', 'End access to demo')
    await state(ada.page, 'review due').waitFor()
    expect(ada.page.url()).toContain(id)
    await close([ada, ben])
  })

  test('on small phones', async () => {
    const [ada, chloe] = await Promise.all([
      world.signIn('Ada Okafor', { path: '/access/ask', ...PHONE }),
      world.signIn('Chloe Weber', PHONE),
    ])
    await askFor(ada.page, 'shop-change', { minutes: 16, reason: 'A change on the way', ticket: '' })
    await toDecide(chloe.page, 16).click()
    await act(chloe.page, 'Deny', 'Deny access to demo', { Why: 'Not on a Friday' })
    await state(ada.page, 'denied').waitFor()
    await ada.page.getByText('Not on a Friday').first().waitFor()
    await picture(ada.page, 'phone')
    await close([ada, chloe])
  })
})

test('a role of a cluster is asked for in one of its namespaces, and had anew where it could not be made to last', async () => {
  const cluster = await openTestCluster({ own: true })
  const [shop, bank] = [await cluster.namespace(), await cluster.namespace()]
  const { target_owners: _, ...like } = await world.root('GET', 'break-glass/policies/shop-change')
  await world.root('POST', 'sys/mounts/prod', { type: 'kubernetes' })
  await world.root('POST', 'prod/config', configOf(cluster))
  const role = { allowed_kubernetes_namespaces: [shop, bank], service_account_name: 'default' }
  await world.root('POST', 'prod/roles/debug', role)
  const policy = { ...like, name: undefined, version: undefined, roles: ['prod/creds/*'] }
  await world.root('POST', 'break-glass/policies/cluster-change', policy)
  const [ada, ben] = await Promise.all([
    world.signIn('Ada Okafor', { path: '/access/ask' }),
    world.signIn('Ben Santos'),
  ])

  // What is missing is said at the field, which has the focus then.
  await fillIn(ada.page, 'cluster-change', { minutes: 18, reason: 'Pods hang', ticket: '' })
  await button(ada.page, 'Ask for access').click()
  const where = ada.page.getByRole('combobox', { name: 'Namespace of prod/creds/debug' })
  await ada.page.getByText('Say in which namespace').waitFor()
  expect(await where.evaluate((field) => field === field.ownerDocument.activeElement)).toBe(true)
  expect(await seriousFindings(ada.page)).toEqual([])
  await where.click()
  await ada.page.getByRole('option', { name: bank }).click()
  await picture(ada.page, 'ask-namespace')
  await button(ada.page, 'Ask for access').click()
  const id = await idOfRequest(ada.page)
  await ada.page.getByText(`in the namespace ${bank}`).first().waitFor()
  await toDecide(ben.page, 18).click()
  await act(ben.page, 'Approve', 'Approve access to prod')
  await button(ada.page, 'Activate access to prod').click()
  await button(ada.page, 'Done, forget them').click()

  // As after an extension that the account could not be made to last for: the test has no time to wait for one.
  const first = (await leasesOf(id))[0]?.lease_id
  await ada.page.route(`**/break-glass/requests/${id}`, async (route) => {
    const response = await route.fetch()
    const { data, ...rest } = await response.json()
    const leases = data.leases.map((lease: { lease_id: string; state: string }) => ({
      ...lease,
      collect_anew: lease.lease_id === first && lease.state === 'active',
    }))
    await route.fulfill({ response, json: { ...rest, data: { ...data, leases } } })
  })
  await ada.page.reload()
  await ada.page.getByText('This account ends before the access does').waitFor()
  expect(await seriousFindings(ada.page)).toEqual([])
  await button(ada.page, 'Collect fresh credentials for prod/creds/debug').click()
  await dialog(ada.page, 'Connection details').waitFor()
  // The line that it was asked for at goes meanwhile, and what was given stays.
  await ada.page.getByText('This account ends before the access does').waitFor({ state: 'detached' })
  expect(await partOf(ada.page, 'Namespace')).toBe(bank)
  await button(ada.page, 'Done, forget them').click()
  expect(
    (await leasesOf(id)).filter(({ state }) => state === 'active').map(({ lease_id }) => lease_id),
  ).not.toContain(first)
  await act(ada.page, 'End now', 'End access to prod')
  expect([ada, ben].flatMap(({ problems }) => problems)).toEqual([])
  await close([ada, ben])
  await cluster.close()
})

const leasesOf = async (id: string) =>
  (await world.root<{ leases: { lease_id: string; state: string }[] }>('GET', `break-glass/requests/${id}`))
    .leases

test('a drill is begun from where it is missing, goes the whole way, opens nothing and is on the list', async () => {
  const [ada, ben, chloe] = await Promise.all([
    world.signIn('Ada Okafor', { path: '/drills' }),
    world.signIn('Ben Santos'),
    world.signIn('Chloe Weber'),
  ])
  const missing = ada.page.getByText('shop-emergency was never drilled')
  await missing.waitFor()
  await ada.page.getByRole('link', { name: 'Begin a drill of shop-emergency' }).click()
  expect(await ada.page.getByRole('radio', { name: /^Drill/ }).isChecked()).toBe(true)
  await ada.page.getByRole('textbox', { name: 'Minutes' }).fill('19')
  await ada.page.getByRole('textbox', { name: 'Reason' }).fill('The drill of this quarter')
  await button(ada.page, 'Begin the drill').click()
  const id = await idOfRequest(ada.page)
  for (const { page } of [ben, chloe]) {
    await page.goto(`${world.ui}/requests/${id}`)
    await act(page, 'Approve', 'Approve access to demo')
  }
  await button(ada.page, 'Activate access to demo').click()
  await dialog(ada.page, 'Connection details').getByText('Nothing was opened.').waitFor()
  await button(ada.page, 'Close this').click()
  await act(ada.page, 'End now', 'End access to demo')
  // With what is said in the corner.
  expect(await seriousFindings(ada.page)).toEqual([])
  await state(ada.page, 'review due').waitFor()
  await ada.page
    .getByText(/ after the ask/)
    .first()
    .waitFor()
  await ada.page.goto(`${world.ui}/drills`)
  await ada.page.getByRole('region', { name: 'Table of drills' }).getByText('shop-emergency').waitFor()
  expect(await missing.count()).toBe(0)
  expect(await seriousFindings(ada.page)).toEqual([])
  await picture(ada.page, 'drills')
  expect([ada, ben, chloe].flatMap(({ problems }) => problems)).toEqual([])
  await close([ada, ben, chloe])
})

test('who signed in without a second factor is told, signs in again, and votes', async () => {
  const [ada, ben] = await Promise.all([
    world.signIn('Ada Okafor', { path: '/access/ask' }),
    world.signIn('Ben Santos', { proof: 'Without a second factor' }),
  ])
  await askFor(ada.page, 'shop-change', { minutes: 17, reason: 'Another change', ticket: '' })
  await toDecide(ben.page, 17).click()
  await ben.page.getByText(/^Approve: .*second factor/).waitFor()
  await button(ben.page, 'Log in again to vote').click()
  await world.choose(ben, 'Ben Santos', 'With a security key')
  await act(ben.page, 'Approve', 'Approve access to demo')
  await button(ada.page, 'Activate access to demo').waitFor()
  await act(ada.page, 'Cancel the request', 'Cancel the request for demo')
  await state(ada.page, 'cancelled').waitFor()
  await close([ada, ben])
})

test('an ask that needs a better login is still filled in after it, once', async () => {
  const ada = await world.signIn('Ada Okafor', { path: '/access/ask', proof: 'Without a second factor' })
  const reason = 'The night shift cannot ship and nobody answers'
  await fillIn(ada.page, 'shop-emergency', { minutes: 10, reason, ticket: 'INC-43' })
  const sealed = ada.page.getByRole('radio', { name: /^Sealed lane/ })
  await sealed.check()
  await button(ada.page, 'Ask for access').click()
  await button(ada.page, 'Log in again to ask').click()
  await world.choose(ada, 'Ada Okafor', 'With a security key')
  const written = ada.page.getByRole('textbox', { name: 'Reason' })
  await written.waitFor()
  expect(await written.inputValue()).toBe(reason)
  expect(await sealed.isChecked()).toBe(true)
  await ada.page.reload()
  await written.waitFor()
  expect(await written.inputValue()).toBe('')
  await close([ada])
})

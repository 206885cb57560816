import type { Page } from 'playwright-core'
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest'
import { overflows, PHONE, screenshot, seriousFindings, type Window } from '../support/browser.ts'
import { act, askFor, button, dialog, fillIn, heading, review, state, toDecide } from './console-steps.ts'
import { type ConsoleWorld, openConsoleWorld, picture } from './console-world.ts'

// What must hold of every page of the console, and what becomes of them when the server goes away.

// Browsers are slow where many other tests run.
vi.setConfig({ testTimeout: 240_000 })

let world: ConsoleWorld
let lease: string
let request: string

/** Does all that markup can do without a script of the page's own, and breaks out of what it is put into. */
const MARKUP = `"'><img src=x onerror="window.hurt=1"><script>window.hurt=2</script><b>not bold</b> {{7*7}}`

beforeAll(async () => {
  world = await openConsoleWorld()
  // Something to see.
  for (let i = 0; i < 3; i += 1) await world.root('GET', 'database/creds/demo-emergency')
})

afterAll(async () => {
  await world?.close()
})

/** The text is there as it was written, and nothing has become of it. */
async function isHarmless({ page, problems }: Window, times = 1): Promise<void> {
  await page
    .getByText(MARKUP)
    .nth(times - 1)
    .waitFor()
  expect(await page.evaluate('window.hurt')).toBeUndefined()
  expect(await page.locator('main img, main b:text("not bold"), main script').count()).toBe(0)
  expect(problems).toEqual([])
}

test('markup in every text that people write is shown as it was written', async () => {
  const [ada, ben, dana] = await Promise.all([
    world.signIn('Ada Okafor', { path: '/access/ask' }),
    world.signIn('Ben Santos'),
    world.signIn('Dana Lind', { path: '/reviews' }),
  ])
  request = await askFor(ada.page, 'shop-change', { minutes: 21, reason: MARKUP, ticket: MARKUP })
  await isHarmless(ada, 2)
  await toDecide(ben.page, 21).waitFor()
  await isHarmless(ben)
  await toDecide(ben.page, 21).click()
  await act(ben.page, 'Approve', 'Approve access to demo', { Comment: MARKUP })
  await isHarmless(ben, 3)
  await button(ada.page, 'Activate access to demo').click()
  await button(ada.page, 'Done, forget them').click()
  await ada.page.getByRole('link', { name: 'database/creds/demo-emergency' }).click()
  await heading(ada.page, 'Lease').waitFor()
  lease = new URL(ada.page.url()).pathname.replace(/^\/ui/, '')
  await ada.page.goBack()
  await act(ada.page, 'End now', 'End access to demo', { Reason: MARKUP })
  await state(ada.page, 'review due').waitFor()
  await dana.page.getByRole('link', { name: /oidc-ada\) asked for/ }).click()
  await button(dana.page, 'Sign the review').waitFor()
  await review(dana.page, MARKUP)
  await state(dana.page, 'closed ok').waitFor()
  await isHarmless(dana, 3)
  await dana.page.goto(`${world.ui}/audit`)
  await heading(dana.page, 'Audit').waitFor()
  expect(await dana.page.evaluate('window.hurt')).toBeUndefined()
  expect(dana.problems).toEqual([])
  await Promise.all([ada, ben, dana].map((window) => window.close()))
})

test('a session is a cookie that no script can read, though the provider is on another site', async () => {
  const { page, problems, close } = await world.browser.open()
  const ui = world.ui.replace('127.0.0.1', 'localhost')
  await page.goto(`${ui}/access`)
  await button(page, 'Sign in with sample people').click()
  await button(page, 'With a second factor as Ada Okafor').click()
  await heading(page, 'My access').waitFor()
  expect(page.url()).toBe(`${ui}/access`)
  const cookies = await page.context().cookies(`${ui}/`)
  expect(cookies.map(({ httpOnly, sameSite }) => ({ httpOnly, sameSite }))).toEqual([
    { httpOnly: true, sameSite: 'Strict' },
  ])
  expect(await page.evaluate('document.cookie')).toBe('')
  expect(problems).toEqual([])
  await close()
})

/** Every page there is, and what is on it once it has loaded. */
const PAGES: readonly [path: () => string, name: string][] = [
  [() => '/', 'approvals'],
  [() => '/?view=all', 'all-requests'],
  [() => `/requests/${request}`, 'request'],
  [() => '/access', 'access'],
  [() => '/access/ask', 'ask'],
  [() => '/leases', 'leases'],
  [() => lease, 'lease'],
  [() => '/targets', 'targets'],
  [() => '/reviews', 'reviews'],
  [() => `/reviews?id=${request}`, 'reviewed'],
  [() => '/drills', 'drills-none'],
  [() => '/audit', 'audit'],
  [() => '/overview', 'overview'],
]

/** Nothing is on its way any more. */
async function loaded(page: Page): Promise<void> {
  await heading(page).waitFor()
  await page.getByText('Loading', { exact: true }).first().waitFor({ state: 'detached' })
}

describe.each([
  { title: 'light', options: { colorScheme: 'light' } },
  { title: 'dark, on a small phone', options: { ...PHONE, colorScheme: 'dark' } },
] as const)('every page, $title', ({ title, options }) => {
  test('can be used by everybody, and fits', async () => {
    const out = await world.browser.open(options)
    await out.page.goto(`${world.ui}/`)
    await loaded(out.page)
    expect(await seriousFindings(out.page)).toEqual([])
    await screenshot(out.page, `sign-in-${options.colorScheme}`)
    if (title === 'light') await picture(out.page, 'sign-in')
    const dana = await world.signIn('Dana Lind', options)
    const found: Record<string, unknown> = {}
    for (const [path, name] of PAGES) {
      await dana.page.goto(world.ui + path())
      await loaded(dana.page)
      await screenshot(dana.page, `${name}-${options.colorScheme}`)
      const serious = await seriousFindings(dana.page)
      const wide = await overflows(dana.page)
      if (serious.length > 0 || wide) found[name] = { serious, wide }
      if (title === 'light' && DOCUMENTED.has(name)) await picture(dana.page, name)
    }
    expect(found).toEqual({})
    expect([...out.problems, ...dana.problems]).toEqual([])
    await Promise.all([out.close(), dana.close()])
  })
})

/** Those of the pages that the guide shows, besides the steps of a request. */
const DOCUMENTED = new Set(['leases', 'lease', 'targets', 'audit', 'overview'])

test('who is on call ends several leases at once, typed out, and sees them go', async () => {
  const ben = await world.signIn('Ben Santos', { path: '/leases' })
  await ben.page.getByRole('checkbox', { name: 'Select all leases on this page' }).check()
  await ben.page.getByText('3 leases selected').waitFor()
  await button(ben.page, 'Revoke selected').click()
  const open = dialog(ben.page, 'Revoke 3 leases')
  expect(await open.getByRole('button', { name: 'Revoke 3', exact: true }).isDisabled()).toBe(true)
  await open.getByRole('textbox', { name: /^Type .* to confirm/ }).fill('revoke 3')
  expect(await seriousFindings(ben.page)).toEqual([])
  await picture(ben.page, 'revoke')
  await open.getByRole('button', { name: 'Revoke 3', exact: true }).click()
  await heading(ben.page, 'Leases').waitFor()
  await ben.page.getByRole('heading', { name: 'Revoking is done' }).waitFor()
  const left = await world.root<{ leases: unknown[] }>('GET', 'sys/leasehold/leases')
  expect(left.leases).toEqual([])
  await ben.close()
})

test('a countdown goes by the time of the server, whatever the clock of the laptop says', async () => {
  const ada = await world.signIn('Ada Okafor', { path: '/access/ask' })
  await ada.page.clock.setSystemTime(Date.now() + 3 * 3_600_000)
  await askFor(ada.page, 'shop-change', { minutes: 22, reason: 'Late', ticket: '' })
  await ada.page
    .getByRole('timer')
    .getByText(/^expires in 3:5\d:\d\d$/)
    .waitFor()
  await act(ada.page, 'Cancel the request', 'Cancel the request for demo')
  await ada.close()
})

test('a server that goes away is told of at once, and what happened meanwhile is there when it is back', async () => {
  const [ada, ben] = await Promise.all([
    world.signIn('Ada Okafor', { path: '/access/ask' }),
    world.signIn('Ben Santos'),
  ])
  await ben.page.getByText('Nothing waits for you.').waitFor()
  await button(ada.page, 'Ask for access').waitFor()
  const lost = ben.page.getByText(/^Connection lost, showing data of \d\d:\d\d:\d\d/)
  expect(await lost.count()).toBe(0)
  await world.stop()
  await lost.waitFor()
  await picture(ben.page, 'connection-lost')
  expect(await seriousFindings(ben.page)).toEqual([])
  // What was there can still be read, and what is tried says why it does not work.
  await ben.page.getByText('Nothing waits for you.').waitFor()
  await button(ada.page, 'Ask for access').waitFor()
  await fillIn(ada.page, 'shop-change', { minutes: 30, reason: 'Asked while nobody was there', ticket: '' })
  await button(ada.page, 'Ask for access').click()
  await ada.page.getByRole('alert').getByText('Not asked').waitFor()

  await world.start()
  await lost.waitFor({ state: 'detached' })
  await button(ada.page, 'Ask for access').click()
  await heading(ada.page, 'Ada Okafor (oidc-ada): access to demo').waitFor()
  await toDecide(ben.page, 30).waitFor()
  expect(await dialog(ben.page, 'Approve').count()).toBe(0)
  await Promise.all([ada.close(), ben.close()])
})

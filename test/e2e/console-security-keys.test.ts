import type { Page } from 'playwright-core'
import { afterAll, beforeAll, expect, test, vi } from 'vitest'
import type { People } from '../../src/dev/people.ts'
import { seatPeople } from '../../src/dev/people-access.ts'
import { keysOrigin } from '../../src/dev/people-keys.ts'
import { openTestBroker, type TestBroker } from '../support/broker.ts'
import { openBrowser, seriousFindings, type TestBrowser, type Window } from '../support/browser.ts'
import { built } from '../support/built.ts'
import { silent } from '../support/wire.ts'
import { act, button, dialog, heading, idOfRequest, state } from './console-steps.ts'
import { picture } from './console-world.ts'

// The identity provider goes down, and what people have left is the keys that they enrolled while it was up.

vi.setConfig({ testTimeout: 240_000, hookTimeout: 240_000 })

let at: TestBroker
let people: People | undefined
let browser: TestBrowser
let ui: string

const SHARED = { groups: [], subjects: [] }
const setOf = (group: string) => ({ ...SHARED, groups: [group] })

beforeAll(async () => {
  built('console/index.html')
  ;[at, browser] = await Promise.all([openTestBroker({ worker: true }), openBrowser()])
  people = await seatPeople(at.broker, at.url, silent)
  ui = `${keysOrigin(at.url)}/ui`
  await at.api('POST', 'database/roles/app', { db_name: 'db', member_of: at.target.readers })
  const { text } = await at.api('POST', 'break-glass/policies/shop', {
    roles: ['database/creds/*'],
    requesters: { groups: ['engineering'] },
    sets: { oncall: setOf('security-oncall'), owner: setOf('service-owner') },
    approvals: { all_of: [{ set: 'oncall' }, { set: 'owner' }] },
    reviewers: ['oncall'],
    sealed: true,
  })
  expect(text).toBe('')
})

afterAll(async () => {
  await browser?.close()
  await people?.stop()
  await at?.close()
})

/** A key in the browser's port, that its owner touches whenever it blinks. */
async function plugIn(page: Page): Promise<void> {
  const session = await page.context().newCDPSession(page)
  await session.send('WebAuthn.enable')
  await session.send('WebAuthn.addVirtualAuthenticator', {
    options: {
      ...{ protocol: 'ctap2', transport: 'usb', hasResidentKey: true, hasUserVerification: true },
      ...{ isUserVerified: true, automaticPresenceSimulation: true },
    },
  })
}

const account = (page: Page) => page.getByRole('button', { name: /^Account of / })

async function signedIn(name: string): Promise<Window> {
  const window = await browser.open()
  const { page } = window
  await plugIn(page)
  await page.goto(`${ui}/security-keys`)
  await page.getByRole('button', { name: /^Sign in with sample people/ }).click()
  await button(page, `With a second factor as ${name}`).click()
  await account(page).waitFor()
  return window
}

async function enrol({ page }: Window, name: string): Promise<void> {
  await page.getByRole('textbox', { name: 'What you call the new key' }).fill(name)
  await button(page, 'Add a security key').click()
  await page.getByRole('listitem').filter({ hasText: name }).waitFor()
}

async function signOut({ page }: Window): Promise<void> {
  await account(page).click()
  await button(page, 'Sign out').click()
  await button(page, 'Sign in with a security key').waitFor()
}

async function signInByKey({ page }: Window): Promise<void> {
  await button(page, 'Sign in with a security key').click()
  await account(page).waitFor()
}

test('two people who enrolled keys ask and witness by them once the provider is down', async () => {
  const [ada, ben] = await Promise.all([signedIn('Ada Okafor'), signedIn('Ben Santos')])
  await enrol(ada, 'blue one')
  await enrol(ben, 'old one')
  expect(await seriousFindings(ada.page)).toEqual([])
  await picture(ada.page, 'security-keys')
  await signOut(ada)
  await signOut(ben)
  const { issuer = '' } = people ?? {}
  await people?.stop()
  people = undefined
  await expect(fetch(`${issuer}/.well-known/openid-configuration`)).rejects.toThrow()

  await signInByKey(ada)
  await signInByKey(ben)
  await account(ada.page).click()
  await ada.page.getByText('In engineering', { exact: true }).waitFor()
  await ada.page.keyboard.press('Escape')

  await ada.page.goto(`${ui}/access/ask`)
  const reason = 'Nobody can log in, and the queue has to be let go by hand'
  await ada.page.getByRole('radio', { name: /^Sealed lane/ }).check()
  for (const [name, text] of Object.entries({ Minutes: '10', Reason: reason, Ticket: 'INC-7' })) {
    await ada.page.getByRole('textbox', { name }).fill(text)
  }
  await button(ada.page, 'Ask for access').click()
  const id = await idOfRequest(ada.page)

  await ben.page.goto(`${ui}/requests/${id}`)
  await act(ben.page, 'Witness', 'Witness access to db')
  await button(ada.page, 'Activate access to db').click()
  await dialog(ada.page, 'Connection details').waitFor()
  await button(ada.page, 'Done, forget them').click()
  await act(ada.page, 'End now', 'End access to db')
  await state(ada.page, 'review due').waitFor()
  expect([...ada.problems, ...ben.problems]).toEqual([])
  await Promise.all([ada.close(), ben.close()])
})

test('a key that is renamed and removed is gone, with the session that it began; and one cannot vouch for another', async () => {
  people = await seatPeople(at.broker, at.url, silent)
  const dana = await signedIn('Dana Lind')
  const { page } = dana
  await enrol(dana, 'lost one')
  await button(page, 'Rename lost one').click()
  await page.getByRole('textbox', { name: 'Name', exact: true }).fill('red one')
  await button(page, 'Save').click()
  await page.getByRole('listitem').filter({ hasText: 'red one' }).waitFor()
  await signOut(dana)
  await signInByKey(dana)
  await page.goto(`${ui}/security-keys`)
  await page.getByText('a key cannot vouch for another').waitFor()
  await button(page, 'Remove red one').click()
  await page.getByRole('textbox', { name: 'Type red one to confirm' }).fill('red one')
  await button(page, 'Remove the key').click()
  await heading(page, 'Sign in to Leasehold').waitFor()
  await button(page, 'Sign in with a security key').click()
  await page.getByRole('alert').waitFor()
  expect(dana.problems).toEqual([])
  await dana.close()
})

test('a page at an address where browsers know no keys says where they work', async () => {
  const { page, close } = await browser.open()
  await page.goto(`${at.url}/ui/`)
  await page.getByRole('link', { name: `${ui}/` }).waitFor()
  expect(await button(page, 'Sign in with a security key').count()).toBe(0)
  await close()
})

import type { Page } from 'playwright-core'
import { pressOn, tabTo } from '../support/browser.ts'

/** What people do in the console, as they see it: by the names that buttons and fields have. */

/** By its whole name: "Approve" is not "Approve more time". */
export const button = (page: Page, name: string) => page.getByRole('button', { name, exact: true })

export const dialog = (page: Page, name: string) => page.getByRole('dialog', { name, exact: true })

export const heading = (page: Page, name?: string) =>
  page.getByRole('heading', { level: 1, ...(name !== undefined && { name, exact: true }) })

/** In the inbox, known by how long access was asked for. */
export const toDecide = (page: Page, minutes: number) =>
  page.getByRole('link', { name: new RegExp(`^Look and decide: .* for ${minutes} minutes$`) })

/** The badge beside the countdown, which is first on the page of a request. */
export const state = (page: Page, name: string) =>
  page.locator('main').getByText(name, { exact: true }).first()

export type Ask = { minutes: number; reason: string; ticket: string }

/** Fills in the form at `/access/ask`. */
export async function fillIn(page: Page, policy: string, ask: Ask): Promise<void> {
  await page.getByRole('combobox', { name: 'Policy' }).click()
  await page.getByRole('option', { name: new RegExp(`^${policy} `) }).click()
  for (const [name, text] of fieldsOf(ask)) await page.getByRole('textbox', { name }).fill(text)
}

/** Fills in and sends the form, and waits for the page of the request. Answers its id. */
export async function askFor(page: Page, policy: string, ask: Ask): Promise<string> {
  await fillIn(page, policy, ask)
  await button(page, 'Ask for access').click()
  return idOfRequest(page)
}

/** As `askFor`, by somebody without a mouse. */
export async function askByKeyboard(page: Page, policy: string, ask: Ask): Promise<string> {
  await pressOn(page, page.getByRole('combobox', { name: 'Policy' }))
  await page.getByRole('option', { name: new RegExp(`^${policy} `) }).waitFor()
  await page.keyboard.press('ArrowDown')
  await page.keyboard.press('Enter')
  for (const [name, text] of fieldsOf(ask)) {
    await tabTo(page, page.getByRole('textbox', { name }))
    await page.keyboard.press('Control+A')
    await page.keyboard.type(text)
  }
  await pressOn(page, button(page, 'Ask for access'))
  return idOfRequest(page)
}

const fieldsOf = ({ minutes, reason, ticket }: Ask): [string, string][] => [
  ['Minutes', String(minutes)],
  ['Reason', reason],
  ['Ticket', ticket],
]

export async function idOfRequest(page: Page): Promise<string> {
  await page.waitForURL(/\/requests\//)
  return new URL(page.url()).pathname.split('/').at(-1) ?? ''
}

/** Opens the action's dialog, writes what it asks for, and confirms. */
export async function act(
  page: Page,
  label: string,
  confirm: string,
  texts: Record<string, string> = {},
): Promise<void> {
  await button(page, label).click()
  const open = dialog(page, label)
  for (const [name, text] of Object.entries(texts)) await open.getByRole('textbox', { name }).fill(text)
  await open.getByRole('button', { name: confirm, exact: true }).click()
  await open.waitFor({ state: 'hidden' })
}

/** As `act`, by somebody without a mouse. */
export async function actByKeyboard(page: Page, label: string, confirm: string): Promise<void> {
  await pressOn(page, button(page, label))
  const open = dialog(page, label)
  await pressOn(page, open.getByRole('button', { name: confirm, exact: true }))
  await open.waitFor({ state: 'hidden' })
}

const LOOKED_AT = [
  'What was done matches the reason that was given',
  'The ticket is true, and this is what it was about',
  'I looked at which data was touched',
  'Follow-up is arranged, or none is needed',
]

/** Opens the log of the request, ticks all there is to look at, and signs that it was as it should be. */
export async function review(page: Page, note: string): Promise<void> {
  await page.getByRole('button', { name: /events, from the ask on$/ }).click()
  for (const name of LOOKED_AT) await page.getByRole('checkbox', { name }).check()
  await page.getByRole('radio', { name: 'It was as it should be' }).check()
  await page.getByRole('textbox', { name: 'Note' }).fill(note)
  await button(page, 'Sign the review').click()
}

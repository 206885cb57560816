import type { AskForm } from './ask-limits.ts'

/** What was filled in when somebody left for a fresh login. No secret is ever asked for in it. */
export type AskDraft = { principal: string; policy: string; form: AskForm }

type Shelf = {
  getItem(key: string): string | null
  setItem(key: string, value: string): void
  removeItem(key: string): void
}

/** This tab's own; asking for it throws in a browser that was told to keep nothing. */
const ofTab = (): Shelf => (globalThis as unknown as { sessionStorage: Shelf }).sessionStorage

const KEY = 'leasehold.ask-draft'

/** Puts a form aside in this tab, until it comes back from the login. */
export function keepDraft(draft: AskDraft, shelf: () => Shelf = ofTab): void {
  try {
    shelf().setItem(KEY, JSON.stringify(draft))
  } catch {
    // A browser that keeps nothing: the form has to be filled in again.
  }
}

/** The form that this person put aside; undefined where there is none, or somebody else has logged in. */
export function draftOf(principal: string, shelf: () => Shelf = ofTab): AskDraft | undefined {
  try {
    const kept = JSON.parse(shelf().getItem(KEY) ?? 'null') as AskDraft | null
    return kept?.principal === principal && isForm(kept.form) ? kept : undefined
  } catch {
    return undefined
  }
}

export function forgetDraft(shelf: () => Shelf = ofTab): void {
  try {
    shelf().removeItem(KEY)
  } catch {
    // Nothing was kept.
  }
}

const isForm = (form: Partial<AskForm> | undefined): boolean =>
  Array.isArray(form?.roles) && typeof form.reason === 'string' && typeof form.ticket === 'string'

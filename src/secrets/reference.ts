import { type Place, SecretStoreError } from './secret-store.ts'

/** The systems that a password may be left in, by the word that a reference begins with. */
export const EXTERNAL = ['vault', 'aws'] as const
export type External = (typeof EXTERNAL)[number]

export type Reference = Place & { store: External }

/**
 * `<store>:<path>` or `<store>:<path>#<key>`. Undefined for a text that begins with no store's word. One that does is
 * never taken for anything else: it throws kind `invalid` when it cannot be read, and the sentence repeats none of it,
 * as it may be somebody's password after all.
 */
export function parseReference(text: string): Reference | undefined {
  const store = EXTERNAL.find((word) => text.startsWith(`${word}:`))
  if (!store) return undefined
  const [path = '', ...rest] = text.slice(store.length + 1).split('#')
  const key = rest.length > 0 ? rest.join('#') : undefined
  const usable = path !== '' && key !== '' && text.length <= MAX_LENGTH && !UNPRINTABLE.test(text)
  if (!usable) {
    throw new SecretStoreError('invalid', `begins with ${store}: and so must be ${FORMS[store]}`)
  }
  return { store, path, ...(key !== undefined && { key }) }
}

/** What a reference looks like, for whoever wrote another one. */
const FORMS: Readonly<Record<External, string>> = {
  vault: 'a reference such as vault:secret/data/db#password',
  aws: 'a reference such as aws:prod/db#password, or aws:prod/db for a secret that is one plain text',
}

const MAX_LENGTH = 1_024
// biome-ignore lint/suspicious/noControlCharactersInRegex: these are what it looks for
const UNPRINTABLE = /[\u0000-\u001f\u007f]/

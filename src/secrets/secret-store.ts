import type { Sensitive } from '../lib/sensitive.ts'

/**
 * The seam to where secrets rest: target admin credentials and our signing keys. `test/conformance/secret-stores.test.ts`
 * runs over every implementation.
 *
 * Names are ours, made from ids: 1 to 200 of `a-z A-Z 0-9 . _ / -`. A text is 1 to 65,536 characters. Anything else
 * throws kind `invalid` before the store is asked.
 *
 * Versions count from 1 and go up by one with each put of a name; a name that was deleted starts again.
 *
 * A store that does not answer throws kind `unreachable`; what it holds is then unknown, not absent. Callers that end
 * access keep a last-good copy of each admin credential in the built-in store for that case: read from the real store,
 * written through with its version after every successful login, used for ending only, and never for issuing.
 */
export type SecretStore = {
  /** The newest version, or undefined when there is none. */
  get(name: string): Promise<Secret | undefined>
  /**
   * Stores the text and answers its version. With `ifVersion` it does so only when that is the newest version, 0
   * meaning that there is none, and otherwise throws kind `conflict` with nothing changed: of two processes that
   * make the same key on first start, one wins and the other reads. Resolves when the text is durable.
   */
  put(name: string, text: Sensitive, options?: { ifVersion: number }): Promise<number>
  /** Removes every version; a name that is not there is no error. */
  delete(name: string): Promise<void>
}

type Secret = { text: Sensitive; version: number }

/**
 * unreachable: no answer, try again. denied: the store refused us. conflict: see `put`. wrong_key: sealed under
 * another master key than ours. damaged: what is stored is not what was put. invalid: a bad name or text.
 */
export type SecretStoreErrorKind = 'unreachable' | 'denied' | 'conflict' | 'wrong_key' | 'damaged' | 'invalid'

export class SecretStoreError extends Error {
  readonly kind: SecretStoreErrorKind

  constructor(kind: SecretStoreErrorKind, message: string, options?: { cause?: unknown }) {
    super(message, options)
    this.name = 'SecretStoreError'
    this.kind = kind
  }
}

const NAME = /^[A-Za-z0-9._/-]{1,200}$/
const MAX_TEXT = 65_536

export function checkName(name: string): void {
  if (!NAME.test(name)) throw new SecretStoreError('invalid', 'not a usable name for a secret')
}

export function checkText(text: Sensitive): void {
  const { length } = text.reveal()
  if (length === 0 || length > MAX_TEXT) {
    throw new SecretStoreError(
      'invalid',
      `a secret is 1 to ${MAX_TEXT} characters long, this one has ${length}`,
    )
  }
}

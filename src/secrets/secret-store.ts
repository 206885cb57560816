import type { Sensitive } from '../lib/sensitive.ts'

/**
 * The seam to where secrets rest: target admin credentials and our signing keys. `test/conformance/secret-stores.test.ts`
 * runs over every implementation.
 *
 * Names are ours, made from ids: 1 to 200 characters, words of `a-z A-Z 0-9 . _ -` with slashes between. A text is 1 to
 * 65,536 bytes of UTF-8. Anything else throws kind `invalid` before the store is asked.
 *
 * Versions count from 1 and go up by one with each put of a name; a name that was deleted starts again. Two puts of one
 * text that meet may both be answered with the version that has it.
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
 * Secrets that others keep in the same system and a target's writer only names: `vault:secret/data/db#password`. Read
 * for every login, and written when the password is rotated.
 */
export type References = {
  /** Throws kind `invalid`, with a sentence, for what this system can have nothing under. Asks nobody. */
  check(at: Place): void
  /** Throws kind `absent`, naming what is not there. */
  read(at: Place): Promise<Referred>
  /**
   * Replaces the one text that `read` answered and leaves the other keys as they are. Throws kind `conflict` when the
   * secret is no longer of the version that was read.
   */
  write(at: Place, text: Sensitive, version: string): Promise<void>
}

/** Without a key, the secret is the text. */
export type Place = { path: string; key?: string }

export type Referred = { text: Sensitive; version: string }

/** A system outside of ours, opened at its first use. */
export type ExternalStore = SecretStore & {
  references: References
  /** Ends what keeps our login alive. Nothing is asked of it after. */
  close(): Promise<void>
}

/**
 * unreachable: no answer, try again. denied: the store refused us. conflict: see `put`. absent: what a reference names
 * is not there. not_configured: the settings name no such store. wrong_key: sealed under another master key than ours.
 * damaged: what is stored is not what was put. invalid: a bad name, text or reference.
 */
export type SecretStoreErrorKind =
  | 'unreachable'
  | 'denied'
  | 'conflict'
  | 'absent'
  | 'not_configured'
  | 'wrong_key'
  | 'damaged'
  | 'invalid'

export class SecretStoreError extends Error {
  readonly kind: SecretStoreErrorKind

  constructor(kind: SecretStoreErrorKind, message: string, options?: { cause?: unknown }) {
    super(message, options)
    this.name = 'SecretStoreError'
    this.kind = kind
  }
}

const NAME = /^(?!\.{1,2}(\/|$))[A-Za-z0-9._-]+(\/(?!\.{1,2}(\/|$))[A-Za-z0-9._-]+)*$/
const MAX_NAME = 200
const MAX_TEXT_BYTES = 65_536

export function checkName(name: string): void {
  if (name.length > MAX_NAME || !NAME.test(name)) {
    throw new SecretStoreError('invalid', 'not a usable name for a secret')
  }
}

export function checkText(text: Sensitive): void {
  const bytes = Buffer.byteLength(text.reveal())
  if (bytes === 0 || bytes > MAX_TEXT_BYTES) {
    throw new SecretStoreError(
      'invalid',
      `a secret is 1 to ${MAX_TEXT_BYTES} bytes long, this one has ${bytes}`,
    )
  }
}

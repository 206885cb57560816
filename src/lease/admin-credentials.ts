import { type Admin, type AdminCredentials, EngineError, type Lane, type Spec } from '../engine/engine.ts'
import type { Target } from '../ledger/targets.ts'
import { BrokerError, messageOf } from '../lib/errors.ts'
import type { Sensitive } from '../lib/sensitive.ts'
import type {
  Credential,
  CredentialPlace,
  Credentials,
  GivenCredential,
  Held,
  Which,
} from '../secrets/credentials.ts'
import { parseReference } from '../secrets/reference.ts'
import { SecretStoreError, type SecretStoreErrorKind } from '../secrets/secret-store.ts'

/** An enrolled target's row, as far as its admin account goes. */
type Account = Pick<Target, 'name' | 'spec'> & CredentialPlace

/**
 * The admin credential of a target for its engine: read from the secret store whenever it is asked for. One that the
 * target refused is not given again while there is another to try: the candidate of a rotation that did not come to
 * its end and, for ending alone, the copy of the one that last worked. That copy also serves while the store is down,
 * and never for issuing: what makes new access takes the store's word or none.
 */
export function adminOf(credentials: Credentials, account: Account): Admin {
  const refused = new Set<string>()
  let remembered: string | undefined

  const given = (which: Which, { version, ...credential }: Held): AdminCredentials => {
    const tag = `${which} ${version}`
    return {
      ...asAdmin(account.spec, credential),
      onLogin(accepted) {
        if (!accepted) refused.add(tag)
        else if (which !== 'last_good' && remembered !== tag) {
          remembered = tag
          credentials.remember(account, credential).catch(() => {
            remembered = undefined // the next login tries again
          })
        }
      },
    }
  }

  const usable = async (which: Which): Promise<AdminCredentials | undefined> => {
    const held = await credentials.read(account, which)
    return held && !refused.has(`${which} ${held.version}`) ? given(which, held) : undefined
  }

  const firstOf = async (lane: Lane): Promise<AdminCredentials | undefined> => {
    if (lane === 'issuing') return (await usable('current')) ?? (await usable('pending'))
    let trouble: unknown
    const ifAny = (which: Which) =>
      usable(which).catch((error: unknown) => {
        trouble ??= error
        return undefined
      })
    const current = await ifAny('current')
    if (current) return current
    // A store that is away is not waited for once more before the copy, which is ours.
    const [next, last] = trouble ? (['last_good', 'pending'] as const) : (['pending', 'last_good'] as const)
    const other = (await ifAny(next)) ?? (await ifAny(last))
    if (!other && trouble) throw trouble
    return other
  }

  return async (lane) => {
    try {
      const found = await firstOf(lane)
      if (found) return found
      // All of them were refused, which may have changed since.
      refused.clear()
      const again = await firstOf(lane)
      if (again) return again
    } catch (error) {
      throw noAdmin(account, messageOf(error))
    }
    throw noAdmin(account, 'it is missing from the secret store')
  }
}

const noAdmin = ({ name }: Account, why: string): EngineError =>
  new EngineError('no_admin', `the admin credential of "${name}" cannot be had: ${why}`)

/** As an engine takes it; for a credential that is being tried, too. */
export function asAdmin(spec: Spec, { username, password, tlsPrivateKey }: Credential): AdminCredentials {
  return {
    username: username ?? String(spec.username ?? ''),
    password,
    ...(tlsPrivateKey && { tlsPrivateKey }),
  }
}

/**
 * What a `password` field says. One that begins with a store's word is a reference, or is refused: it is never kept as
 * a password, so that no typing error turns a reference into one.
 */
export function givenPassword(text: Sensitive): GivenCredential['password'] {
  try {
    return parseReference(text.reveal()) ? { reference: text.reveal() } : text
  } catch (error) {
    throw passwordFault(error)
  }
}

/** For the writer of a `password`, who can do something about most of it. */
export function passwordFault(error: unknown): unknown {
  if (!(error instanceof SecretStoreError)) return error
  const code = WRITERS_FAULT.includes(error.kind) ? 'invalid_request' : 'unavailable'
  return new BrokerError(code, `password: ${error.message}`, { cause: error })
}

const WRITERS_FAULT: readonly SecretStoreErrorKind[] = ['invalid', 'absent', 'not_configured', 'denied']

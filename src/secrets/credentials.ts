import { newId } from '../lib/ids.ts'
import { type Sensitive, sensitive } from '../lib/sensitive.ts'
import { type Credential, type Held, heldUnder, isSame, print } from './credential-text.ts'
import { EXTERNAL, parseReference } from './reference.ts'
import { type Place, type References, type SecretStore, SecretStoreError } from './secret-store.ts'
import type { SecretStores, StoreName } from './stores.ts'

export type { Credential, Held } from './credential-text.ts'

/**
 * Where a credential rests, as the ledger keeps it. The secret of that name is ours whole; the password is in it, or
 * where the reference says.
 */
export type CredentialPlace = { secretName: string; passwordReference: string | null }

/** As somebody gives it: a password or a reference to one. */
export type GivenCredential = Omit<Credential, 'password'> & { password: Sensitive | { reference: string } }

/**
 * current: the one in force. pending: a candidate that is being rotated to, which the target may have taken already.
 * last_good: a copy in the built-in store of the one that last worked, where that is not the store it comes from.
 */
export type Which = 'current' | 'pending' | 'last_good'

/**
 * Credentials of accounts that are not leased: admins and static roles. Every call throws a `SecretStoreError` when a
 * store does not do its part, and none keeps anything in memory.
 */
export type Credentials = {
  /** What was given as a login that can be tried. For a reference, kinds `invalid`, `absent` and `not_configured` too. */
  resolve(given: GivenCredential): Promise<Credential>
  /** Stores it under a name of its own below `folder`, in the default store. */
  keep(folder: string, given: GivenCredential): Promise<CredentialPlace>
  read(place: CredentialPlace, which: Which): Promise<Held | undefined>
  /** Removes everything of ours at this place; what a reference names stays. */
  forget(place: CredentialPlace): Promise<void>

  /**
   * Proves before anything is changed that `promote` may write where a reference points, by writing what is there once
   * more. Without a reference it does nothing. Throws kind `denied`, naming the reference, where it may not.
   */
  proveWritable(place: CredentialPlace): Promise<void>

  /**
   * Rotation, in the order in which it has to happen: `propose`, then set the password on the target, then log in with
   * it, then `promote`. Until then both are kept; whoever comes after a crash reads both and tries them.
   *
   * Whoever was held up for long and goes on as if nothing had happened must not touch the candidate of whoever came
   * after: each of these changes only what its caller has seen, and throws kind `conflict` when somebody wrote since.
   */

  /**
   * Resolves when the candidate is durable. Kind `conflict` when there is one already, which may be in force on the
   * target and has to be promoted or withdrawn first; but for `over`, which its caller knows was never sent.
   */
  propose(
    place: CredentialPlace,
    candidate: Pick<Credential, 'username' | 'password'>,
    over?: Held,
  ): Promise<void>
  /**
   * Makes this candidate the current one, also where a reference names it; to be repeated after a crash or a failure.
   * Does nothing when there is none, or another.
   */
  promote(place: CredentialPlace, candidate: Pick<Credential, 'password'>): Promise<void>
  /** Drops this candidate, once it is known not to be in force. */
  withdraw(place: CredentialPlace, candidate: Held): Promise<void>

  /** Keeps the last-good copy, after a login that worked. Does nothing where it would lie beside the original. */
  remember(place: CredentialPlace, worked: Credential): Promise<void>
}

export function createCredentials(stores: SecretStores): Credentials {
  const remember: Credentials['remember'] = async (place, worked) => {
    if (!hasCopy(place)) return
    const name = copyName(place)
    const known = await heldUnder(stores.builtin, name)
    if (!known || !isSame(known.credential, worked)) await stores.builtin.put(name, print(worked))
  }

  return {
    ...rotating(stores, remember),
    remember,

    async resolve({ password, ...rest }) {
      if (!('reference' in password)) return { ...rest, password }
      const { references, at } = find(stores, password.reference)
      return { ...rest, password: (await references.read(at)).text }
    },

    async keep(folder, { password, ...rest }) {
      const name = `${folder}/${newId()}`
      const reference = 'reference' in password ? password.reference : null
      const kept = 'reference' in password ? NONE : password
      await stores.store(stores.default).put(name, print({ ...rest, password: kept }), { ifVersion: 0 })
      const secretName = stores.default === 'builtin' ? name : `${stores.default}:${name}`
      return { secretName, passwordReference: reference }
    },

    read: (place, which) => READERS[which](stores, place),

    async forget(place) {
      if (hasCopy(place)) await stores.builtin.delete(copyName(place))
      const { store, name } = ours(stores, place)
      await store.delete(pendingName(name))
      await store.delete(name)
    },
  }
}

function rotating(
  stores: SecretStores,
  remember: Credentials['remember'],
): Pick<Credentials, 'proveWritable' | 'propose' | 'promote' | 'withdraw'> {
  return {
    async proveWritable({ passwordReference: reference }) {
      if (reference === null) return
      const { references, at } = find(stores, reference)
      const { text, version } = await references.read(at)
      await references.write(at, text, version).catch((error) => {
        if (!(error instanceof SecretStoreError) || error.kind !== 'denied') throw error
        const text = `the password may be read at ${reference}, but not written there: ${error.message}`
        throw new SecretStoreError('denied', text, { cause: error })
      })
    },

    async propose(place, candidate, over) {
      const { store, name } = ours(stores, place)
      const left = await heldUnder(store, pendingName(name))
      const isKnown = !left || isDropped(left) || `${left.version}` === over?.version
      if (!isKnown) throw conflict()
      await store.put(pendingName(name), print(candidate), { ifVersion: left?.version ?? 0 })
    },

    async promote(place, candidate) {
      const { store, name } = ours(stores, place)
      // The candidate is read last: what is written over then is older than it, or the write is refused.
      const named = await referred(stores, place)
      const before = await heldUnder(store, name)
      const pending = await heldUnder(store, pendingName(name))
      if (pending?.credential.password.reveal() !== candidate.password.reveal()) return
      const { credential } = pending
      await named?.write(credential.password)
      const worked = { ...before?.credential, ...credential }
      const next = named ? { ...worked, password: NONE } : worked
      if (!before || !isSame(before.credential, next)) {
        await store.put(name, print(next), { ifVersion: before?.version ?? 0 })
      }
      await remember(place, worked)
      await drop(store, name, pending.version)
    },

    async withdraw(place, candidate) {
      const { store, name } = ours(stores, place)
      await drop(store, name, Number(candidate.version))
    },
  }
}

const conflict = (): SecretStoreError =>
  new SecretStoreError('conflict', 'there is a candidate for this credential already')

/** Written over and not deleted: that alone can be refused when it is no longer the one that was seen. */
const drop = (store: SecretStore, name: string, version: number): Promise<unknown> =>
  store.put(pendingName(name), print({ password: NONE }), { ifVersion: version })

const isDropped = ({ credential }: { credential: Credential }): boolean => credential.password.reveal() === ''

/** What a reference names, as it is now; writing it back is refused once somebody else has. */
async function referred(
  stores: SecretStores,
  { passwordReference }: CredentialPlace,
): Promise<{ write(password: Sensitive): Promise<void> } | undefined> {
  if (passwordReference === null) return undefined
  const { references, at } = find(stores, passwordReference)
  const { text, version } = await references.read(at)
  return {
    async write(password) {
      if (text.reveal() !== password.reveal()) await references.write(at, password, version)
    },
  }
}

const READERS: Readonly<
  Record<Which, (stores: SecretStores, place: CredentialPlace) => Promise<Held | undefined>>
> = {
  async current(stores, place) {
    const { store, name } = ours(stores, place)
    const held = await heldUnder(store, name)
    if (!held) return undefined
    if (place.passwordReference === null) return { ...held.credential, version: `${held.version}` }
    const { references, at } = find(stores, place.passwordReference)
    const { text, version } = await references.read(at)
    return { ...held.credential, password: text, version: `${held.version} ${version}` }
  },

  async pending(stores, place) {
    const { store, name } = ours(stores, place)
    const pending = await heldUnder(store, pendingName(name))
    if (!pending || isDropped(pending)) return undefined
    // A candidate is for the password: the rest is the current one's.
    const current = await heldUnder(store, name)
    return { ...current?.credential, ...pending.credential, version: `${pending.version}` }
  },

  async last_good(stores, place) {
    const copy = hasCopy(place) ? await heldUnder(stores.builtin, copyName(place)) : undefined
    return copy && { ...copy.credential, version: `${copy.version}` }
  },
}

const NONE = sensitive('')

/** A name of ours never has a colon. */
function located({ secretName }: CredentialPlace): { kind: StoreName; name: string } {
  const kind = EXTERNAL.find((word) => secretName.startsWith(`${word}:`))
  return kind ? { kind, name: secretName.slice(kind.length + 1) } : { kind: 'builtin', name: secretName }
}

function ours(stores: SecretStores, place: CredentialPlace): { store: SecretStore; name: string } {
  const { kind, name } = located(place)
  return { store: stores.store(kind), name }
}

const hasCopy = (place: CredentialPlace): boolean =>
  place.passwordReference !== null || located(place).kind !== 'builtin'

const copyName = (place: CredentialPlace): string => `${located(place).name}/last-good`
const pendingName = (name: string): string => `${name}/pending`

function find(stores: SecretStores, text: string): { references: References; at: Place } {
  const reference = parseReference(text)
  if (!reference) throw new SecretStoreError('invalid', 'is not a reference to a secret store')
  const { store, ...at } = reference
  const { references } = stores.external(store)
  references.check(at)
  return { references, at }
}

import type { Ledger } from '../../ledger/db.ts'
import { endAllFound, type TokensEnded } from '../../ledger/token-ending.ts'
import {
  dropWebauthnKey,
  keysOfPerson,
  peopleWithKeys,
  renameWebauthnKey,
  revokeLoginsByKey,
  tokensByKey,
  type WebauthnKey,
} from '../../ledger/webauthn-keys.ts'
import { refused } from '../jwt/fields.ts'

/** The keys of one person on one mount: of whoever asks, or of somebody whose keys are theirs to look after. */
export type KeyOwner = { mountId: string; entityId: string }

export type WebauthnKeys = {
  list(owner: KeyOwner): Promise<WebauthnKey[]>
  find(owner: KeyOwner, id: string): Promise<WebauthnKey | undefined>
  /** False when there is no such key. */
  rename(owner: KeyOwner, id: string, name: string): Promise<boolean>
  /**
   * Takes a key away, and with it every token that it gave and what hangs on them. False when there is no such key.
   * Who asks for it has lost the key, as far as we know: nothing that was done by it shall count.
   */
  remove(owner: KeyOwner, id: string): Promise<boolean>
  people: (mountId: string) => ReturnType<typeof peopleWithKeys>
}

export const createWebauthnKeys = (
  ledger: Ledger,
  leasesEnding: (targetIds: string[]) => void,
): WebauthnKeys => ({
  list: ({ mountId, entityId }) => keysOfPerson(ledger, mountId, entityId),
  find: async ({ mountId, entityId }, id) =>
    (await keysOfPerson(ledger, mountId, entityId)).find((key) => key.id === id),
  rename: async (owner, id, name) =>
    (await renameWebauthnKey(ledger, { ...owner, id }, checkKeyName(name))) > 0,
  async remove(owner, id) {
    const ended = await ledger.transaction(async (db): Promise<TokensEnded | false> => {
      // The row first: a login by the key that is under way waits for us and finds it gone, or we see its token.
      if ((await dropWebauthnKey(db, { ...owner, id })) === 0) return false
      const tokens = await endAllFound(db, () => tokensByKey(db, owner.entityId, id))
      await revokeLoginsByKey(db, owner.entityId, id)
      return tokens
    })
    if (!ended) return false
    if (ended.targetIds.length > 0) leasesEnding(ended.targetIds)
    return true
  },
  people: (mountId) => peopleWithKeys(ledger, mountId),
})

const MAX_NAME_CHARACTERS = 64

/** A name for people to tell their keys apart by. Throws the dialect's refusal. */
export function checkKeyName(name: string): string {
  const tidy = name.normalize('NFKC').replace(/\s+/g, ' ').trim()
  if (tidy === '') throw refused("'name' must be set: what you call this key")
  if ([...tidy].length > MAX_NAME_CHARACTERS || /[\p{C}\p{DI}]/u.test(tidy)) {
    throw refused(`'name' takes up to ${MAX_NAME_CHARACTERS} characters that can be seen`)
  }
  return tidy
}

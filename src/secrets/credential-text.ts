import { z } from 'zod'
import { type Sensitive, sensitive } from '../lib/sensitive.ts'
import { type SecretStore, SecretStoreError } from './secret-store.ts'

/** A login on a target. Without a username, it is for the one that its target or role names. */
export type Credential = { username?: string; password: Sensitive; tlsPrivateKey?: Sensitive }

/** `version` tells it from what was there before, and says nothing else. */
export type Held = Credential & { version: string }

const FORM = z.object({
  username: z.string().optional(),
  // Absent where there is none, and where a reference says what it is.
  password: z.string().default(''),
  tls_private_key: z.string().optional(),
})

/** As it is stored. Equal for equal credentials. */
export function print({ username, password, tlsPrivateKey }: Credential): Sensitive {
  return sensitive(
    JSON.stringify({
      ...(username !== undefined && { username }),
      ...(password.reveal() !== '' && { password: password.reveal() }),
      ...(tlsPrivateKey && { tls_private_key: tlsPrivateKey.reveal() }),
    }),
  )
}

export const isSame = (one: Credential, other: Credential): boolean =>
  print(one).reveal() === print(other).reveal()

/** What a store has under this name of ours; undefined when nothing. */
export async function heldUnder(
  store: SecretStore,
  name: string,
): Promise<{ credential: Credential; version: number } | undefined> {
  const stored = await store.get(name)
  if (!stored) return undefined
  const form = readForm(stored.text)
  if (!form) throw new SecretStoreError('damaged', `the stored secret ${name} is not a credential of ours`)
  const { username, password, tls_private_key: key } = form
  const credential = {
    ...(username !== undefined && { username }),
    password: sensitive(password),
    ...(key !== undefined && { tlsPrivateKey: sensitive(key) }),
  }
  return { credential, version: stored.version }
}

/** The errors are left behind: they quote what could not be read. */
function readForm(text: Sensitive): z.output<typeof FORM> | undefined {
  try {
    return FORM.safeParse(JSON.parse(text.reveal())).data
  } catch {
    return undefined
  }
}

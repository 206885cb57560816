import type { Broker } from '../compose.ts'

/** Where the sample people log in by a security key, once they have enrolled one. */
export const KEYS_LOGIN = { mount: 'auth/webauthn/' } as const

/** Browsers know no keys of a bare address, and this name is every machine's own. */
const RP_ID = 'localhost'

/** Where the console has to be opened for keys to work. */
export function keysOrigin(url: string): string {
  const { protocol, port } = new URL(url)
  return `${protocol}//${RP_ID}:${port}`
}

/**
 * Lets the sample people enrol keys at the console of the API at `url`. With `first` the mount is made; later its origin
 * is only kept up with the port, and whatever its owner made of it otherwise stays so.
 */
export async function seatKeys(
  { mounts, webauthn }: Pick<Broker, 'mounts' | 'webauthn'>,
  { url, policy, first }: { url: string; policy: string; first: boolean },
): Promise<void> {
  const found = await mounts.find(KEYS_LOGIN.mount)
  if (!found) {
    if (!first) return
    await mounts.enable(KEYS_LOGIN.mount, 'webauthn', { description: '' })
  }
  const mount = found ?? (await mounts.find(KEYS_LOGIN.mount))
  if (mount?.type !== 'webauthn') return
  const before = await webauthn.config(mount.id)
  if (before && before.rp_id !== RP_ID) return
  const terms = before ?? { rp_id: RP_ID, token_policies: [policy] }
  await webauthn.writeConfig(mount.id, { ...terms, origins: [keysOrigin(url)] })
}

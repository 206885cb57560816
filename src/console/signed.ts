import { compactVerify, createLocalJWKSet, decodeJwt, type JSONWebKeySet } from 'jose'

/** `unchecked`: this browser cannot check signatures of this kind, or not on a page that came without TLS. */
export type Checked<Payload> = { payload: Payload; signature: 'valid' | 'invalid' | 'unchecked' }

/**
 * What a compact JWS says and whether the broker's key signed it, as something of this `typ`. Undefined when it is none.
 * Where the browser cannot tell, it says so rather than calling it valid or forged.
 */
export async function readSigned<Payload>(
  jws: string,
  { keys, typ }: { keys: JSONWebKeySet; typ: string },
): Promise<Checked<Payload> | undefined> {
  const payload = decoded<Payload>(jws)
  if (payload === undefined) return undefined
  if (globalThis.crypto?.subtle === undefined) return { payload, signature: 'unchecked' }
  try {
    const { protectedHeader } = await compactVerify(jws, createLocalJWKSet(keys), { algorithms: ['EdDSA'] })
    return { payload, signature: protectedHeader.typ === typ ? 'valid' : 'invalid' }
  } catch (error) {
    return { payload, signature: unsupported(error) ? 'unchecked' : 'invalid' }
  }
}

function decoded<Payload>(jws: string): Payload | undefined {
  try {
    return decodeJwt(jws) as Payload
  } catch {
    return undefined
  }
}

/** Browsers without Ed25519 refuse to take the key. */
const unsupported = (error: unknown): boolean =>
  error instanceof Error && ['NotSupportedError', 'ERR_JOSE_NOT_SUPPORTED'].includes(nameOf(error))

const nameOf = (error: Error & { code?: unknown }): string =>
  typeof error.code === 'string' ? error.code : error.name

const SIGNATURES = {
  valid: "Signed with this broker's key: checked in this browser.",
  invalid: "The signature does not match this broker's key. Do not rely on it, and tell security.",
  unchecked: 'The signature could not be checked in this browser: check it with the JWKS.',
}

export const signatureWords = (signature: Checked<unknown>['signature']): string => SIGNATURES[signature]

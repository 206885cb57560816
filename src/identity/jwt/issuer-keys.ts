import { discover, endpointOf } from './discovery.ts'
import type { FetchJson, FetchOptions } from './fetch-json.ts'
import { keysFromJwks, type VerificationKey } from './verification-keys.ts'

/** Where keys are published: at a JWKS, or behind the discovery document of an issuer. `caPem` is empty for the system's. */
export type KeyLocation = { jwksUrl: string; caPem: string } | { issuer: string; caPem: string }

const DEADLINE_MS = 5_000

/** Fetches the keys, in at most 5 s in all. Rejects with an `Error` whose text says what is wrong at which address. */
export async function fetchKeys(location: KeyLocation, fetch: FetchJson): Promise<VerificationKey[]> {
  const options = { caPem: location.caPem, signal: AbortSignal.timeout(DEADLINE_MS) }
  const url = 'jwksUrl' in location ? location.jwksUrl : await jwksUrlOf(location.issuer, fetch, options)
  const document = await fetch(url, options)
  try {
    return keysFromJwks(document)
  } catch (cause) {
    throw new Error(`${url}: ${(cause as Error).message}`, { cause })
  }
}

async function jwksUrlOf(issuer: string, fetch: FetchJson, options: FetchOptions): Promise<string> {
  return endpointOf(await discover(issuer, fetch, options), issuer, 'jwks_uri')
}

import type { FetchJson, FetchOptions } from './fetch-json.ts'
import { isObject } from './fields.ts'

/** What an issuer says of itself; its `issuer` was checked, and nothing else was. */
export type DiscoveryDocument = Readonly<Record<string, unknown>>

const urlOf = (issuer: string): string => `${issuer.replace(/\/$/, '')}/.well-known/openid-configuration`

/** Rejects with an `Error` whose text says what is wrong at which address. */
export async function discover(
  issuer: string,
  fetch: FetchJson,
  options: FetchOptions,
): Promise<DiscoveryDocument> {
  const url = urlOf(issuer)
  const document = await fetch(url, options)
  if (!isObject(document)) throw new Error(`${url}: the answer is not a discovery document`)
  // OpenID Connect Discovery 4.3: the very same text, or one issuer could speak for another on the same host.
  if (document.issuer !== issuer) throw new Error(`${url}: names another issuer than ${issuer}`)
  return document
}

/** The address the document gives for something that is needed. An issuer behind TLS cannot send anyone elsewhere. */
export function endpointOf(document: DiscoveryDocument, issuer: string, name: string): string {
  const endpoint = document[name]
  if (typeof endpoint !== 'string' || !URL.canParse(endpoint) || !/^https?:/.test(endpoint)) {
    throw new Error(`${urlOf(issuer)}: names no ${name} that can be used`)
  }
  if (issuer.startsWith('https:') && !endpoint.startsWith('https:')) {
    throw new Error(`${urlOf(issuer)}: names a ${name} without TLS`)
  }
  return endpoint
}

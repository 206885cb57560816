import type { CustomFetch } from 'openid-client'
import { messageOf } from '../../lib/errors.ts'
import type { exchange } from '../jwt/fetch-json.ts'

/** The provider gave no answer of its own: the request failed on the way, or the provider is in trouble. */
export class ProviderFault extends Error {}

const DEADLINE_MS = 10_000
const TOO_MANY_REQUESTS = 429

/**
 * How openid-client reaches the provider: with the mount's authorities, with bounded answers, without redirects.
 * Rejects with a `ProviderFault`. The code is exchanged under the very redirect URI it was asked for: openid-client
 * would take that from the address it is called back on, which lacks the URI's own query.
 */
export const providerFetch =
  (caPem: string, redirectUri: string, send: typeof exchange): CustomFetch =>
  async (url, { method, headers, body, signal = AbortSignal.timeout(DEADLINE_MS) }) => {
    if (body instanceof URLSearchParams && body.get('grant_type') === 'authorization_code') {
      body.set('redirect_uri', redirectUri)
    }
    const text = body instanceof URLSearchParams ? body.toString() : undefined
    const answer = await send(url, { method, headers, body: text }, { caPem, signal }).catch((cause) => {
      throw new ProviderFault(messageOf(cause), { cause })
    })
    if (answer.status >= 500 || answer.status === TOO_MANY_REQUESTS) {
      throw new ProviderFault(`${url}: answers ${answer.status}`)
    }
    const single = Object.entries(answer.headers).filter(([, value]) => typeof value === 'string')
    return new Response(answer.body.length > 0 ? answer.body : null, {
      status: answer.status,
      headers: single as [string, string][],
    })
  }

/** The provider's fault behind an error of openid-client, if that is what it is. */
export function faultBehind(error: unknown): ProviderFault | undefined {
  for (let at = error; at instanceof Error; at = at.cause) if (at instanceof ProviderFault) return at
  return undefined
}

import type { Claims } from './claims.ts'
import { isObject } from './fields.ts'
import { LoginRefused } from './refusal.ts'

const UTF8 = new TextDecoder('utf-8', { fatal: true })
/** NUL and half a surrogate pair, the two things JSON can say and PostgreSQL cannot keep. */
const UNSTORABLE = /\\u(0000|[dD][89a-fA-F])/
/** Deeper than any real claim. A few thousand levels fit a token, and end whoever writes them down again. */
const MAX_DEPTH = 32

/** Reads the payload of a token whose signature was checked. Throws `LoginRefused` for what cannot be kept as claims. */
export function readClaims(payload: Uint8Array): Claims {
  const claims = parsed(payload)
  if (!isObject(claims)) throw new LoginRefused('malformed_token', 'payload')
  return claims
}

function parsed(payload: Uint8Array): unknown {
  try {
    const text = UTF8.decode(payload)
    const claims: unknown = JSON.parse(text)
    if (!isShallow(claims, MAX_DEPTH)) return undefined
    // Escaped pairs are fine: written out again, only halves stay escaped.
    return UNSTORABLE.test(text) && UNSTORABLE.test(JSON.stringify(claims)) ? undefined : claims
  } catch {
    return undefined
  }
}

const isShallow = (value: unknown, levels: number): boolean =>
  typeof value !== 'object' ||
  value === null ||
  (levels > 0 && Object.values(value).every((inner) => isShallow(inner, levels - 1)))

import { createHmac } from 'node:crypto'
import { CUT, type Detail } from './canonical.ts'
import { shortText } from './event.ts'

export type AuditHash = (value: string) => string

const KEY_BYTES = 32

/**
 * Hashes sensitive values in the dialect's form, `hmac-sha256:<hex>`: whoever knows a value and may ask for its hash
 * can look for it in the log, and nobody can guess values from the log alone. `key` has 32 bytes of its own, used for
 * nothing else; throws when it is shorter.
 */
export function auditHasher(key: Uint8Array): AuditHash {
  if (key.length < KEY_BYTES) throw new Error(`an audit key has ${KEY_BYTES} bytes`)
  return (value) => `hmac-sha256:${createHmac('sha256', key).update(value, 'utf8').digest('hex')}`
}

const MAX_DEPTH = 4
/** Values of one request, over all its depths; what comes after them is cut. */
const MAX_VALUES = 100
const MAX_NAME_CHARACTERS = 128
const MAX_PLAIN_CHARACTERS = 256

/**
 * Request parameters as they may stand in the log. Names stay; texts and numbers are hashed (a password of digits may
 * arrive as a number), unless `plain` lists where they stand: `ttl`, or `options.cas` one level down. A list has the
 * place of its items. Booleans and null stay. Depth, number and length are bounded, and `[cut]` marks what is missing.
 */
export function auditParameters(parameters: unknown, plain: ReadonlySet<string>, hash: AuditHash): Detail {
  let left = MAX_VALUES

  const scalar = (value: string | number | bigint, place: string): Detail => {
    if (!plain.has(place)) return hash(String(value))
    return typeof value === 'number' ? value : shortText(String(value), MAX_PLAIN_CHARACTERS)
  }

  const audited = (value: unknown, place: string, depth: number): Detail => {
    left -= 1
    switch (typeof value) {
      case 'string':
      case 'number':
      case 'bigint':
        return scalar(value, place)
      case 'boolean':
        return value
      case 'object':
        return value === null ? null : nested(value, place, depth)
      default:
        return null
    }
  }

  const nested = (value: object, place: string, depth: number): Detail => {
    if (depth >= MAX_DEPTH) return CUT
    return Array.isArray(value) ? list(value, place, depth) : map(value, place, depth)
  }

  const list = (items: unknown[], place: string, depth: number): Detail[] => {
    const kept: Detail[] = []
    for (const item of items) {
      if (left <= 0) return [...kept, CUT]
      kept.push(audited(item, place, depth + 1))
    }
    return kept
  }

  const map = (members: object, place: string, depth: number): Detail => {
    const kept: [string, Detail][] = []
    for (const [name, member] of Object.entries(members)) {
      if (left <= 0) {
        kept.push([CUT, true])
        break
      }
      const inner = place === '' ? name : `${place}.${name}`
      kept.push([shortText(name, MAX_NAME_CHARACTERS), audited(member, inner, depth + 1)])
    }
    return Object.fromEntries(kept)
  }

  return parameters === undefined ? undefined : audited(parameters, '', 0)
}

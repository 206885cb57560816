/** JSON as the log knows it: one text for one value. */
export type Detail = string | number | boolean | null | undefined | Detail[] | { [name: string]: Detail }

/** Deeper than anything of ours; what lies below is cut, so a value that holds itself ends too. */
const MAX_DEPTH = 16

export const CUT = '[cut]'

/**
 * JSON text without spaces, keys sorted by code unit, undefined left out. The same value always gives the same text,
 * and reading it back and writing it again changes nothing. Never throws: a number JSON does not know becomes null,
 * a lone surrogate or a NUL (which PostgreSQL's JSON refuses) becomes U+FFFD.
 */
export const canonicalJson = (value: unknown): string => encode(value, 0) ?? 'null'

function encode(value: unknown, depth: number): string | undefined {
  if (typeof value === 'string') return quote(value)
  if (typeof value === 'bigint') return quote(String(value))
  if (typeof value !== 'object' || value === null) return JSON.stringify(value)
  if (depth >= MAX_DEPTH) return quote(CUT)
  // Dates, and secrets that travel as `Sensitive`, say themselves how they may be written.
  if ('toJSON' in value && typeof value.toJSON === 'function') return encode(value.toJSON(), depth + 1)
  if (Array.isArray(value)) return `[${value.map((item) => encode(item, depth + 1) ?? 'null').join()}]`
  return encodeMembers(value as Record<string, unknown>, depth)
}

function encodeMembers(members: Record<string, unknown>, depth: number): string {
  let text = ''
  for (const name of Object.keys(members).sort()) {
    // Names are cleaned before they are sorted, and two may become one.
    if (!isWellFormed(name)) return encodeMembers(withCleanNames(members), depth)
    const member = encode(members[name], depth + 1)
    if (member !== undefined) text += `${text === '' ? '' : ','}${quote(name)}:${member}`
  }
  return `{${text}}`
}

const withCleanNames = (members: Record<string, unknown>): Record<string, unknown> =>
  Object.fromEntries(Object.entries(members).map(([name, member]) => [wellFormed(name), member]))

/** Printable ASCII that JSON need not escape: nearly every text there is. */
const PLAIN = /^[ !#-[\]-~]*$/

const quote = (text: string): string => (PLAIN.test(text) ? `"${text}"` : JSON.stringify(wellFormed(text)))

const isWellFormed = (text: string): boolean => PLAIN.test(text) || wellFormed(text) === text

const wellFormed = (text: string): string => text.replaceAll('\0', '\ufffd').replace(/\p{Cs}/gu, '\ufffd')

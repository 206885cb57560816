import { EvaluationError } from '@marcbachmann/cel-js'

/** Entries that a list or map filled by a caller may have; the cost of a condition is reckoned with it. */
export const MAX_ENTRIES = 1_000
export const MAX_CHARACTERS = 32_768
export const MAX_TEXT_CHARACTERS = 8_192
/** The library remembers the type of every shape it met, so the number of shapes must be small. */
const MAX_DEPTH = 6

/** A failure of our own while evaluating; its message holds no value, and may be shown. */
export const OWN_FAILURE = 'leasehold'
export const failure = (message: string): EvaluationError =>
  new EvaluationError({ code: OWN_FAILURE, message })

/**
 * Claims in CEL's values; throws a failure when they are more than a condition may chew on.
 * Maps, not objects: a claim called `constructor` would be taken for the type of its object.
 */
export function claimMap(claims: Readonly<Record<string, unknown>>): unknown {
  let [entries, characters] = [0, 0]

  function text(value: string): string {
    characters += value.length
    limit(value.length, MAX_TEXT_CHARACTERS, 'characters in one of them')
    limit(characters, MAX_CHARACTERS, 'characters')
    return value
  }

  function convert(value: unknown, depth: number): unknown {
    limit(++entries, MAX_ENTRIES, 'values')
    limit(depth, MAX_DEPTH, 'levels')
    if (typeof value === 'string') return text(value)
    if (typeof value === 'number') return Number.isSafeInteger(value) ? BigInt(value) : value
    if (Array.isArray(value)) return value.map((item) => convert(item, depth + 1))
    if (typeof value !== 'object' || value === null) return value
    return new Map(Object.entries(value).map(([key, item]) => [text(key), convert(item, depth + 1)]))
  }
  return convert(claims, 0)
}

function limit(count: number, most: number, what: string): void {
  if (count > most) throw failure(`the claims cannot be read: more than ${most} ${what}`)
}

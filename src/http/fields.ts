import { parseDuration } from '../lib/duration.ts'
import { BrokerError } from '../lib/errors.ts'
import type { Parameters, Question } from './ports.ts'

/**
 * The dialect's weak types. A field's `read` turns any accepted form into the one the code works with, and gives
 * undefined for a form it does not accept. An absent field and a null one are the same: the handler does not see
 * the field, so a partial update keeps the old value. An empty string or list is a value.
 */
export type Field<T, Sure extends boolean = false> = {
  /** What the caller should have sent, for the error and for the published contract. */
  expects: string
  read(raw: unknown): T | undefined
  /** Older names under which clients still send it; the field's own name wins. */
  aliases: readonly string[]
  /** What stands in when the field is absent: a value, or the text of the refusal. */
  absent?: { value: T } | { refusal: string }
  /** Always there once decoded. Only the types use it. */
  sure?: Sure
}

// biome-ignore lint/suspicious/noExplicitAny: a table holds fields of every type
export type Fields = Readonly<Record<string, Field<any, boolean>>>

type SureNames<F extends Fields> = { [K in keyof F]: F[K] extends Field<unknown, true> ? K : never }[keyof F]
type ValueOf<F> = F extends Field<infer T, boolean> ? T : never

/** What a handler gets for a table of fields: the required and the defaulted ones always, the others when sent. */
export type Decoded<F extends Fields> = { readonly [K in SureNames<F>]: ValueOf<F[K]> } & {
  readonly [K in Exclude<keyof F, SureNames<F>>]?: ValueOf<F[K]>
}

const field = <T>(expects: string, read: (raw: unknown) => T | undefined): Field<T> => ({
  expects,
  read,
  aliases: [],
})

/** Refused with exactly this text when absent, null or empty. */
export const required = <T>(of: Field<T>, refusal: string): Field<T, true> => ({
  ...of,
  sure: true,
  absent: { refusal },
})

export const defaulted = <T>(of: Field<T>, value: T): Field<T, true> => ({
  ...of,
  sure: true,
  absent: { value },
})

export const alias = <T, Sure extends boolean>(of: Field<T, Sure>, ...names: string[]): Field<T, Sure> => ({
  ...of,
  aliases: names,
})

type Spellings = NonNullable<Question['spellings']>
const spellings = new WeakMap<Fields, Spellings>()

/** Under which names a table's fields may be sent, of those that have several: what policy says of one is said of all. */
export function spellingsOf(fields: Fields): Spellings {
  const known = spellings.get(fields)
  if (known) return known
  const groups = new Map<string, readonly string[]>()
  for (const [name, { aliases }] of Object.entries(fields)) {
    const names = aliases.length > 0 ? [name, ...aliases] : []
    for (const one of names) groups.set(one, [...new Set([...(groups.get(one) ?? []), ...names])])
  }
  spellings.set(fields, groups)
  return groups
}

export const text = field('a string', readText)
export const duration = field('a duration such as 3600, "1h30m" or "2d"', readDuration)
/** As `duration`, and -1 for none at all. */
export const leeway = field('a duration, or -1 for none', (raw) =>
  raw === -1 || raw === '-1' ? -1 : readDuration(raw),
)
export const bool = field('true or false', readBool)
export const int = field('a whole number', readInt)
export const number = field('a number', readNumber)
/** A list, or one string with commas between. */
export const commaList = field('a list, or a string separated by commas', readCommaList)
/** A list, or one string taken whole: SQL statements hold commas. */
export const stringList = field('a list of strings, or one string', readStringList)
/** Texts by name: an object, or a list of "name=value". */
export const keyValues = field('an object of strings, or a list of "name=value"', readKeyValues)
/** An object of any values, or one as JSON text. */
export const map = field('an object', readMap)
/** Any JSON value. */
export const json = field('a JSON value', (raw) => raw as NonNullable<unknown>)

export const oneOf = <const T extends string>(...values: T[]): Field<T> =>
  field(`one of ${values.join(', ')}`, (raw) => values.find((value) => value === raw))

function readText(raw: unknown): string | undefined {
  if (typeof raw === 'string') return raw
  if (typeof raw === 'number') return String(raw)
  if (typeof raw === 'boolean') return raw ? '1' : '0'
  return undefined
}

function readDuration(raw: unknown): number | undefined {
  return typeof raw === 'string' || typeof raw === 'number' ? parseDuration(raw) : undefined
}

const TRUE = new Set(['1', 't', 'T', 'TRUE', 'true', 'True'])
const FALSE = new Set(['0', 'f', 'F', 'FALSE', 'false', 'False'])

/** Go's ParseBool. */
export function parseBool(word: string): boolean | undefined {
  if (TRUE.has(word)) return true
  return FALSE.has(word) ? false : undefined
}

function readBool(raw: unknown): boolean | undefined {
  if (typeof raw === 'boolean') return raw
  if (typeof raw === 'number') return raw !== 0
  if (typeof raw !== 'string') return undefined
  return raw === '' ? false : parseBool(raw)
}

function readInt(raw: unknown): number | undefined {
  if (typeof raw === 'boolean') return raw ? 1 : 0
  const value = typeof raw === 'string' && /^[+-]?\d{1,16}$/.test(raw) ? Number(raw) : raw
  return Number.isSafeInteger(value) ? (value as number) : undefined
}

function readNumber(raw: unknown): number | undefined {
  const value = typeof raw === 'string' && /^[+-]?\d{1,16}(\.\d{1,16})?$/.test(raw) ? Number(raw) : raw
  return Number.isFinite(value) ? (value as number) : undefined
}

function readStringList(raw: unknown): string[] | undefined {
  if (raw === '') return []
  const texts = (Array.isArray(raw) ? raw : [raw]).map(readText)
  return texts.every((item) => item !== undefined) ? texts : undefined
}

function readCommaList(raw: unknown): string[] | undefined {
  const texts = readStringList(typeof raw === 'string' ? raw.split(',') : raw)
  return texts?.map((item) => item.trim()).filter((item) => item !== '')
}

function readKeyValues(raw: unknown): Record<string, string> | undefined {
  const object = objectOf(raw)
  const pairs = object ? Object.entries(object) : (Array.isArray(raw) ? raw : [raw]).map(splitPair)
  const values: [string, string][] = []
  for (const pair of pairs) {
    const value = pair && readText(pair[1])
    if (!pair || value === undefined) return undefined
    values.push([pair[0], value])
  }
  return Object.fromEntries(values)
}

function splitPair(raw: unknown): [string, unknown] | undefined {
  if (typeof raw !== 'string') return undefined
  const at = raw.indexOf('=')
  return at > 0 ? [raw.slice(0, at), raw.slice(at + 1)] : undefined
}

function readMap(raw: unknown): Record<string, unknown> | undefined {
  return objectOf(raw)
}

function objectOf(raw: unknown): Record<string, unknown> | undefined {
  if (typeof raw === 'string' && raw.trimStart().startsWith('{')) return objectOf(parsed(raw))
  return isObject(raw) ? raw : undefined
}

export const isObject = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value)

function parsed(raw: string): unknown {
  try {
    return JSON.parse(raw)
  } catch {
    return undefined
  }
}

/** Decodes what was sent by a route's table. Throws the dialect's 400, which names the field and repeats no value. */
export function decode<F extends Fields>(fields: F, sent: Parameters): Decoded<F> {
  const decoded: [string, unknown][] = []
  for (const [name, of] of Object.entries(fields)) {
    const value = valueFor(name, of, sent)
    if (value !== undefined) decoded.push([name, value])
  }
  return Object.fromEntries(decoded) as Decoded<F>
}

function valueFor(name: string, of: Fields[string], sent: Parameters): unknown {
  const sentAs = [name, ...of.aliases].find((key) => Object.hasOwn(sent, key) && (sent[key] ?? null) !== null)
  const value = sentAs === undefined ? undefined : of.read(sent[sentAs])
  if (sentAs !== undefined && value === undefined) {
    const reason = `error converting input for field "${sentAs}": expected ${of.expects}`
    throw new BrokerError('invalid_request', `Field validation failed: ${reason}`)
  }
  if (of.absent && 'refusal' in of.absent) {
    if (value === undefined || value === '' || (Array.isArray(value) && value.length === 0)) {
      throw new BrokerError('invalid_request', of.absent.refusal)
    }
  }
  if (value === undefined && of.absent && 'value' in of.absent) return of.absent.value
  return value
}

/** What the answer should say about fields that were sent and not used. */
export function fieldWarnings(fields: Fields, sent: Parameters, captures: Readonly<Record<string, string>>) {
  const known = new Set(Object.entries(fields).flatMap(([name, of]) => [name, ...of.aliases]))
  const names = Object.keys(sent).sort()
  const ignored = names.filter((name) => !known.has(name) && !Object.hasOwn(captures, name))
  const replaced = names.filter((name) => Object.hasOwn(captures, name) && sent[name] !== captures[name])
  const warnings: string[] = []
  if (ignored.length > 0) {
    warnings.push(`Endpoint ignored these unrecognized parameters: [${ignored.join(' ')}]`)
  }
  if (replaced.length > 0) {
    const list = `[${replaced.join(' ')}]`
    warnings.push(
      `Endpoint replaced the value of these parameters with the values captured from the endpoint's path: ${list}`,
    )
  }
  return warnings
}

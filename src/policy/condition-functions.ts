import { type Environment, parse } from '@marcbachmann/cel-js'
import { matchesAny } from '../lib/glob.ts'
import { inCidr, isAddress, isBlock } from './condition-cidr.ts'
import { failure } from './condition-claims.ts'
import { dayOfYear, isZone, readTimestamp, timestampOf, wallClock } from './condition-time.ts'
import { DURATION, TIMESTAMP } from './condition-values.ts'

/**
 * What a condition may call. A closed list: the library has more, and a later version may have more yet.
 *
 * There is no `matches`: JavaScript's regular expressions backtrack, a hostile pattern or claim can hold the server for
 * minutes, and no limit on their length helps much. `glob` says what policies need, and takes time in proportion.
 * There is no `map` and no `bind`: chained, they double a value at every step.
 */
export const LOOPS: ReadonlySet<string> = new Set(['all', 'exists', 'exists_one', 'filter'])

const KEPT = ['has', 'size', 'string', 'double', 'bool', 'type', 'startsWith', 'endsWith']

const GETTERS: Record<string, (wall: Date) => number> = {
  getFullYear: (wall) => wall.getUTCFullYear(),
  getMonth: (wall) => wall.getUTCMonth(),
  getDate: (wall) => wall.getUTCDate(),
  getDayOfMonth: (wall) => wall.getUTCDate() - 1,
  getDayOfWeek: (wall) => wall.getUTCDay(),
  getDayOfYear: dayOfYear,
  getHours: (wall) => wall.getUTCHours(),
  getMinutes: (wall) => wall.getUTCMinutes(),
  getSeconds: (wall) => wall.getUTCSeconds(),
  getMilliseconds: (wall) => wall.getUTCMilliseconds(),
}

const ADDED = ['in_cidr', 'glob']

export const FUNCTIONS: ReadonlySet<string> = new Set([
  ...LOOPS,
  ...KEPT,
  ...ADDED,
  ...Object.keys(GETTERS),
  ...['contains', 'lowerAscii', 'upperAscii', 'duration', 'timestamp', 'int'],
])

export const WHY_NOT: Readonly<Record<string, string>> = {
  matches: 'a regular expression can run without end; use glob("…*"), startsWith, endsWith or contains',
  map: 'use exists, all or filter, whose test can name a part of each entry',
}

/** The library refuses to have its own functions replaced, so ours carry this prefix and calls are pointed at them. */
export const PREFIX = 'leasehold_'

// biome-ignore lint/suspicious/noExplicitAny: the library checks arguments against the signature beside each.
type Handler = (...values: any[]) => unknown

const REPLACEMENTS: readonly (readonly [string, Handler])[] = [
  ['string.contains(string): bool', contains],
  // The library's go by Unicode, where the Kelvin sign is a k: one name would pass for another.
  [
    'string.lowerAscii(): string',
    (text: string) => text.replace(/[A-Z]+/g, (letters) => letters.toLowerCase()),
  ],
  [
    'string.upperAscii(): string',
    (text: string) => text.replace(/[a-z]+/g, (letters) => letters.toUpperCase()),
  ],
  [`duration(string): ${DURATION}`, toDuration],
  [
    `timestamp(string): ${TIMESTAMP}`,
    (text: string) => readTimestamp(text) ?? fail('a time is not RFC 3339'),
  ],
  [`timestamp(int): ${TIMESTAMP}`, (at: bigint) => timestampOf(at) ?? fail('a time is out of range')],
  ['int(int): int', (value: bigint) => value],
  [
    'int(double): int',
    (value: number) => toInt(Number.isFinite(value) ? BigInt(Math.trunc(value)) : undefined),
  ],
  // The library's takes '' for 0.
  ['int(string): int', (text: string) => toInt(/^[+-]?\d{1,19}$/.test(text) ? BigInt(text) : undefined)],
  ...Object.entries(GETTERS).map(([name, get]): [string, Handler] => [
    `${TIMESTAMP}.${name}(string): int`,
    (time: Date, zone: string) =>
      BigInt(get(wallClock(time, zone) ?? fail('a time zone is not known to this server'))),
  ]),
  // Without a zone the library's counts days by the process's clock.
  [`${TIMESTAMP}.getDayOfYear(): int`, (time: Date) => BigInt(dayOfYear(time))],
]

const nameAndCount = (signature: string): string => {
  const [, name = '', list = ''] = /(\w+)\(([^)]*)\)/.exec(signature) ?? []
  return `${name}/${list === '' ? 0 : list.split(',').length}`
}

const REPLACED: ReadonlySet<string> = new Set(REPLACEMENTS.map(([signature]) => nameAndCount(signature)))

export const isReplaced = (name: string, argumentCount: number): boolean =>
  REPLACED.has(`${name}/${argumentCount}`)

export function declareFunctions(environment: Environment): void {
  const declare = (signature: string, handler: Handler) =>
    environment.registerFunction(signature, handler, { async: false })
  for (const [signature, handler] of REPLACEMENTS) {
    declare(signature.replace(/(\w+)\(/, `${PREFIX}$1(`), handler)
  }
  declare('in_cidr(string, string): bool', (address: string, cidr: string) => {
    return inCidr(address, cidr) ?? fail('in_cidr was given no address, or no block of addresses')
  })
  declare('string.glob(string): bool', (text: string, pattern: string) => {
    bounded(text, pattern)
    return matchesAny([pattern], text)
  })
}

/** Literals that can only fail, by function: what is wrong with it, or undefined. */
export function wrongLiteral(name: string, argumentIndex: number, text: string): string | undefined {
  if (name === 'in_cidr' && argumentIndex === 0 && !isAddress(text)) return 'is no address'
  if (name === 'in_cidr' && argumentIndex === 1 && !isBlock(text))
    return 'is no block of addresses such as 10.0.0.0/8'
  if (Object.hasOwn(GETTERS, name) && !isZone(text)) return 'is no time zone such as Europe/Berlin or +01:00'
  if (name === 'timestamp' && !readTimestamp(text)) return 'is no time such as 2026-01-31T08:00:00Z'
  if (name === 'duration' && !standardDuration(text)) return 'is no duration such as 1h30m'
  return undefined
}

const fail = (message: string): never => {
  throw failure(message)
}

/** Searching takes up to the product of the two lengths. */
const MAX_SEARCH = 250_000

const bounded = (text: string, part: string): void => {
  if (text.length * part.length > MAX_SEARCH) throw failure('a text is too long to search')
}

function contains(text: string, part: string): boolean {
  bounded(text, part)
  return text.includes(part)
}

const toInt = (value: bigint | undefined): bigint =>
  value !== undefined && BigInt.asIntN(64, value) === value
    ? value
    : fail('a value is no whole number of 64 bits')

const libraryDuration = parse('duration(text)')

/** The library's reader takes cubic time in the number of digits, hence the limit. */
function standardDuration(text: string): unknown {
  if (text.length > 40) return undefined
  try {
    return libraryDuration({ text })
  } catch {
    return undefined
  }
}

function toDuration(text: string): unknown {
  return standardDuration(text) ?? fail('a duration cannot be read')
}

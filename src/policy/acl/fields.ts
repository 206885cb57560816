import { parseDuration } from '../../lib/duration.ts'
import { nearest } from '../../lib/nearest.ts'
import { quoted, type Source } from './source.ts'
import { type Entry, type ObjectValue, plain, type StringValue, type Value } from './value.ts'

/** Reads fields of a block. Every function throws `PolicyError` at the value that is wrong, and names the field. */

export function invalidKey(source: Source, key: StringValue, valid: readonly string[], where = ''): never {
  return source.fail(key.at, `${where}invalid key ${quoted(key.value)}${guess(key.value, valid)}`)
}

/** The end of a message: what was probably meant. Only words short enough to be typos are compared. */
export function guess(word: string, valid: readonly string[]): string {
  const close = word.length <= 40 ? nearest(word, valid) : undefined
  return close === undefined ? '' : `; did you mean "${close}"?`
}

/** The entries by key, each allowed once and only when its name is known. */
export function entriesByKey(
  source: Source,
  block: ObjectValue,
  valid: readonly string[],
  where: string,
): Map<string, Entry> {
  const entries = new Map<string, Entry>()
  for (const entry of block.entries) {
    const { key } = entry
    if (!valid.includes(key.value)) invalidKey(source, key, valid, where)
    if (entries.has(key.value))
      source.fail(key.at, `${where}the key ${quoted(key.value)} may be set only once`)
    entries.set(key.value, entry)
  }
  return entries
}

export function stringOf(source: Source, { key, value }: Entry, where: string): StringValue {
  if (value.kind !== 'string') return source.fail(value.at, `${where}${key.value} must be a string`)
  return value
}

export function stringsOf(source: Source, { key, value }: Entry, where: string): StringValue[] {
  return listOf(source, value, `${where}${key.value} must be a list of strings`).map((item) =>
    item.kind === 'string' ? item : source.fail(item.at, `${where}${key.value} must be a list of strings`),
  )
}

/** Whole seconds, or undefined for zero, which is how Vault says that there is no bound. */
export function durationOf(source: Source, { key, value }: Entry, where: string): number | undefined {
  const text = value.kind === 'string' || value.kind === 'number' ? value.value : undefined
  const seconds = text === undefined ? undefined : parseDuration(text)
  if (seconds === undefined) {
    const written = text === undefined ? '' : ` ${quoted(String(text))}`
    return source.fail(value.at, `${where}error parsing ${key.value}: invalid duration${written}`)
  }
  return seconds === 0 ? undefined : seconds
}

/** A map from parameter names, in lower case, to lists of values. */
export function parameterRulesOf(
  source: Source,
  { key, value }: Entry,
  where: string,
): ReadonlyMap<string, readonly unknown[]> {
  const field = `${where}${key.value}`
  const rules = new Map<string, readonly unknown[]>()
  const maps = value.kind === 'list' ? value.items : [value]
  for (const map of maps) {
    if (map.kind !== 'object') return source.fail(map.at, `${field} must be a map of lists`)
    for (const { key: parameter, value: values } of map.entries) {
      const name = parameter.value.toLowerCase()
      const complaint = `${field}: the values of ${quoted(name)} must be a list`
      if (rules.has(name)) source.fail(parameter.at, `${field}: ${quoted(name)} may be set only once`)
      rules.set(name, listOf(source, values, complaint).map(plain))
    }
  }
  return rules
}

function listOf(source: Source, value: Value, complaint: string): readonly Value[] {
  return value.kind === 'list' ? value.items : source.fail(value.at, complaint)
}

import { BrokerError } from '../../lib/errors.ts'
import { isObject } from '../../lib/objects.ts'

export { isObject }

/**
 * Readers of wire fields whose weak typing was undone before: undefined when a field was not sent, a `BrokerError`
 * that names it when it cannot be used. An empty text or list is a value: it clears what was there.
 */

export type WireFields = Readonly<Record<string, unknown>>

export const refused = (message: string): BrokerError => new BrokerError('invalid_request', message)

export function textField(fields: WireFields, name: string): string | undefined {
  const value = fields[name] ?? undefined
  if (value !== undefined && typeof value !== 'string') throw refused(`${name} must be text`)
  // PostgreSQL cannot keep it.
  if (value?.includes('\0')) throw refused(`${name} holds a NUL character`)
  return value
}

/** A list of texts, trimmed, without blanks or repeats. */
export function listField(fields: WireFields, name: string): string[] | undefined {
  const value = fields[name] ?? undefined
  if (value === undefined) return undefined
  if (!Array.isArray(value)) throw refused(`${name} must be a list of texts`)
  const items = value.map((item: unknown) => textField({ [name]: item }, name)?.trim() ?? '')
  return [...new Set(items.filter((item) => item !== ''))]
}

export function flagField(fields: WireFields, name: string): boolean | undefined {
  const value = fields[name] ?? undefined
  if (value !== undefined && typeof value !== 'boolean') throw refused(`${name} must be true or false`)
  return value
}

export function secondsField(fields: WireFields, name: string, min: number): number | undefined {
  const value = fields[name] ?? undefined
  if (value === undefined) return undefined
  if (typeof value !== 'number' || !Number.isSafeInteger(value)) {
    throw refused(`${name} must be a whole number of seconds`)
  }
  if (value < min) throw refused(`${name} cannot be under ${min}`)
  return value
}

export function mapField(fields: WireFields, name: string): Record<string, unknown> | undefined {
  const value = fields[name] ?? undefined
  if (value !== undefined && !isObject(value)) throw refused(`${name} must be a map`)
  return value
}

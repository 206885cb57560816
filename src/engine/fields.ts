import { BrokerError } from '../lib/errors.ts'
import type { Spec } from './engine.ts'

/**
 * Readers of wire fields: undefined when a field was not sent, a `BrokerError` that names it when it cannot be used.
 * The dialect's weak typing was undone before; what still comes in the wrong type is refused.
 */

const refuse = (name: string, problem: string): BrokerError =>
  new BrokerError('invalid_request', `${name} ${problem}`)

export function textField(fields: Spec, name: string): string | undefined {
  const value = fields[name]
  if (value === undefined || value === null || value === '') return undefined
  if (typeof value !== 'string') throw refuse(name, 'must be text')
  if (value.includes('\0')) throw refuse(name, 'holds a NUL character')
  return value
}

export function booleanField(fields: Spec, name: string): boolean | undefined {
  const value = fields[name]
  if (value === undefined || value === null) return undefined
  if (typeof value !== 'boolean') throw refuse(name, 'must be true or false')
  return value
}

export function wholeField(
  fields: Spec,
  name: string,
  range: { min: number; max: number },
): number | undefined {
  const value = fields[name]
  if (value === undefined || value === null) return undefined
  if (typeof value !== 'number' || !Number.isSafeInteger(value)) throw refuse(name, 'must be a whole number')
  if (value < range.min || value > range.max) {
    throw refuse(name, `must be between ${range.min} and ${range.max}`)
  }
  return value
}

const HUNDRED_YEARS_S = 100 * 365 * 86_400

export const secondsField = (fields: Spec, name: string): number | undefined =>
  wholeField(fields, name, { min: 0, max: HUNDRED_YEARS_S })

/** A list of texts; one text is a list of one, and blank items are left out. */
export function listField(fields: Spec, name: string): string[] | undefined {
  const value = fields[name]
  if (value === undefined || value === null) return undefined
  const items: unknown[] = Array.isArray(value) ? value : [value]
  for (const item of items) {
    if (typeof item !== 'string') throw refuse(name, 'must be a list of texts')
    if (item.includes('\0')) throw refuse(name, 'holds a NUL character')
  }
  return (items as string[]).filter((item) => item.trim() !== '')
}

export function mapField(fields: Spec, name: string): Record<string, unknown> | undefined {
  const value = fields[name]
  if (value === undefined || value === null) return undefined
  if (typeof value !== 'object' || Array.isArray(value)) throw refuse(name, 'must be a map')
  return value as Record<string, unknown>
}

/** The fields that were given, under their names: a spec stores nothing for what was not said. */
export function given(fields: Record<string, unknown>): Record<string, unknown> {
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined))
}

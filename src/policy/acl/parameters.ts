import { isDeepStrictEqual } from 'node:util'

/** Values by parameter name in lower case; an empty list means any value. */
export type ParameterRules = ReadonlyMap<string, readonly unknown[]>

/** What a rule demands of a request beyond its capability. */
export type Constraints = {
  allowed?: ParameterRules
  denied?: ParameterRules
  required?: readonly string[]
  minWrappingTtlSeconds?: number
  maxWrappingTtlSeconds?: number
}

export type Parameters = Readonly<Record<string, unknown>>

export type ParameterFault = { kind: 'required' | 'denied' | 'allowed'; parameter: string }

/** Vault's way to hold several rules for one pattern at once: lists grow together, of two TTLs the smaller counts. */
export function mergeConstraints(all: readonly Constraints[]): Constraints {
  const pick = <T>(each: (constraints: Constraints) => T | undefined): T[] =>
    all.map(each).filter((value) => value !== undefined)
  const minima = pick((constraints) => constraints.minWrappingTtlSeconds)
  const maxima = pick((constraints) => constraints.maxWrappingTtlSeconds)
  return {
    allowed: mergeRules(pick(({ allowed }) => allowed)),
    denied: mergeRules(pick(({ denied }) => denied)),
    required: [...new Set(pick(({ required }) => required).flat())],
    ...(minima.length > 0 && { minWrappingTtlSeconds: Math.min(...minima) }),
    ...(maxima.length > 0 && { maxWrappingTtlSeconds: Math.min(...maxima) }),
  }
}

/** A list that is empty in any of the rules stays empty: there it means every value, and swallows the others. */
function mergeRules(all: readonly ParameterRules[]): ParameterRules {
  const merged = new Map<string, readonly unknown[]>()
  for (const rules of all) {
    for (const [name, values] of rules) {
      const before = merged.get(name)
      const any = values.length === 0 || before?.length === 0
      merged.set(name, any ? [] : [...(before ?? []), ...values])
    }
  }
  return merged
}

/** Whether a request that asks for its answer wrapped for so long, or not at all, is within the bounds. */
export function wrappingFits(
  { minWrappingTtlSeconds: min, maxWrappingTtlSeconds: max }: Constraints,
  asked: number | undefined,
): boolean {
  if (min === undefined && max === undefined) return true
  // Rules merged from several documents may leave no TTL that fits; then none does.
  return asked !== undefined && asked <= (max ?? asked) && asked >= (min ?? asked)
}

/** The first parameter that breaks a rule. Denied comes before allowed; what is missing comes before both. */
export function parameterFault(
  { required = [], denied, allowed }: Constraints,
  parameters: Parameters,
): ParameterFault | undefined {
  const missing = required.find((name) => !Object.hasOwn(parameters, name))
  if (missing !== undefined) return { kind: 'required', parameter: missing }
  for (const name of Object.keys(parameters)) {
    const values = denied?.get(name.toLowerCase())
    if (denied?.has('*') || (values && isIn(parameters[name], values)))
      return { kind: 'denied', parameter: name }
  }
  if (!allowed || allowed.size === 0) return undefined
  const others = allowed.has('*')
  for (const name of Object.keys(parameters)) {
    const values = allowed.get(name.toLowerCase())
    if (values ? !isIn(parameters[name], values) : !others) return { kind: 'allowed', parameter: name }
  }
  return undefined
}

const isIn = (value: unknown, values: readonly unknown[]): boolean =>
  values.length === 0 || values.some((listed) => same(listed, value))

/**
 * A number or a boolean is the same value as its text: the dialect's fields are weakly typed, and a denied `true`
 * must not come in as "true". Only a star at an end of a listed text is a glob.
 */
function same(listed: unknown, value: unknown): boolean {
  const [a, b] = [asText(listed), asText(value)]
  if (a === undefined || b === undefined) return isDeepStrictEqual(listed, value)
  return typeof listed === 'string' && a.length > 1 ? matchesGlob(a, b) : a === b
}

/** Unlike the dialect's other globs, a star in the middle is just a star. */
function matchesGlob(pattern: string, text: string): boolean {
  const [open, close] = [pattern.startsWith('*'), pattern.endsWith('*')]
  const body = pattern.slice(Number(open), pattern.length - Number(close))
  if (open && close) return text.includes(body)
  if (open) return text.endsWith(body)
  return close ? text.startsWith(body) : text === body
}

const asText = (value: unknown): string | undefined =>
  typeof value === 'string' || typeof value === 'number' || typeof value === 'boolean'
    ? String(value)
    : undefined

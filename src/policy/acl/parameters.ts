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

/** For each name of a field that goes by several, all of them, its own first. */
export type Spellings = ReadonlyMap<string, readonly string[]>

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

/**
 * The first parameter that breaks a rule, as the rule spells it. Denied comes before allowed; what is missing comes
 * before both. A rule about one spelling of a field is about all: it is denied if any is, required once, and of what is
 * allowed, a rule about the very name that was sent comes before those about the others.
 */
export function parameterFault(
  { required = [], denied, allowed }: Constraints,
  parameters: Parameters,
  spellings?: Spellings,
): ParameterFault | undefined {
  const spelt = (name: string) => spellings?.get(name) ?? [name]
  const missing = required.find(
    (name) => !spelt(name).some((spelling) => Object.hasOwn(parameters, spelling)),
  )
  if (missing !== undefined) return { kind: 'required', parameter: missing }
  return (
    (denied && deniedFault(denied, parameters, spelt)) ??
    (allowed && allowedFault(allowed, parameters, spelt))
  )
}

type Spelt = (name: string) => readonly string[]

function deniedFault(denied: ParameterRules, parameters: Parameters, spelt: Spelt) {
  for (const [name, value] of Object.entries(parameters)) {
    const by = spelt(name).find((spelling) => {
      const values = denied.get(spelling.toLowerCase())
      return values && isIn(value, values)
    })
    if (denied.has('*') || by !== undefined) return { kind: 'denied', parameter: by ?? name } as const
  }
  return undefined
}

function allowedFault(allowed: ParameterRules, parameters: Parameters, spelt: Spelt) {
  if (allowed.size === 0) return undefined
  const others = allowed.has('*')
  for (const [name, value] of Object.entries(parameters)) {
    const by = [name, ...spelt(name)].find((spelling) => allowed.has(spelling.toLowerCase())) ?? name
    const values = allowed.get(by.toLowerCase())
    if (values ? !isIn(value, values) : !others) return { kind: 'allowed', parameter: by } as const
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

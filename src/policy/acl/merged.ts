import { bitOf, type CapabilitySet } from './capabilities.ts'
import { type Constraints, mergeConstraints, type ParameterFault } from './parameters.ts'
import type { Condition } from './rule.ts'

/** Where a rule is written. `path` is the text of the document, with its templates. */
export type RuleSource = { policy: string; version: number; path: string; line: number }

/** A condition that was asked on the way to a decision, and its answer. */
export type ConditionCheck = RuleSource & { text: string; held: boolean }

/** A rule of one of the policies, bound to the identity that asks. */
export type BoundRule<C> = {
  source: RuleSource
  capabilities: CapabilitySet
  constraints: Constraints | undefined
  condition: BoundCondition<C> | undefined
}

/** `slot` is the same for parts of one text, in whatever condition; the checks are made before they are needed. */
export type BoundCondition<C> = {
  parts: readonly (Pick<Condition<C>, 'holds'> & { slot: number })[]
  yes: ConditionCheck
  no: ConditionCheck
}

/** What the rules of one pattern that hold say together. */
export type Merged<C> = {
  rules: readonly BoundRule<C>[]
  capabilities: CapabilitySet
  /** Joined when first asked for: most requests end before. */
  constraints(): Constraints | undefined
}

const DENY = bitOf('deny')

export const denies = ({ capabilities }: { capabilities: CapabilitySet }): boolean =>
  (capabilities & DENY) !== 0

/** All rules for the same pattern. */
export type PatternRules<C> = {
  /** Those that deny come first. */
  rules: readonly BoundRule<C>[]
  /** What they say whatever the context; undefined when that depends on conditions. */
  settled: Merged<C> | undefined
}

export function patternRules<C>(rules: readonly BoundRule<C>[]): PatternRules<C> {
  const denial = rules.find((rule) => denies(rule) && !rule.condition)
  if (denial) return { rules: [denial], settled: merge([denial]) }
  const ordered = [...rules].sort((a, b) => Number(denies(b)) - Number(denies(a)))
  return { rules: ordered, settled: rules.some(({ condition }) => condition) ? undefined : merge(rules) }
}

/** Undefined when no rule holds: then it is as if the pattern were not written. A rule that denies ends the matter. */
export function applicable<C>(
  { rules, settled }: PatternRules<C>,
  holds: (rule: BoundRule<C>) => boolean,
): Merged<C> | undefined {
  if (settled) return settled
  const held: BoundRule<C>[] = []
  for (const rule of rules) {
    if (!holds(rule)) continue
    if (denies(rule)) return merge([rule])
    held.push(rule)
  }
  return held.length > 0 ? merge(held) : undefined
}

function merge<C>(rules: readonly BoundRule<C>[]): Merged<C> {
  let joined: Constraints | undefined
  return {
    rules,
    capabilities: rules.reduce((set, rule) => set | rule.capabilities, 0),
    constraints() {
      joined ??= join(rules.flatMap(({ constraints }) => constraints ?? []))
      return joined
    },
  }
}

const join = (constraints: readonly Constraints[]): Constraints | undefined =>
  constraints.length > 1 ? mergeConstraints(constraints) : constraints[0]

/** The rule that grants the capability, or the first: it is why the pattern counts at all. */
export const granting = <C>({ rules }: Merged<C>, capability: CapabilitySet): BoundRule<C> | undefined =>
  rules.find(({ capabilities }) => (capabilities & capability) !== 0) ?? rules[0]

export const bounding = <C>({ rules }: Merged<C>): BoundRule<C> | undefined =>
  rules.find(({ constraints }) => constraints?.minWrappingTtlSeconds ?? constraints?.maxWrappingTtlSeconds)

/** The rule that names the parameter; failing that, the first with a list of that kind. */
export function constraining<C>(
  { rules }: Merged<C>,
  { kind, parameter }: ParameterFault,
): BoundRule<C> | undefined {
  const name = parameter.toLowerCase()
  const named = rules.find(({ constraints }) =>
    kind === 'required'
      ? constraints?.required?.includes(name)
      : constraints?.[kind]?.has(name) || (kind === 'denied' && constraints?.denied?.has('*')),
  )
  return named ?? rules.find(({ constraints }) => constraints?.[kind])
}

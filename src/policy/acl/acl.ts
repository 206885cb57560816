import { bitOf, type Capability, type CapabilitySet, namesOf } from './capabilities.ts'
import type { PolicyDocument } from './document.ts'
import {
  applicable,
  type BoundCondition,
  type BoundRule,
  bounding,
  type ConditionCheck,
  constraining,
  denies,
  granting,
  type Merged,
  type PatternRules,
  patternRules,
  type RuleSource,
} from './merged.ts'
import { type Parameters, parameterFault, type Spellings, wrappingFits } from './parameters.ts'
import { type Pattern, patternOf } from './pattern.ts'
import type { Condition, PathRule } from './rule.ts'
import { indexRules } from './rule-index.ts'
import { fillTemplate, type PolicyIdentity } from './template.ts'

export type AclOperation = 'create' | 'read' | 'update' | 'patch' | 'delete' | 'list'

/** What is asked. `path` is decoded and without `/v1/`; a list means the folder, with or without its slash. */
export type AclRequest = {
  operation: AclOperation
  path: string
  /** The fields of the request as sent, query or body. */
  parameters?: Parameters
  spellings?: Spellings
  /** For how long the caller wants the answer wrapped; undefined when it is not to be. */
  wrapTtlSeconds?: number
  /** The endpoint needs `sudo` besides. */
  sudo: boolean
  /** Asked once more for what was granted before: how it was asked for then is not judged again. */
  again?: boolean
}

export type AclReason =
  | 'granted'
  | 'no_rule'
  | 'capability_missing'
  | 'denied'
  | 'sudo_missing'
  | 'parameter'
  | 'wrapping_ttl'

export type AclDecision = {
  allowed: boolean
  why: AclReason
  /** The rule that decided; undefined when none applied, which denies. */
  deciding: RuleSource | undefined
  /** With `parameter`: the one at fault. */
  parameter?: string
  /** Every condition that was asked, in that order. */
  conditions: readonly ConditionCheck[]
}

export type Acl<C> = {
  /** Decides one request. Never throws; conditions are asked only of patterns that cover the path, best first. */
  decide(request: AclRequest, context: C): AclDecision
  /** What may be done at a path, in the dialect's words and sorted; `['deny']` for nothing. */
  capabilities(path: string, context: C): Capability[]
  /** Every pattern whose rules hold, as written, and what it grants: for callers who show or hide things by it. */
  patterns(context: C): { pattern: string; exact: boolean; capabilities: Capability[] }[]
}

export type NamedPolicy<C> = { name: string; version: number; document: PolicyDocument<C> }

/**
 * Joins policies into what decides for one holder. Rules whose templates the identity cannot fill are left out. The
 * `root` policy is no document and not known here.
 */
export function compileAcl<C>({
  policies,
  identity = {},
}: {
  policies: readonly NamedPolicy<C>[]
  identity?: PolicyIdentity
}): Acl<C> {
  const { gathered, partCount } = gather(policies, identity)
  const entries = gathered.map(({ pattern, rules }) => ({ pattern, filed: patternRules(rules) }))
  const index = indexRules(entries)

  /** Vault's order: the path itself, for a list the path without its slash, then patterns for both in the same order. */
  const deciding = (path: string, list: boolean, holds: (rule: BoundRule<C>) => boolean) => {
    const ask = (filed: PatternRules<C> | undefined) => filed && applicable(filed, holds)
    const bare = list && path.endsWith('/') ? path.slice(0, -1) : undefined
    return (
      ask(index.exact(path)) ??
      (bare === undefined ? undefined : ask(index.exact(bare))) ??
      index.first(path, undefined, ask) ??
      (bare === undefined ? undefined : index.first(bare, path, ask))
    )
  }

  return {
    decide(request, context) {
      const list = request.operation === 'list'
      const path = withoutLeadingSlash(request.path)
      const { holds, checks } = asker(context, partCount)
      const merged = deciding(list && !path.endsWith('/') ? `${path}/` : path, list, holds)
      return { ...judge(merged, request), conditions: checks }
    },
    capabilities(path, context) {
      const merged = deciding(withoutLeadingSlash(path), true, asker(context, partCount).holds)
      return namesOf(merged?.capabilities ?? 0)
    },
    patterns(context) {
      const { holds } = asker(context, partCount)
      return entries.flatMap(({ pattern, filed }) => {
        const merged = applicable(filed, holds)
        return merged
          ? [{ pattern: pattern.text, exact: pattern.exact, capabilities: namesOf(merged.capabilities) }]
          : []
      })
    },
  }
}

const withoutLeadingSlash = (path: string): string => (path.startsWith('/') ? path.replace(/^\/+/, '') : path)

/** Asks each part of a condition once in a decision, however many rules carry it, and writes down how each rule fared. */
function asker<C>(context: C, partCount: number) {
  const checks: ConditionCheck[] = []
  let answers: Int8Array | undefined
  const holds = ({ condition }: BoundRule<C>): boolean => {
    if (!condition) return true
    answers ??= new Int8Array(partCount)
    const known = answers
    const held = condition.parts.every(({ slot, holds }) => {
      known[slot] ||= holds(context) ? YES : NO
      return known[slot] === YES
    })
    checks.push(held ? condition.yes : condition.no)
    return held
  }
  return { holds, checks }
}

const [YES, NO] = [1, -1]

type Gathered<C> = { pattern: Pattern; rules: BoundRule<C>[] }

/** The rules of all policies by pattern, and how many parts their conditions have that differ in their text. */
function gather<C>(
  policies: readonly NamedPolicy<C>[],
  identity: PolicyIdentity,
): { gathered: Gathered<C>[]; partCount: number } {
  const byText = new Map<string, Gathered<C>>()
  const slots = new Map<string, number>()
  for (const { name: policy, version, document } of policies) {
    for (const rule of document.rules) {
      const pattern = rule.pattern ?? filled(rule, identity)
      if (!pattern) continue
      const source = { policy, version, path: rule.path, line: rule.line }
      const { capabilities, constraints } = rule
      const condition = rule.condition && bindCondition(rule.condition, source, slots)
      const bound = { source, capabilities, constraints, condition }
      const same = byText.get(pattern.text)
      if (same) same.rules.push(bound)
      else byText.set(pattern.text, { pattern, rules: [bound] })
    }
  }
  return { gathered: [...byText.values()], partCount: slots.size }
}

function bindCondition<C>(
  condition: Condition<C>,
  source: RuleSource,
  slots: Map<string, number>,
): BoundCondition<C> {
  const { text, parts = [condition] } = condition
  const slotOf = (part: string): number => {
    const slot = slots.get(part) ?? slots.size
    slots.set(part, slot)
    return slot
  }
  return {
    parts: parts.map((part) => ({ slot: slotOf(part.text), holds: (context) => part.holds(context) })),
    yes: { ...source, text, held: true },
    no: { ...source, text, held: false },
  }
}

function filled<C>({ path }: PathRule<C>, identity: PolicyIdentity): Pattern | undefined {
  const text = fillTemplate(path, identity)
  return text === undefined ? undefined : patternOf(text)
}

type Verdict = Omit<AclDecision, 'conditions'>

const NO_RULE: Verdict = { allowed: false, why: 'no_rule', deciding: undefined }

const SUDO = bitOf('sudo')

/** Parameters are looked at only where they can be part of the request; a list or a delete has none of its own. */
const WITH_PARAMETERS: ReadonlySet<AclOperation> = new Set(['create', 'read', 'update', 'patch'])

function judge<C>(merged: Merged<C> | undefined, request: AclRequest): Verdict {
  if (!merged) return NO_RULE
  const needed = bitOf(request.operation)
  const by = granting(merged, needed)
  if (denies(merged)) return refusal('denied', by)
  if (!has(merged, needed)) return refusal('capability_missing', by)
  if (request.sudo && !has(merged, SUDO)) return refusal('sudo_missing', by)
  const constraints = request.again ? undefined : merged.constraints()
  if (constraints) {
    if (!wrappingFits(constraints, request.wrapTtlSeconds)) return refusal('wrapping_ttl', bounding(merged))
    const fault = WITH_PARAMETERS.has(request.operation)
      ? parameterFault(constraints, request.parameters ?? {}, request.spellings)
      : undefined
    if (fault) return { ...refusal('parameter', constraining(merged, fault)), parameter: fault.parameter }
  }
  return { allowed: true, why: 'granted', deciding: by?.source }
}

const has = ({ capabilities }: Merged<unknown>, needed: CapabilitySet): boolean =>
  (capabilities & needed) !== 0

const refusal = (why: AclReason, by: BoundRule<never> | undefined): Verdict => ({
  allowed: false,
  why,
  deciding: by?.source,
})

import fc from 'fast-check'
import { expect, test } from 'vitest'
import { type AclDecision, type AclOperation, type AclRequest, compileAcl } from '../../src/policy/acl/acl.ts'
import { parsePolicy } from '../../src/policy/acl/document.ts'

/**
 * Vault's rules as its documentation tells them, with no thought for speed: list every pattern that covers the path,
 * put them in order, take the first that has a rule left once conditions are asked, add its rules together.
 */

type Facts = Readonly<Record<string, boolean>>

type ModelRule = {
  path: string
  capabilities: string[]
  condition?: string
  allowed?: Record<string, string[]>
  denied?: Record<string, string[]>
  required?: string[]
  min?: number
  max?: number
}

type Verdict = Pick<AclDecision, 'allowed' | 'why'>

const isExact = (pattern: string) => !pattern.endsWith('*') && !pattern.split('/').includes('+')

function covers(pattern: string, path: string): boolean {
  const escaped = pattern
    .replace(/\*$/, '')
    .split('/')
    .map((segment) => (segment === '+' ? '[^/]*' : segment.replace(/[^a-z0-9]/g, '\\$&')))
  return new RegExp(`^${escaped.join('/')}${pattern.endsWith('*') ? '' : '$'}`).test(path)
}

/** The documented list of criteria, word for word: true when `p` is of lower priority than `q`. */
function isLower(p: string, q: string): boolean {
  const wildcard = (x: string) => x.search(/(?<=^|\/)\+(?=\/|$)|\*$/)
  const firstWildcard = (x: string) => (wildcard(x) < 0 ? x.length : wildcard(x))
  const plus = (x: string) => x.split('/').filter((segment) => segment === '+').length
  if (firstWildcard(p) !== firstWildcard(q)) return firstWildcard(p) < firstWildcard(q)
  if (p.endsWith('*') !== q.endsWith('*')) return p.endsWith('*')
  if (plus(p) !== plus(q)) return plus(p) > plus(q)
  if (p.length !== q.length) return p.length < q.length
  return p < q
}

function patternsInOrder(patterns: readonly string[], asked: string, list: boolean): string[] {
  const paths = !list ? [asked] : asked.endsWith('/') ? [asked, asked.slice(0, -1)] : [`${asked}/`, asked]
  const ordered: string[] = []
  for (const path of paths)
    ordered.push(...patterns.filter((pattern) => isExact(pattern) && pattern === path))
  for (const path of paths) {
    const left = patterns.filter((pattern) => !isExact(pattern) && covers(pattern, path))
    for (const pattern of left.sort((p, q) => (isLower(p, q) ? 1 : -1)))
      if (!ordered.includes(pattern)) ordered.push(pattern)
  }
  return ordered
}

/** The rules that decide and the patterns that were looked at on the way. */
function winning(rules: readonly ModelRule[], path: string, list: boolean, facts: Facts) {
  const looked: string[] = []
  for (const pattern of patternsInOrder([...new Set(rules.map((rule) => rule.path))], path, list)) {
    looked.push(pattern)
    const held = rules.filter((rule) => rule.path === pattern && (!rule.condition || facts[rule.condition]))
    if (held.length > 0) return { held, looked }
  }
  return { held: [], looked }
}

const listed = (rules: readonly ModelRule[], kind: 'allowed' | 'denied') =>
  rules.flatMap((rule) => Object.entries(rule[kind] ?? {}))

/** Whether the lists for a name, taken together, have the value; an empty one has every value. */
const has = (lists: readonly string[][], value: string) =>
  lists.some((values) => values.length === 0) || lists.flat().includes(value)

function parametersFit(rules: readonly ModelRule[], parameters: Record<string, string>): boolean {
  const [allowed, denied] = [listed(rules, 'allowed'), listed(rules, 'denied')]
  const listsFor = (entries: [string, string[]][], name: string) =>
    entries.filter(([key]) => key === name).map(([, values]) => values)
  if (rules.some((rule) => rule.required?.some((name) => !(name in parameters)))) return false
  return Object.entries(parameters).every(([name, value]) => {
    if (denied.some(([key]) => key === '*')) return false
    if (listsFor(denied, name).length > 0 && has(listsFor(denied, name), value)) return false
    if (allowed.length === 0) return true
    if (listsFor(allowed, name).length > 0) return has(listsFor(allowed, name), value)
    return allowed.some(([key]) => key === '*')
  })
}

function wrappingFits(rules: readonly ModelRule[], asked: number | undefined): boolean {
  const minima = rules.flatMap(({ min }) => min ?? [])
  const maxima = rules.flatMap(({ max }) => max ?? [])
  if (minima.length + maxima.length === 0) return true
  if (asked === undefined) return false
  return asked >= Math.min(...(minima.length ? minima : [0])) && asked <= Math.min(...maxima)
}

function judge(held: readonly ModelRule[], request: AclRequest): Verdict {
  const granted = held.flatMap(({ capabilities }) => capabilities)
  if (held.length === 0) return { allowed: false, why: 'no_rule' }
  if (granted.includes('deny')) return { allowed: false, why: 'denied' }
  if (!granted.includes(request.operation)) return { allowed: false, why: 'capability_missing' }
  if (request.sudo && !granted.includes('sudo')) return { allowed: false, why: 'sudo_missing' }
  if (!wrappingFits(held, request.wrapTtlSeconds)) return { allowed: false, why: 'wrapping_ttl' }
  const carries = !['delete', 'list'].includes(request.operation)
  if (carries && !parametersFit(held, request.parameters as Record<string, string>))
    return { allowed: false, why: 'parameter' }
  return { allowed: true, why: 'granted' }
}

const segment = fc.constantFrom('a', 'b', 'ab', 'aba', '')

const randomPath = fc
  .array(segment, { minLength: 1, maxLength: 4 })
  .map((segments) => segments.join('/').replace(/^\/+/, ''))

// Paths that many patterns are cut from, or patterns would seldom meet.
const favourite = fc.constantFrom('a/b/ab/aba', 'a/b/ab/', 'ab/a/aba', 'ab')

const path = fc.oneof(randomPath, favourite)

/** A path with some segments blotted out, and perhaps cut off by a star. */
const pattern = fc
  .tuple(path, fc.nat(15), fc.oneof(fc.constant(99), fc.nat(10)), fc.constantFrom('', '', '', '/', '/*'))
  .map(([whole, blots, cut, end]) => {
    const text = whole
      .split('/')
      .map((each, i) => ((blots >> i) & 1 ? '+' : each))
      .join('/')
    const ended = cut < text.length ? `${text.slice(0, cut)}*` : text + end
    return ended.replace('+*', '+').replace(/^\/+/, '')
  })

const operation = fc.constantFrom<AclOperation>('create', 'read', 'update', 'patch', 'delete', 'list')

const capability = fc.oneof(
  { weight: 8, arbitrary: operation },
  { weight: 2, arbitrary: fc.constant('sudo') },
  { weight: 1, arbitrary: fc.constant('deny') },
)

const names = fc.constantFrom('x', 'y', '*')
const values = fc.array(fc.constantFrom('1', '2', '3'), { maxLength: 2 })
const lists = fc.dictionary(names, values, { minKeys: 1, maxKeys: 2 })
const seldom = <T>(arbitrary: fc.Arbitrary<T>) => fc.option(arbitrary, { nil: undefined, freq: 3 })
const rarely = <T>(arbitrary: fc.Arbitrary<T>) =>
  fc.oneof({ weight: 4, arbitrary: fc.constant(undefined) }, { weight: 1, arbitrary })

const rule: fc.Arbitrary<ModelRule> = fc
  .record({
    path: pattern,
    capabilities: fc.array(capability, { maxLength: 4 }),
    condition: seldom(fc.constantFrom('c0', 'c1', 'c2')),
    allowed: rarely(lists),
    denied: rarely(lists),
    required: rarely(fc.array(fc.constantFrom('x', 'y'), { minLength: 1, maxLength: 2 })),
    ttls: rarely(fc.tuple(fc.integer({ min: 1, max: 5 }), fc.integer({ min: 5, max: 9 }))),
  })
  .map(({ ttls, ...fields }) => {
    const drawn = { ...fields, ...(ttls && { min: ttls[0], max: ttls[1] }) }
    return Object.fromEntries(Object.entries(drawn).filter(([, value]) => value !== undefined)) as ModelRule
  })

function asHcl(rules: readonly ModelRule[]): string {
  const map = (kind: string, entries: Record<string, string[]> | undefined) =>
    entries
      ? [
          `${kind} = {`,
          ...Object.entries(entries).map(([name, list]) => `  "${name}" = ${JSON.stringify(list)}`),
          '}',
        ]
      : []
  return rules
    .flatMap((each) => [
      `path "${each.path}" {`,
      `capabilities = ${JSON.stringify(each.capabilities)}`,
      ...map('allowed_parameters', each.allowed),
      ...map('denied_parameters', each.denied),
      ...(each.required ? [`required_parameters = ${JSON.stringify(each.required)}`] : []),
      ...(each.min ? [`min_wrapping_ttl = ${each.min}`] : []),
      ...(each.max ? [`max_wrapping_ttl = "${each.max}s"`] : []),
      ...(each.condition ? [`condition = <<-EOT\n  ${each.condition}\n  EOT`] : []),
      '}',
    ])
    .join('\n')
}

function asJson(rules: readonly ModelRule[]): string {
  const blocks = rules.map((each) => ({
    [each.path]: {
      capabilities: each.capabilities,
      ...(each.allowed && { allowed_parameters: each.allowed }),
      ...(each.denied && { denied_parameters: each.denied }),
      ...(each.required && { required_parameters: each.required }),
      ...(each.min && { min_wrapping_ttl: each.min }),
      ...(each.max && { max_wrapping_ttl: `${each.max}s` }),
      ...(each.condition && { condition: each.condition }),
    },
  }))
  return JSON.stringify({ path: blocks })
}

const document = fc
  .tuple(fc.array(rule, { maxLength: 6 }), fc.boolean())
  .map(([rules, json]) => ({ rules, text: json ? asJson(rules) : asHcl(rules) }))

const request: fc.Arbitrary<AclRequest> = fc
  .record({
    operation,
    path,
    parameters: fc.dictionary(fc.constantFrom('x', 'y', 'z'), fc.constantFrom('1', '2', '3'), { maxKeys: 2 }),
    ttl: seldom(fc.integer({ min: 1, max: 9 })),
    sudo: fc.boolean(),
  })
  .map(({ ttl, ...rest }) => (ttl === undefined ? rest : { ...rest, wrapTtlSeconds: ttl }))

const facts = fc.record({ c0: fc.boolean(), c1: fc.boolean(), c2: fc.boolean() })

const compile = (text: string) => ({ text, holds: (known: Facts) => known[text.trim()] === true })

const aclOf = (texts: readonly string[]) =>
  compileAcl({
    policies: texts.map((text, i) => ({ name: `p${i}`, version: 1, document: parsePolicy(text, compile) })),
  })

test('every decision is the model’s', () => {
  const reasons = new Set<string>()
  fc.assert(
    fc.property(
      fc.array(document, { maxLength: 4 }),
      fc.array(request, { minLength: 4 }),
      facts,
      (documents, requests, known) => {
        const acl = aclOf(documents.map(({ text }) => text))
        const rules = documents.flatMap((each) => each.rules)
        for (const asked of requests) {
          const decision = acl.decide(asked, known)
          const { held, looked } = winning(rules, asked.path, asked.operation === 'list', known)
          expect({ allowed: decision.allowed, why: decision.why }).toEqual(judge(held, asked))
          expect(decision.deciding?.path).toBe(held[0]?.path)
          for (const check of decision.conditions) {
            expect(looked).toContain(check.path)
            expect(check.held).toBe(known[check.text.trim() as keyof typeof known])
          }
          reasons.add(decision.why)
        }
      },
    ),
    { numRuns: 400 },
  )
  // A model that is never asked the interesting questions proves nothing.
  expect(reasons.size).toBe(7)
})

test('capabilities are the model’s', () => {
  fc.assert(
    fc.property(fc.array(document, { maxLength: 4 }), path, facts, (documents, asked, known) => {
      const rules = documents.flatMap((each) => each.rules)
      // A path without its slash is no folder here: only one that has it falls back to the path without.
      const { held } = winning(rules, asked, asked.endsWith('/'), known)
      const granted = [...new Set(held.flatMap(({ capabilities }) => capabilities))].sort()
      const expected = granted.length === 0 || granted.includes('deny') ? ['deny'] : granted
      expect(aclOf(documents.map(({ text }) => text)).capabilities(asked, known)).toEqual(expected)
    }),
    { numRuns: 300 },
  )
})

test('the order of policies and of rules decides nothing', () => {
  fc.assert(
    fc.property(fc.array(document, { maxLength: 4 }), request, facts, (documents, asked, known) => {
      const there = aclOf(documents.map(({ text }) => text)).decide(asked, known)
      const back = aclOf(documents.map(({ rules }) => asHcl([...rules].reverse())).reverse()).decide(
        asked,
        known,
      )
      expect({ allowed: back.allowed, why: back.why }).toEqual({ allowed: there.allowed, why: there.why })
    }),
    { numRuns: 200 },
  )
})

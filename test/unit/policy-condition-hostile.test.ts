import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import {
  type Condition,
  ConditionError,
  compileCondition,
  prepareContext,
} from '../../src/policy/condition.ts'
import { decisionContext } from '../../src/policy/context.ts'

const contextWith = (claims: Record<string, unknown>, groups: string[] = ['a', 'b']) =>
  prepareContext(
    decisionContext({
      principal: { kind: 'workload', mount: 'auth/jwt/', subject: 's', claims, groups },
      request: { operation: 'read', path: 'p', time: new Date(0), tls: true },
    }),
  )

const CONTEXT = contextWith({ text: 'x', list: [1, 'a', { b: null }] })

/** The condition, or undefined when it was refused as it must be: by a `ConditionError` that points into the text. */
function tried(text: string): Condition | undefined {
  try {
    return compileCondition(text)
  } catch (error) {
    if (!(error instanceof ConditionError)) throw error
    const lines = text.split('\n')
    expect(error.line).toBeGreaterThanOrEqual(1)
    expect(error.line).toBeLessThanOrEqual(lines.length)
    expect(error.column).toBeGreaterThanOrEqual(1)
    expect(error.column).toBeLessThanOrEqual((lines[error.line - 1] as string).length + 1)
    expect(error.message).not.toBe('')
    return undefined
  }
}

const repeated = (text: string, length = 4_096) => text.repeat(Math.floor(length / text.length))

describe('refused for its size', () => {
  test.each([
    ['brackets', `${repeated('(', 2_040)}true${repeated(')', 2_040)}`],
    ['open brackets', repeated('(')],
    ['open lists', repeated('[')],
    ['open maps', repeated('{')],
    ['nots', `${repeated('!', 4_090)}true`],
    ['minuses', `${repeated('-', 4_080)}1 == 1`],
    ['indexes', `principal.claims.list${repeated('[0]', 3_900)} == 1`],
    ['fields', `principal.claims${repeated('.a', 3_900)} == 1`],
    ['ternaries', `${repeated('true ? true : ', 4_000)}true`],
    ['sums', `1${repeated('+1', 4_000)} == 1`],
    ['a list', `1 in [${repeated('1,', 4_000)}]`],
    ['calls', `${repeated('size(', 3_000)}"a"${repeated(')', 500)}`],
    ['a number', `${repeated('9', 4_000)} == 1`],
    ['length', `role.name == "${'a'.repeat(4_096)}"`],
    ['length in bytes', `role.name == "${'ä'.repeat(2_048)}"`],
    ['the digits of a duration', `duration("${'1'.repeat(4_000)}") == duration("1s")`],
    ['the digits of a number in a text', `int("${'1'.repeat(4_000)}") == 1 && nothing`],
  ])('%s', (_what, text) => expect(tried(text)).toBeUndefined())

  test('while long chains are fine', () => {
    for (const chain of [repeated('true && ', 3_900), repeated('false || ', 4_000)]) {
      const condition = compileCondition(`${chain}true`)
      expect(condition.holds(CONTEXT)).toBe(true)
      expect(condition.explain(CONTEXT).parts?.length).toBeGreaterThan(400)
    }
    expect(compileCondition(`role.name == "${'a'.repeat(4_080)}"`).holds(CONTEXT)).toBe(false)
  })
})

describe('refused for what it might take', () => {
  const GROUPS = 'principal.groups'
  test.each([
    ['a loop in a loop', `${GROUPS}.exists(a, ${GROUPS}.exists(b, a == b))`, 1],
    ['in claims', `true && principal.claims.list.all(a, ${GROUPS}.exists(c, c == a))`, 9],
    ['in a filter', `${GROUPS}.all(a, size(${GROUPS}.filter(b, a == b)) < 5)`, 1],
    ['a long literal', `${GROUPS}.all(a, "${'aB'.repeat(1_500)}".lowerAscii() != a)`, 1],
    ['joined lists', `${GROUPS}.all(a, ${GROUPS} + ${GROUPS} == ${GROUPS})`, 1],
    ['a literal list of lists', `[${repeated(`${GROUPS},`, 1_020)}].all(a, ${GROUPS}.all(b, b in a))`, 1],
    ['a long body', `${GROUPS}.all(a, true ${repeated('&& a != "b" ', 2_400)})`, 1],
  ])('%s', (_what, text, column) => {
    try {
      compileCondition(text)
    } catch (error) {
      expect(error).toMatchObject({ name: 'ConditionError', line: 1, column })
      expect((error as Error).message).toContain('could run long')
      return
    }
    throw new Error('accepted')
  })

  test('while a loop over what the condition itself lists is fine, and so is one test against a list', () => {
    const nested = compileCondition('["b", "c"].exists(x, principal.groups.exists(g, g == x))')
    expect(nested.holds(CONTEXT)).toBe(true)
    const shared = compileCondition('principal.claims.list.exists(x, x in principal.groups)')
    expect(shared.holds(CONTEXT)).toBe(true)
  })

  test('and what is let in comes to an end with every list full', () => {
    const many = Array.from({ length: 990 }, (_, index) => `g${index}`)
    const context = contextWith({ list: many }, many)
    for (const text of [
      'principal.groups.all(g, g in principal.claims.list)',
      'principal.groups.all(g, g.lowerAscii() == g && !g.contains("x") && size(g) < 9 && !g.glob("*x*y*z"))',
      '["a", "b", "g1"].exists(x, principal.groups.exists(g, g == x && g.startsWith("g")))',
    ]) {
      expect(compileCondition(text).holds(context), text).toBe(true)
    }
  })
})

describe('hostile patterns', () => {
  test('there are no regular expressions to be slow', () => {
    expect(tried('"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa!".matches("^(a+)+$")')).toBeUndefined()
    expect(tried('principal.claims.text.matches(principal.claims.pattern)')).toBeUndefined()
  })

  test('a glob takes what would blow up a regular expression', () => {
    const text = 'principal.claims.text.glob(principal.claims.pattern)'
    const bomb = { text: `${'a'.repeat(2_000)}b`, pattern: `${'a*'.repeat(60)}c` }
    expect(compileCondition(text).holds(contextWith(bomb))).toBe(false)
    expect(compileCondition(text).holds(contextWith({ ...bomb, pattern: `${'a*'.repeat(60)}b` }))).toBe(true)
    const literal = `"${'a'.repeat(500)}".glob("${'*a'.repeat(100)}*b")`
    expect(compileCondition(literal).explain(CONTEXT)).toMatchObject({ value: false })
  })

  test.each(['contains', 'glob'])('%s gives up on texts that would take long', (name) => {
    const context = contextWith({ text: 'a'.repeat(8_000), part: `${'a'.repeat(4_000)}b` })
    const condition = compileCondition(`principal.claims.text.${name}(principal.claims.part)`)
    expect(condition.explain(context)).toMatchObject({
      value: 'error',
      error: 'a text is too long to search',
    })
  })

  test('a duration in a claim is not read for ever', () => {
    const condition = compileCondition('duration(principal.claims.text) < duration("1h")')
    expect(condition.holds(contextWith({ text: '1'.repeat(8_000) }))).toBe(false)
  })
})

describe('hostile claims', () => {
  const nest = (depth: number): unknown => (depth === 0 ? 'x' : [nest(depth - 1)])
  test.each([
    ['many values', { list: Array.from({ length: 1_000 }, () => 1) }, '1000 values'],
    ['a long text', { text: 'a'.repeat(8_193) }, '8192 characters in one of them'],
    [
      'much text',
      Object.fromEntries(Array.from({ length: 5 }, (_, i) => [i, 'a'.repeat(8_000)])),
      '32768 characters',
    ],
    ['long names', { ['a'.repeat(8_193)]: 1 }, '8192 characters in one of them'],
    ['depth', { a: nest(6) }, '6 levels'],
    ['great depth', { a: nest(4_000) }, '6 levels'],
  ])('%s: the claims are not read, the rest is', (_what, claims, limit) => {
    const context = contextWith(claims)
    const condition = compileCondition('has(principal.claims.x) || principal.kind == "human"')
    const error = `the claims cannot be read: more than ${limit}`
    expect(condition.explain(context)).toMatchObject({ value: 'error', error })
    expect(condition.holds(context)).toBe(false)
    expect(compileCondition('principal.kind == "workload"').holds(context)).toBe(true)
  })

  test('too many groups, or too long ones, are not read', () => {
    const condition = compileCondition('"g" in principal.groups')
    const many = Array.from({ length: 1_001 }, () => 'g')
    for (const groups of [many, ['g', 'a'.repeat(32_768)]]) {
      expect(condition.explain(contextWith({}, groups))).toMatchObject({ value: 'error' })
    }
    expect(condition.holds(contextWith({}, many.slice(1)))).toBe(true)
  })

  test('a subject that is too long is not read', () => {
    const principal = { kind: 'human', mount: 'auth/jwt/', subject: 'a'.repeat(8_193) } as const
    const request = { operation: 'read', path: 'p', time: new Date(0), tls: true }
    const context = prepareContext(decisionContext({ principal, request }))
    const error = 'a text cannot be read: more than 8192 characters'
    expect(compileCondition('principal.subject != "b"').explain(context)).toMatchObject({
      value: 'error',
      error,
    })
  })

  test('names that mean something to JavaScript are names', () => {
    const claims = JSON.parse('{"__proto__": "p", "constructor": {"constructor": "c"}, "toString": "t"}')
    const text = `principal.claims["__proto__"] == "p" && principal.claims.constructor.constructor == "c"
      && principal.claims.toString == "t" && !has(principal.claims.valueOf) && size(principal.claims) == 3`
    expect(compileCondition(text).explain(contextWith(claims))).toMatchObject({ value: true })
  })

  test('any JSON at all is never more than an error', () => {
    const conditions = [
      'principal.claims.a == "x"',
      'principal.claims.a.b.c > 3',
      'principal.claims.a.exists(x, x == principal.claims.b)',
      '"x" in principal.claims.a && principal.claims.a[0] == 1',
      'principal.claims.a == principal.claims.b || size(principal.claims.a) > 1',
      'in_cidr(principal.claims.a, principal.claims.b)',
      'principal.claims.a.glob(principal.claims.b) || principal.claims.a + principal.claims.b == "xx"',
      'request.time.getHours(principal.claims.a) == int(principal.claims.b)',
    ].map(compileCondition)
    const check = (a: unknown, b: unknown) => {
      const context = contextWith({ a, b })
      for (const condition of conditions) {
        expect(condition.holds(context)).toBe(condition.explain(context).value === true)
      }
    }
    fc.assert(fc.property(fc.jsonValue(), fc.jsonValue(), check), { numRuns: 60 })
  })
})

describe('whatever is written', () => {
  const settle = (text: string) => {
    const condition = tried(text)
    if (condition) expect(condition.holds(CONTEXT)).toBe(condition.explain(CONTEXT).value === true)
  }

  test.each([
    '\u0000',
    '\ud800',
    '"\ud800" == "\udfff"',
    '\u202Etrue',
    'true\u00a0',
    '\ufefftrue',
    'role.name == "\u0000"',
    'prіncipal.kind == "x"',
    '"\\U00110000" == ""',
    '"\\ud800" == ""',
    'b"\\xff" == b"ÿ"',
    'true // \n\r\u2028 false',
    '\'\'\'\n\'\'\' == """\n"""',
    'r"\\" == "\\\\"',
    '1.e5 == 2',
    '0x == 0',
    '1e999 == 1.0',
    '{"__proto__": 1, "constructor": 2} == {}',
    '__proto__',
    'true.true',
    '[].exists(x, x)',
    '{}.all(x, x == x)',
    '[[], [[]]] == []',
    'type(type(1)) == type(int)',
    'null == null',
    'string(1.0e308 * 10.0) == "+Inf"',
    '(0.0/0.0) == (0.0/0.0)',
    '-(-9223372036854775808) > 0',
    '5 % 0 == 1',
    '18446744073709551615u + 1u == 0u',
    'has(has(principal.kind))',
    'principal.groups.exists(x, x.exists(x, true))',
    'principal.claims.list.filter(x, x).filter(x, x) == []',
  ])('%j is a condition or an error with a place', settle)

  test('text out of the blue', () => {
    const text = fc.oneof(fc.string({ unit: 'binary' }), fc.string({ unit: 'grapheme' }), fc.string())
    fc.assert(fc.property(text, settle), { numRuns: 300 })
  })

  test('text out of the words of the language', () => {
    const words = fc.constantFrom(
      ...[
        'principal',
        'role',
        'request',
        'approval',
        'leases',
        '.claims',
        '.kind',
        '.time',
        '.held',
        '.live',
      ],
      ...[
        '.groups',
        '.labels',
        '.list',
        '.exists(x,',
        '.all(',
        '.filter(x,',
        '.map(',
        'x',
        '.size()',
        'size(',
      ],
      ...[
        'has(',
        'in_cidr(',
        '.getHours(',
        'timestamp(',
        'duration(',
        'int(',
        'type(',
        '.contains(',
        '.glob(',
      ],
      ...[
        '(',
        ')',
        '[',
        ']',
        '{',
        '}',
        ',',
        ':',
        '?',
        '.',
        '!',
        '-',
        '+',
        '*',
        '/',
        '%',
        '&&',
        '||',
        '==',
        '!=',
      ],
      ...[
        '<',
        '>=',
        ' in ',
        '"a"',
        '"10.0.0.0/8"',
        '"1h"',
        'r"\\"',
        'b"a"',
        '1',
        '0',
        '2u',
        '1.5',
        '""',
        "'",
      ],
      ...['true', 'false', 'null', 'string', 'bool', '\n', ' ', '//', 'principal.kind == "workload"'],
    )
    const text = fc.array(words, { maxLength: 25 }).map((parts) => parts.join(''))
    fc.assert(fc.property(text, settle), { numRuns: 1_500 })
  })

  test('a condition with a letter gone or doubled', () => {
    const texts = fc.constantFrom(
      'role.environment == "dev" && principal.groups.exists(g, g.startsWith("team-") && g in ["team-a"])',
      'in_cidr(request.source_address, "10.0.0.0/8") || (approval.live && leases.held < 3)',
      'request.time.getHours("Europe/Berlin") >= 8 ? principal.claims["a"].b[0] == 1.5 : !has(role.labels.x)',
    )
    const mutate = (text: string, at: number, put: string) => {
      const index = at % text.length
      return `${text.slice(0, index)}${put}${text.slice(index + 1)}`
    }
    const text = fc.tuple(texts, fc.nat(), fc.string({ maxLength: 2 })).map((parts) => mutate(...parts))
    fc.assert(fc.property(text, settle), { numRuns: 500 })
  })
})

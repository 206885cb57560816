import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { namesOf } from '../../src/policy/acl/capabilities.ts'
import { MAX_DOCUMENT_LENGTH, MAX_RULES, parsePolicy } from '../../src/policy/acl/document.ts'
import { PolicyError } from '../../src/policy/acl/source.ts'

class Refused extends Error {
  readonly line: number
  readonly column: number
  constructor(line: number, column: number) {
    super('unknown variable')
    this.line = line
    this.column = column
  }
}

/** Refuses a condition at the word `oops`. */
function compile(text: string) {
  const at = text.indexOf('oops')
  if (at >= 0) {
    const before = text.slice(0, at).split('\n')
    throw new Refused(before.length, (before.at(-1) ?? '').length + 1)
  }
  return { text, holds: () => true }
}

const parse = (text: string) => parsePolicy(text, compile)

const rulesOf = (text: string) =>
  parse(text).rules.map(({ path, line, capabilities }) => ({ path, line, can: namesOf(capabilities) }))

const only = (text: string) => {
  const { rules } = parse(text)
  expect(rules).toHaveLength(1)
  return rules[0] as (typeof rules)[number]
}

function errorOf(text: string): PolicyError {
  try {
    parse(text)
  } catch (error) {
    expect(error).toBeInstanceOf(PolicyError)
    return error as PolicyError
  }
  throw new Error('the document was accepted')
}

/** The text with its one `‸` taken out, and the place where that stood. */
function marked(text: string): { text: string; line: number; column: number } {
  const before = text.slice(0, text.indexOf('‸')).split('\n')
  return { text: text.replace('‸', ''), line: before.length, column: (before.at(-1) ?? '').length + 1 }
}

describe('documents that are read', () => {
  test('HCL with every kind of comment', () => {
    const text = `
# a comment
// another
/* and one
   over lines: path "no" {} */
path "secret/foo" { # behind a brace
  capabilities = ["read", /* inside */ "list",]
}
path "secret/bar" { capabilities = ["deny", "read"] }`
    expect(rulesOf(text)).toEqual([
      { path: 'secret/foo', line: 6, can: ['list', 'read'] },
      { path: 'secret/bar', line: 9, can: ['deny'] },
    ])
  })

  test.each([
    ['an object', '{"path": {"a": {"capabilities": ["read"]}, "b/*": {"policy": "read"}}}'],
    ['objects in lists', '{"path": [{"a": [{"capabilities": ["read"]}]}, {"b/*": {"policy": "read"}}]}'],
    [
      'the key path twice',
      '{"path": {"a": {"capabilities": ["read"]}}, "path": {"b/*": {"policy": "read"}}}',
    ],
  ])('JSON: %s', (_, text) => {
    expect(rulesOf(text)).toEqual([
      { path: 'a', line: 1, can: ['read'] },
      { path: 'b/*', line: 1, can: ['list', 'read'] },
    ])
  })

  test('nothing at all', () => {
    for (const text of ['', ' \n', '# empty', '{}', '\uFEFF {"path": {}}']) expect(rulesOf(text)).toEqual([])
  })

  test.each([
    ['read', ['list', 'read']],
    ['write', ['create', 'delete', 'list', 'read', 'update']],
    ['sudo', ['create', 'delete', 'list', 'read', 'sudo', 'update']],
    ['deny', ['deny']],
  ])('the old word %s', (word, can) => {
    expect(rulesOf(`path "x" { policy = "${word}" }`)[0]?.can).toEqual(can)
  })

  test('an old word adds to the capabilities beside it', () => {
    expect(rulesOf('path "x" { policy = "read" capabilities = ["patch"] }')[0]?.can).toEqual([
      'list',
      'patch',
      'read',
    ])
  })

  test('names and comments are read and mean nothing', () => {
    expect(parse('name = "dev"\npath "x" { comment = "why" }')).toMatchObject({ name: 'dev' })
  })

  test('parameters, with names in lower case, and wrapping TTLs', () => {
    const rule = only(`path "auth/approle/role/r/secret-id" {
      capabilities       = ["create"]
      required_parameters = ["Name"]
      allowed_parameters = { "Bar" = ["zip", 5, true, -1.5, ["a"], {"k" = "v"}]  "*" = [] }
      denied_parameters { policies = [] }
      min_wrapping_ttl = "1s"
      max_wrapping_ttl = 90
    }`)
    expect(rule.constraints).toEqual({
      required: ['name'],
      allowed: new Map([
        ['bar', ['zip', 5, true, -1.5, ['a'], { k: 'v' }]],
        ['*', []],
      ]),
      denied: new Map([['policies', []]]),
      minWrappingTtlSeconds: 1,
      maxWrappingTtlSeconds: 90,
    })
  })

  test('a rule that denies has nothing left to constrain', () => {
    expect(only('path "x" { capabilities = ["read", "deny"] required_parameters = ["a"] }').constraints).toBe(
      undefined,
    )
  })

  test('escapes', () => {
    expect(only(String.raw`path "a\"b\\\x41\u00e9\U0001F600\101" {}`).path).toBe('a"b\\Aé😀A')
    expect(only(String.raw`{"path": {"a\"\/\u0041": {}}}`).path).toBe('a"/A')
  })

  test('any text survives both languages', () => {
    const text = fc.string({ unit: fc.constantFrom('a', '"', '\\', '\n', '\t', 'é', '😀', '$', '{', '#') })
    fc.assert(
      fc.property(text, text, (name, value) => {
        const fields = `{"allowed_parameters": {${JSON.stringify(name)}: [${JSON.stringify(value)}]}}`
        const hcl = only(
          `path "p" { allowed_parameters = {${JSON.stringify(name)} = [${JSON.stringify(value)}]} }`,
        )
        const json = only(`{"path": {"p": ${fields}}}`)
        expect(hcl.constraints).toEqual({ allowed: new Map([[name.toLowerCase(), [value]]]) })
        expect(json.constraints).toEqual(hcl.constraints)
      }),
    )
  })

  test.each([
    ['quoted', 'condition = "principal.kind == \\"human\\""', 'principal.kind == "human"'],
    ['heredoc', 'condition = <<EOT\n  a &&\n  b\nEOT', '  a &&\n  b\n'],
    ['heredoc, its indentation taken off', 'condition = <<-EOT\n    a &&\n      b\n    EOT', 'a &&\n  b\n'],
    ['heredoc, a line with less indentation', 'condition = <<-EOT\n  a\n b\n  EOT', '  a\n b\n'],
    ['empty heredoc', 'condition = <<EOT\nEOT', ''],
    ['heredoc with CRLF', 'condition = <<EOT\r\na\r\nEOT', 'a\r\n'],
  ])('a condition, %s', (_, field, expected) => {
    expect(only(`path "x" {\n${field}\n}`).condition?.text).toBe(expected)
  })
})

describe('documents that are refused, with the place', () => {
  test.each([
    [
      'path "x" { capabilities = ["read", ‸"raed"] }',
      'path "x": invalid capability "raed"; did you mean "read"?',
    ],
    [
      'path "x" {\n  ‸capabilites = ["read"]\n}',
      'path "x": invalid key "capabilites"; did you mean "capabilities"?',
    ],
    ['path "x" {\n  capabilities = []\n  ‸capabilities = ["read"]\n}', 'may be set only once'],
    ['path "x" { capabilities = ‸"read" }', 'capabilities must be a list of strings'],
    ['path "x" { capabilities = ["read", ‸5] }', 'capabilities must be a list of strings'],
    ['path "x" { policy = ‸"admin" }', 'invalid policy "admin"'],
    ['path "x" { ‸control_group = {} }', 'invalid key "control_group"'],
    ['\n‸pth "x" {}', 'invalid key "pth"; did you mean "path"?'],
    ['name = ‸5', 'name must be a string'],
    [
      'path "x" { min_wrapping_ttl = ‸"1 fortnight" }',
      'error parsing min_wrapping_ttl: invalid duration "1 fortnight"',
    ],
    ['path "x" { max_wrapping_ttl = ‸-5 }', 'invalid duration "-5"'],
    ['path "x" { max_wrapping_ttl = ‸[] }', 'invalid duration'],
    [
      'path "x" {\n min_wrapping_ttl = 9\n max_wrapping_ttl = ‸"8s"\n}',
      'cannot be less than min_wrapping_ttl',
    ],
    ['path "x" { allowed_parameters = ‸"a" }', 'must be a map of lists'],
    ['path "x" { allowed_parameters = { "a" = ‸"b" } }', 'the values of "a" must be a list'],
    ['path "x" { denied_parameters = { "a" = [] ‸"A" = [] } }', '"a" may be set only once'],
    ['path "a/‸+b" {}', "'+' stands for a whole segment"],
    ['path "‸+b" {}', "'+' stands for a whole segment"],
    ['path "a/‸+*" {}', "'+*' is forbidden"],
    ['path "a/‸*/b" {}', "'*' is only allowed at the end"],
    ['path "a/‸**" {}', "'*' is only allowed at the end"],
    ['path "\\u0061\\"/‸+b" {}', "'+' stands for a whole segment"],
    ['path "a/‸{{identity.entity.nmae}}" {}', 'no value can be found for template "identity.entity.nmae"'],
    ['path "a/‸{{identity.entity.id" {}', 'unbalanced templating characters'],
    ['path "a/identity.entity.id‸}}" {}', 'unbalanced templating characters'],
    ['path "{{identity.entity.id}}/‸+{{identity.entity.id}}" {}', "'+' stands for a whole segment"],
    ['path "x" { condition = "a && ‸oops" }', 'path "x": invalid condition: unknown variable'],
    ['path "x" { condition = "a == \\"b\\" && ‸oops" }', 'invalid condition'],
    ['path "x" {\n condition = <<-EOT\n    a &&\n      ‸oops\n    EOT\n}', 'invalid condition'],
    ['path "x" {\n condition = <<EOT\na\n  ‸oops\nEOT\n}', 'invalid condition'],
    ['{"path": {"x": {\n "condition": "a\\n\\t‸oops"}}}', 'invalid condition'],
    ['path "x" { condition = ‸true }', 'condition must be a string'],
    ['path = ‸"x"', 'path must be a block'],
    ['path "x" ‸"y" {}', 'path "x": invalid key "y"'],
    ['path "x" ‸= {}', `expected '{' after "path" "x", got "="`],
    ['path "x" { capabilities ‸["read"] }', `expected '=' or '{' after "capabilities", got "["`],
    ['path "x" { capabilities = ["read" ‸"list"] }', "expected ',' or ']'"],
    ['path "x" { capabilities = [‸read] }', 'text needs double quotes'],
    ['path "x" {\n capabilities = ["read"]\n‸', "'{' from line 1 is not closed, got EOF"],
    ['path "x" { capabilities = ["read",‸', "'[' from line 1 is not closed"],
    ['path ‸"x {\n}', 'literal not terminated'],
    ['path "x‸\\q" {}', 'illegal char escape'],
    ['path "x" { condition = ‸<<EOT\na\n}', 'heredoc not terminated'],
    ['path "x" { condition = ‸<<EOT a\nEOT\n}', 'heredoc: expected'],
    ['‸/* path', 'comment not terminated'],
    ['path "x" {}‸}', 'expected a key, got "}"'],
    ['{"path": {"x": {"capabilities": ["read", ‸"fly"]}}}', 'invalid capability "fly"'],
    ['{"path":\n {"x": {‸"capability": []}}}', 'invalid key "capability"'],
    ['{"path": {"x": {"capabilities": ["read",‸]}}}', 'expected a value, got "]"'],
    ['{"path": {"x": {}}} ‸x', 'expected the end of the document'],
    ['{"path" ‸{}}', `expected ':', got "{"`],
    ['{‸path: {}}', 'expected a string in double quotes'],
    ['{"path": ‸nul}', 'expected a value'],
    ['{"path": {"x": {}‸', `expected '}', got EOF`],
    ['{"path": {‸"x\n": {}}}', 'literal not terminated'],
    ['{"path": {"a‸\\x41": {}}}', 'illegal char escape'],
    ['{"path": {"x": ‸5}}', 'must be a block in braces'],
    ['{"path": {"x": {"required_parameters": [‸null]}}}', 'must be a list of strings'],
  ])('%s', (written, reason) => {
    const { text, line, column } = marked(written)
    const error = errorOf(text)
    expect(error.reason).toContain(reason)
    expect({ line: error.line, column: error.column }).toEqual({ line, column })
    expect(error.message).toBe(`failed to parse policy: At ${line}:${column}: ${error.reason}`)
  })

  test('a failure of the compiler that is no complaint about the text is passed on', () => {
    const broken = () => {
      throw new TypeError('a bug')
    }
    expect(() => parsePolicy('path "x" { condition = "a" }', broken)).toThrow(TypeError)
  })
})

describe('hostile documents', () => {
  const deep = (open: string, close: string, inner: string) =>
    open.repeat(40_000) + inner + close.repeat(40_000)

  test.each([
    ['nested lists', `path "x" { allowed_parameters = { "a" = ${deep('[', ']', '')} } }`, 'nested more'],
    ['nested blocks', deep('a {', '}', ''), 'nested more'],
    [
      'labels without end',
      `path "x" { allowed_parameters = { a ${'"b" '.repeat(40_000)} {} } }`,
      'nested more',
    ],
    ['nested JSON', `{"path": ${deep('[', ']', '')}}`, 'nested more'],
    ['nested JSON objects', deep('{"a":', '}', '1'), 'nested more'],
    [
      'only opening brackets',
      `path "x" { allowed_parameters = { "a" = ${'['.repeat(200_000)}`,
      'nested more',
    ],
    ['a huge document', `# ${'x'.repeat(MAX_DOCUMENT_LENGTH)}`, 'longer than'],
    ['a string without an end', `path "${'x'.repeat(200_000)}`, 'literal not terminated'],
    ['escapes without an end', `path "${'\\n'.repeat(100_000)}`, 'literal not terminated'],
    ['a comment without an end', `/*${'*'.repeat(200_000)}`, 'comment not terminated'],
    [
      'a heredoc without an end',
      `path "x" { condition = <<E\n${'E \n'.repeat(60_000)}`,
      'heredoc not terminated',
    ],
    ['a long path', `path "${'a/'.repeat(100_000)}" {}`, 'longer than'],
    ['a long number', `path "x" { min_wrapping_ttl = ${'1'.repeat(100_000)} }`, 'invalid duration'],
    [
      'a long number that is none',
      `path "x" { min_wrapping_ttl = ${'1'.repeat(200_000)}x }`,
      'expected a value',
    ],
    ['braces of templates', `path "${'{{'.repeat(100_000)}" {}`, 'templating'],
    ['a path repeated', 'path "x" { capabilities = ["read"] }\n'.repeat(MAX_RULES + 1), 'more than'],
    ['an unknown key of any length', `${'k'.repeat(200_000)} = 1`, 'invalid key'],
  ])('%s', (_, text, reason) => {
    const error = errorOf(text)
    expect(error.reason).toContain(reason)
    expect(error.message.length).toBeLessThan(400)
  })

  test('as many rules as are allowed are read', () => {
    expect(parse('path "x" {}\n'.repeat(MAX_RULES)).rules).toHaveLength(MAX_RULES)
  })

  test('names of the object prototype are names', () => {
    const rule = only('path "x" { allowed_parameters = { "__proto__" = ["constructor"] } }')
    expect(rule.constraints?.allowed).toEqual(new Map([['__proto__', ['constructor']]]))
    expect(errorOf('path "x" { constructor = 1 }').reason).toContain('invalid key "constructor"')
    expect(errorOf('path "x" { capabilities = ["toString"] }').reason).toContain('invalid capability')
  })

  const good = `# two rules
path "a/+/{{identity.entity.id}}*" { capabilities = ["read", "list"] min_wrapping_ttl = "1h" }
path "b" { allowed_parameters = { "x" = ["1", 2, true] } condition = <<-EOT
    request.tls
    EOT
}`
  const json = JSON.stringify({
    path: { 'a/*': { capabilities: ['read'], allowed_parameters: { x: [1, null] } } },
  })

  test('a document with anything done to it is read or refused with a place inside it', () => {
    const edit = fc.record({
      at: fc.nat(),
      remove: fc.nat(3),
      insert: fc.string({ unit: fc.constantFrom(...'"\\{}[]=,#/*+<\n -1aE'), maxLength: 3 }),
    })
    fc.assert(
      fc.property(
        fc.constantFrom(good, json),
        fc.array(edit, { minLength: 1, maxLength: 4 }),
        (text, edits) => {
          const damaged = edits.reduce((before, { at, remove, insert }) => {
            const from = at % before.length
            return before.slice(0, from) + insert + before.slice(from + remove)
          }, text)
          try {
            parse(damaged)
          } catch (error) {
            expect(error).toBeInstanceOf(PolicyError)
            const { line, column } = error as PolicyError
            const lines = damaged.split('\n')
            expect(line).toBeLessThanOrEqual(lines.length)
            expect(column).toBeGreaterThan(0)
            expect(column).toBeLessThanOrEqual((lines[line - 1] ?? '').length + 1)
          }
        },
      ),
      { numRuns: 2_000 },
    )
  })
})

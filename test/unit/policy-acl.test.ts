import { describe, expect, test } from 'vitest'
import { type AclOperation, type AclRequest, compileAcl } from '../../src/policy/acl/acl.ts'
import { DEFAULT_POLICY } from '../../src/policy/acl/default-policy.ts'
import { parsePolicy } from '../../src/policy/acl/document.ts'
import type { PolicyIdentity } from '../../src/policy/acl/template.ts'

/** A condition is the name of a fact; what is asked of it is written down. */
type Facts = Readonly<Record<string, boolean>>

const asked: string[] = []

const compile = (text: string) => ({
  text,
  holds(facts: Facts) {
    asked.push(text)
    return facts[text] === true
  },
})

function acl(documents: string | readonly string[], identity?: PolicyIdentity) {
  const texts = typeof documents === 'string' ? [documents] : documents
  const policies = texts.map((text, i) => ({
    name: `p${i + 1}`,
    version: i + 10,
    document: parsePolicy(text, compile),
  }))
  return compileAcl(identity ? { policies, identity } : { policies })
}

type Ask = Partial<Omit<AclRequest, 'path' | 'operation'>> & { facts?: Facts }

function decide(documents: string | readonly string[], operation: AclOperation, path: string, ask: Ask = {}) {
  const { facts = {}, ...rest } = ask
  return acl(documents).decide({ operation, path, sudo: false, ...rest }, facts)
}

const why = (...args: Parameters<typeof decide>) => decide(...args).why

const can = (documents: string | readonly string[], path: string, facts: Facts = {}) =>
  acl(documents).capabilities(path, facts)

/** One rule, in one line. */
const rule = (path: string, ...capabilities: string[]) =>
  `path "${path}" { capabilities = ${JSON.stringify(capabilities)} }`

const conditional = (path: string, condition: string, ...capabilities: string[]) =>
  `path "${path}" { capabilities = ${JSON.stringify(capabilities)} condition = "${condition}" }`

describe('which paths a pattern covers', () => {
  test.each([
    ['secret/foo', ['secret/foo', '/secret/foo'], ['secret/food', 'secret/foo/bar', 'secret/foo/']],
    ['/secret/foo', ['secret/foo'], ['foo']],
    [
      'secret/bar/*',
      ['secret/bar/zip', 'secret/bar/zip/zap', 'secret/bar/'],
      ['secret/bars/zip', 'secret/bar'],
    ],
    ['secret/zip-*', ['secret/zip-zap', 'secret/zip-zap/zong', 'secret/zip-'], ['secret/zip/zap']],
    ['secret/+/teamb', ['secret/foo/teamb', 'secret//teamb'], ['secret/foo/bar/teamb', 'secret/teamb']],
    ['secret/+/+/teamb', ['secret/foo/bar/teamb'], ['secret/foo/teamb', 'secret/foo/bar/baz/teamb']],
    ['+/config', ['a/config'], ['a/b/config', 'config']],
    ['+', ['a', ''], ['a/b', 'a/']],
    ['a/+', ['a/b', 'a/'], ['a', 'a/b/']],
    ['a/+/b*', ['a/x/b', 'a/x/bc', 'a/x/b/c/d'], ['a/x/c', 'a/x', 'a/x/y/b']],
    ['a/+/*', ['a/x/', 'a/x/y/z'], ['a/x']],
    ['*', ['', 'anything/at/all'], []],
    ['a+b/c', ['a+b/c'], ['axb/c', 'a/c']],
  ])('%s', (pattern, covered, others) => {
    const answers = (paths: readonly string[]) =>
      paths.map((path) => [path, why(rule(pattern, 'read'), 'read', path)])
    expect(answers(covered)).toEqual(covered.map((path) => [path, 'granted']))
    expect(answers(others)).toEqual(others.map((path) => [path, 'no_rule']))
  })
})

describe('which pattern counts', () => {
  test.each([
    ['an exact path before any pattern', 'a/b', 'a/b', ['*', 'a/*', 'a/+', 'a/b*']],
    ['the longer prefix', 'a/b/c', 'a/b/*', ['a/*', '*']],
    ['a later first wildcard', 'foo/bar/x/baz', 'foo/bar/+/baz', ['foo/+/x/baz', 'foo/*']],
    ['a prefix that goes on longer than a plus', 'foo/ab', 'foo/a*', ['foo/+']],
    ['a plus before a star at the same place', 'foo/x', 'foo/+', ['foo/*']],
    ['no star before a star', 'foo/x/bar', 'foo/+/bar', ['foo/+/ba*']],
    ['fewer plus signs', 'foo/x/y/baz', 'foo/+/y/baz', ['foo/+/+/baz']],
    ['a star before many plus signs and a star', 'secret/a/b/foo/c', 'secret/*', ['secret/+/+/foo/*']],
    ['the longer of two', 'foo/x/bar/bad', 'foo/+/bar/ba*', ['foo/+/bar/b*']],
    ['the longer, though its text is smaller', 'f/x/a/bcd', 'f/+/+/bcd', ['f/+/a/+']],
    ['the greater text, when all else is equal', 'foo/x/a/b', 'foo/+/a/+', []],
  ])('%s', (_, path, best, others) => {
    const documents = [...others.map((pattern) => rule(pattern, 'delete')), rule(best, 'read')]
    expect(can(documents, path)).toEqual(['read'])
    expect(can([...documents].reverse(), path)).toEqual(['read'])
    expect(decide(documents, 'read', path).deciding).toMatchObject({ path: best })
  })

  test('the order of text decides between patterns of one shape', () => {
    expect(can([rule('f/+/+/b', 'read'), rule('f/+/a/+', 'delete')], 'f/x/a/b')).toEqual(['delete'])
  })

  test('only the best pattern counts, whatever the others grant', () => {
    const document = `${rule('secret/*', 'create', 'read', 'update')}\n${rule('secret/super-secret', 'deny')}`
    expect(why(document, 'read', 'secret/super-secret')).toBe('denied')
    expect(why(document, 'read', 'secret/other')).toBe('granted')
    expect(why([rule('secret/*', 'read', 'list'), rule('secret/a', 'list')], 'read', 'secret/a')).toBe(
      'capability_missing',
    )
  })
})

describe('several rules for one pattern', () => {
  test('capabilities are united, across policies and within one', () => {
    expect(can([rule('a', 'read'), `${rule('a', 'list')}\n${rule('/a', 'update')}`], 'a')).toEqual([
      'list',
      'read',
      'update',
    ])
  })

  test('deny wins, wherever it stands', () => {
    const documents = [rule('a', 'read', 'sudo'), rule('a', 'deny'), rule('a', 'update')]
    for (const order of [documents, [...documents].reverse()]) {
      expect(can(order, 'a')).toEqual(['deny'])
      expect(decide(order, 'read', 'a')).toMatchObject({ allowed: false, why: 'denied' })
    }
  })

  const rules = (...fields: string[]) =>
    fields.map((text) => `path "a" { capabilities = ["update", "delete", "list"] ${text} }`)

  const fits = (documents: readonly string[], parameters: Record<string, unknown>) =>
    decide(documents, 'update', 'a', { parameters })

  test('allowed values add up, and an empty list swallows them', () => {
    const two = rules('allowed_parameters = { x = ["1"] }', 'allowed_parameters = { x = ["2"] y = ["3"] }')
    expect(fits(two, { x: '1', y: '3' }).allowed).toBe(true)
    expect(fits(two, { x: '2' }).allowed).toBe(true)
    expect(fits(two, { x: '3' })).toMatchObject({ why: 'parameter', parameter: 'x' })
    expect(fits(two, { z: '1' })).toMatchObject({ why: 'parameter', parameter: 'z' })
    const any = [
      ...two,
      ...rules('allowed_parameters = { x = [] }'),
      ...rules('allowed_parameters = { x = ["4"] }'),
    ]
    expect(fits(any, { x: 'anything' }).allowed).toBe(true)
  })

  test('a rule without lists does not lift the lists of another', () => {
    const documents = rules('', 'allowed_parameters = { x = [] }', 'denied_parameters = { x = ["no"] }')
    expect(fits(documents, { y: 1 }).allowed).toBe(false)
    expect(fits(documents, { x: 'no' })).toMatchObject({ why: 'parameter', deciding: { policy: 'p3' } })
    expect(fits(documents, { x: 'yes' }).allowed).toBe(true)
  })

  test('required parameters of all rules are required', () => {
    const documents = rules('required_parameters = ["x"]', 'required_parameters = ["y", "x"]')
    expect(fits(documents, { x: 1 })).toMatchObject({ parameter: 'y', deciding: { policy: 'p2' } })
    expect(fits(documents, { x: 1, y: 1 }).allowed).toBe(true)
  })

  test('of two TTLs of a kind the smaller counts', () => {
    const documents = rules(
      'min_wrapping_ttl = 50 max_wrapping_ttl = 300',
      'min_wrapping_ttl = 100 max_wrapping_ttl = 200',
    )
    const wrapped = (wrapTtlSeconds: number) => decide(documents, 'delete', 'a', { wrapTtlSeconds }).allowed
    expect([49, 50, 200, 201].map(wrapped)).toEqual([false, true, true, false])
  })

  test('TTLs that contradict each other leave nothing', () => {
    const documents = rules('min_wrapping_ttl = 100', 'max_wrapping_ttl = 50')
    for (const wrapTtlSeconds of [10, 50, 75, 100, 200]) {
      expect(why(documents, 'update', 'a', { wrapTtlSeconds })).toBe('wrapping_ttl')
    }
  })
})

describe('parameters', () => {
  const document = (fields: string) =>
    `path "a" { capabilities = ["create", "read", "update", "patch", "delete", "list"] ${fields} }`

  const fits = (fields: string, parameters: Record<string, unknown>, operation: AclOperation = 'create') =>
    decide(document(fields), operation, 'a', { parameters }).allowed

  test('allowed: named ones with listed values, and all others only beside a star', () => {
    const listed = 'allowed_parameters = { "Foo" = [] "bar" = ["zip", "zap"] }'
    expect(fits(listed, {})).toBe(true)
    expect(fits(listed, { foo: { any: 'thing' }, BAR: 'zap' })).toBe(true)
    expect(fits(listed, { bar: 'zop' })).toBe(false)
    expect(fits(listed, { other: 1 })).toBe(false)
    const starred = 'allowed_parameters = { "bar" = ["zip"] "*" = [] }'
    expect(fits(starred, { other: 1, bar: 'zip' })).toBe(true)
    expect(fits(starred, { other: 1, bar: 'zap' })).toBe(false)
    expect(fits('allowed_parameters = {}', { other: 1 })).toBe(true)
  })

  test('denied goes before allowed; a star denies whatever is sent', () => {
    const both = 'allowed_parameters = { "*" = [] } denied_parameters = { "policies" = ["admin"] "id" = [] }'
    expect(fits(both, { policies: 'dev' })).toBe(true)
    expect(fits(both, { Policies: 'admin' })).toBe(false)
    expect(fits(both, { id: null })).toBe(false)
    expect(fits('denied_parameters = { "*" = [] }', { any: 1 })).toBe(false)
    expect(fits('denied_parameters = { "*" = [] }', {})).toBe(true)
  })

  test('required ones count for what carries parameters', () => {
    const required = 'required_parameters = ["Name"]'
    for (const operation of ['create', 'read', 'update', 'patch'] as const) {
      expect(fits(required, {}, operation)).toBe(false)
      expect(fits(required, { name: null }, operation)).toBe(true)
    }
    for (const operation of ['delete', 'list'] as const) expect(fits(required, {}, operation)).toBe(true)
    expect(decide(document(required), 'create', 'a').parameter).toBe('name')
    expect(fits('required_parameters = ["constructor"]', {})).toBe(false)
  })

  test.each([
    ['pre*', ['pre', 'prefix'], ['xpre', 'PRE']],
    ['*fix', ['fix', 'prefix'], ['fixx']],
    ['*mid*', ['mid', 'amidst'], ['mad']],
    ['a*b', ['a*b'], ['axb']],
    ['*', ['*'], ['anything']],
    ['**', ['', 'anything'], [5n]],
    ['a*c*', ['a*c', 'a*cd'], ['abc', 'abcd']],
    ['', [''], [' ', null]],
    ['5', ['5', 5], ['50', 5.5]],
    [5, ['5', 5], [50, '5.0']],
    [true, [true, 'true'], [false, 1, 'TRUE']],
    [null, [null], ['', 0, 'null']],
    [['a', 'b'], [['a', 'b']], ['a', ['a'], ['b', 'a'], 'a,b']],
    [{ good: 'one' }, [{ good: 'one' }], [{ bad: 'one' }, {}]],
  ])('the listed value %j', (listed, same, different) => {
    const text = JSON.stringify({
      path: { a: { capabilities: ['create'], allowed_parameters: { x: [listed, 'never'] } } },
    })
    const allowed = (x: unknown) => decide(text, 'create', 'a', { parameters: { x } }).allowed
    for (const value of same) expect([value, allowed(value)]).toEqual([value, true])
    for (const value of different) expect([value, allowed(value)]).toEqual([value, false])
  })

  describe('of a field that has an older name too', () => {
    const names = ['token_policies', 'policies']
    const spellings = new Map([...names.map((name) => [name, names] as const)])
    const fits = (fields: string, parameters: Record<string, unknown>) =>
      decide(`path "a" { capabilities = ["update"] ${fields} }`, 'update', 'a', { parameters, spellings })

    test.each(names)('denied as %s, no name gets by', (name) => {
      const [some, all] = ['["root", "admin*"]', '[]']
      for (const sent of names) {
        expect(fits(`denied_parameters = { "${name}" = ${all} }`, { [sent]: 'web' })).toMatchObject({
          why: 'parameter',
          parameter: name,
          deciding: { policy: 'p1' },
        })
        expect(fits(`denied_parameters = { "${name}" = ${some} }`, { [sent]: 'admins' }).allowed).toBe(false)
        expect(fits(`denied_parameters = { "${name}" = ${some} }`, { [sent]: 'web' }).allowed).toBe(true)
      }
      const behind = { policies: 'admins', token_policies: null }
      expect(fits(`denied_parameters = { "${name}" = ${some} }`, behind).allowed).toBe(false)
    })

    test.each(names)(
      'allowed as %s, either name may be sent with these values, beside a star too',
      (name) => {
        for (const list of [`{ "${name}" = ["web"] }`, `{ "${name}" = ["web"], "*" = [] }`]) {
          for (const sent of names) {
            expect(fits(`allowed_parameters = ${list}`, { [sent]: 'web' }).allowed).toBe(true)
            expect(fits(`allowed_parameters = ${list}`, { [sent]: 'admin' })).toMatchObject({
              why: 'parameter',
              parameter: name,
            })
          }
          const both = { token_policies: 'web', policies: 'admin' }
          expect(fits(`allowed_parameters = ${list}`, both).allowed).toBe(false)
        }
      },
    )

    test('a list about the very name that was sent comes first', () => {
      const list = 'allowed_parameters = { "policies" = ["old"], "token_policies" = ["new"] }'
      expect(fits(list, { policies: 'old' }).allowed).toBe(true)
      expect(fits(list, { policies: 'new' }).allowed).toBe(false)
      expect(fits(list, { token_policies: 'new' }).allowed).toBe(true)
    })

    test.each(names)('required as %s, either name will do', (name) => {
      for (const sent of names) {
        expect(fits(`required_parameters = ["${name}"]`, { [sent]: 'web' }).allowed).toBe(true)
      }
      expect(fits(`required_parameters = ["${name}"]`, { other: 'web' })).toMatchObject({ parameter: name })
    })
  })

  test('a request cannot hide behind names of the object prototype', () => {
    const parameters = JSON.parse('{"__proto__": "x"}')
    expect(fits('allowed_parameters = { "x" = [] }', parameters)).toBe(false)
    expect(fits('denied_parameters = { "__proto__" = [] }', parameters)).toBe(false)
  })
})

describe('wrapping', () => {
  test('a bound makes wrapping necessary', () => {
    const document = 'path "a" { capabilities = ["update"] min_wrapping_ttl = "1s" max_wrapping_ttl = "90s" }'
    expect(why(document, 'update', 'a')).toBe('wrapping_ttl')
    expect(
      [0.5, 1, 90, 91].map((wrapTtlSeconds) => why(document, 'update', 'a', { wrapTtlSeconds })),
    ).toEqual(['wrapping_ttl', 'granted', 'granted', 'wrapping_ttl'])
  })

  test('a zero is no bound', () => {
    expect(why('path "a" { capabilities = ["read"] max_wrapping_ttl = 0 }', 'read', 'a')).toBe('granted')
  })
})

describe('lists', () => {
  test.each([
    ['a/', 'granted'],
    ['a', 'granted'],
    ['a/*', 'granted'],
    ['a*', 'granted'],
    ['+', 'granted'],
    ['+/', 'granted'],
    ['b', 'no_rule'],
    ['a/b', 'no_rule'],
  ])('of a/ with a rule for %s: %s', (pattern, expected) => {
    const document = rule(pattern, 'list')
    expect(why(document, 'list', 'a/')).toBe(expected)
    // Both forms of a list behave as if the path ended in a slash.
    expect(why(document, 'list', 'a')).toBe(expected)
  })

  test('the path with its slash goes before the one without, and either before patterns', () => {
    expect(why([rule('a/', 'list'), rule('a', 'deny')], 'list', 'a/')).toBe('granted')
    expect(why([rule('a/*', 'list'), rule('a', 'deny')], 'list', 'a/')).toBe('denied')
    expect(why([rule('a/*', 'list'), rule('+', 'deny')], 'list', 'a/')).toBe('granted')
  })

  test('nothing else ignores a slash, but capabilities are told as for a list', () => {
    expect(why(rule('a', 'read'), 'read', 'a/')).toBe('no_rule')
    expect(can(rule('a', 'read'), 'a/')).toEqual(['read'])
    expect(can(rule('a/', 'read'), 'a')).toEqual(['deny'])
  })
})

describe('sudo', () => {
  test('is asked besides the capability', () => {
    expect(why(rule('a', 'read'), 'read', 'a', { sudo: true })).toBe('sudo_missing')
    expect(why(rule('a', 'sudo'), 'read', 'a', { sudo: true })).toBe('capability_missing')
    expect(why(rule('a', 'read', 'sudo'), 'read', 'a', { sudo: true })).toBe('granted')
    expect(why(rule('a', 'sudo'), 'read', 'a')).toBe('capability_missing')
  })
})

describe('conditions', () => {
  test('a rule whose condition does not hold is not there', () => {
    const documents = [conditional('a/b', 'office', 'read'), rule('a/*', 'list')]
    expect(can(documents, 'a/b', { office: true })).toEqual(['read'])
    expect(can(documents, 'a/b')).toEqual(['list'])
    expect(why(documents, 'read', 'a/b')).toBe('capability_missing')
    expect(why([conditional('a/b', 'office', 'read')], 'read', 'a/b')).toBe('no_rule')
  })

  test('also when it denies', () => {
    const documents = [conditional('a/*', 'outside', 'deny'), rule('a/*', 'read')]
    expect(why(documents, 'read', 'a/b')).toBe('granted')
    expect(decide([...documents].reverse(), 'read', 'a/b', { facts: { outside: true } })).toMatchObject({
      why: 'denied',
      deciding: { policy: 'p2' },
    })
  })

  test('its parameters go with it', () => {
    const documents = [
      rule('a', 'update'),
      'path "a" { capabilities = ["update"] condition = "strict" required_parameters = ["reason"] }',
    ]
    expect(why(documents, 'update', 'a')).toBe('granted')
    expect(why(documents, 'update', 'a', { facts: { strict: true } })).toBe('parameter')
  })

  test('they are asked from the best pattern down, only as far as needed, each once', () => {
    const documents = [
      [
        conditional('*', 'last', 'read'),
        conditional('a/+', 'second', 'read'),
        conditional('a/b', 'first', 'read'),
        conditional('z/*', 'elsewhere', 'deny'),
      ].join('\n'),
      `${conditional('a/b', 'first', 'list')}\n${conditional('a/b', 'refuses', 'deny')}`,
    ]
    asked.length = 0
    const { conditions, deciding, allowed } = decide(documents, 'read', 'a/b', { facts: { second: true } })
    expect(asked).toEqual(['refuses', 'first', 'second'])
    expect(conditions.map(({ policy, path, line, text, held }) => [policy, path, line, text, held])).toEqual([
      ['p2', 'a/b', 2, 'refuses', false],
      ['p1', 'a/b', 3, 'first', false],
      ['p2', 'a/b', 1, 'first', false],
      ['p1', 'a/+', 2, 'second', true],
    ])
    expect({ allowed, deciding }).toEqual({
      allowed: true,
      deciding: { policy: 'p1', version: 10, path: 'a/+', line: 2 },
    })
  })

  test('a list asks no pattern twice', () => {
    asked.length = 0
    const { conditions } = decide(
      [conditional('a*', 'x', 'list'), conditional('+', 'y', 'list')],
      'list',
      'a/',
    )
    expect(conditions.map(({ path }) => path)).toEqual(['a*', '+'])
    expect(asked).toEqual(['x', 'y'])
  })

  test('none is asked beside a denial that always holds', () => {
    asked.length = 0
    expect(why([conditional('a', 'x', 'read'), rule('a', 'deny')], 'read', 'a')).toBe('denied')
    expect(asked).toEqual([])
  })
})

describe('templates', () => {
  const identity: PolicyIdentity = {
    entity: {
      id: 'e1',
      name: 'alice+ops@example.com',
      metadata: { team: 'blue', path: 'a/b', star: 'b*', plus: '+', none: '', 'with.dot': 'dotted' },
      aliases: [
        {
          mountAccessor: 'auth_jwt_1',
          id: 'al1',
          name: 'sub',
          metadata: { ref: 'main' },
          customMetadata: { desk: '7' },
        },
      ],
    },
    groups: [{ id: 'g1', name: 'admins', metadata: { floor: '3' } }],
  }

  const readable = (pattern: string, path: string, who: PolicyIdentity = identity) =>
    acl(rule(pattern, 'read'), who).decide({ operation: 'read', path, sudo: false }, {}).allowed

  test.each([
    ['{{identity.entity.id}}', 'e1'],
    ['{{ identity.entity.name }}', 'alice+ops@example.com'],
    ['{{identity.entity.metadata.team}}', 'blue'],
    ['{{identity.entity.metadata.with.dot}}', 'dotted'],
    ['{{identity.entity.aliases.auth_jwt_1.id}}', 'al1'],
    ['{{identity.entity.aliases.auth_jwt_1.name}}', 'sub'],
    ['{{identity.entity.aliases.auth_jwt_1.metadata.ref}}', 'main'],
    ['{{identity.entity.aliases.auth_jwt_1.custom_metadata.desk}}', '7'],
    ['{{identity.groups.names.admins.id}}', 'g1'],
    ['{{identity.groups.ids.g1.name}}', 'admins'],
    ['{{identity.groups.ids.g1.metadata.floor}}', '3'],
  ])('%s is %s', (template, value) => {
    expect(readable(`s/${template}`, `s/${value}`)).toBe(true)
    expect(readable(`/s/x-${template}/+/*`, `s/x-${value}/any/thing`)).toBe(true)
    expect(readable(`s/${template}`, `s/${template}`)).toBe(false)
    expect(readable(`s/${template}*`, `s/${value}`, {})).toBe(false)
  })

  test.each([
    ['identity.entity.metadata.other'],
    ['identity.entity.metadata.constructor'],
    ['identity.entity.metadata.path'],
    ['identity.entity.metadata.star'],
    ['identity.entity.metadata.plus'],
    ['identity.entity.metadata.none'],
    ['identity.entity.aliases.auth_other.name'],
    ['identity.groups.names.others.id'],
    ['identity.groups.ids.g2.name'],
  ])('a path with %s is left out', (selector) => {
    for (const path of ['s/', 's/b', 's/b*', 's/+', 's/a/b', 's/x'])
      expect(readable(`s/{{${selector}}}`, path)).toBe(false)
    expect(readable(`s/{{${selector}}}*`, 's/anything')).toBe(false)
  })

  test('a filled path and the same path written out are one pattern', () => {
    const both = acl([rule('s/{{identity.entity.id}}', 'read'), rule('s/e1', 'deny')], identity)
    expect(both.capabilities('s/e1', {})).toEqual(['deny'])
  })

  test('a decision names the path as the document has it', () => {
    const path = 's/{{identity.entity.id}}'
    const { deciding } = acl(rule(path, 'read'), identity).decide(
      { operation: 'read', path: 's/e1', sudo: false },
      {},
    )
    expect(deciding).toEqual({ policy: 'p1', version: 10, path, line: 1 })
  })
})

describe('decisions', () => {
  test('with nothing to go by, no', () => {
    expect(decide([], 'read', 'a')).toEqual({
      allowed: false,
      why: 'no_rule',
      deciding: undefined,
      conditions: [],
    })
  })

  test('name the rule that grants', () => {
    expect(decide([rule('a', 'list'), `\n\n${rule('a', 'read')}`], 'read', 'a').deciding).toEqual({
      policy: 'p2',
      version: 11,
      path: 'a',
      line: 3,
    })
  })

  test('a rule without capabilities still stands in the way of weaker patterns', () => {
    expect(why('path "a/b" {}\npath "a/*" { capabilities = ["read"] }', 'read', 'a/b')).toBe(
      'capability_missing',
    )
    expect(can('path "a/b" {}', 'a/b')).toEqual(['deny'])
  })

  test('capabilities come sorted and in words', () => {
    expect(
      can(rule('a', 'update', 'sudo', 'scan', 'create', 'read', 'patch', 'list', 'delete'), 'a'),
    ).toEqual(['create', 'delete', 'list', 'patch', 'read', 'scan', 'sudo', 'update'])
  })
})

describe('the default policy', () => {
  test.each([
    ['auth/token/lookup-self', ['read']],
    ['auth/token/renew-self', ['update']],
    ['auth/token/revoke-self', ['update']],
    ['sys/capabilities-self', ['update']],
    ['sys/internal/ui/resultant-acl', ['read']],
    ['sys/leases/lookup', ['update']],
    ['sys/leases/renew', ['update']],
    ['sys/leases/renew/database/creds/app/abc', ['update']],
    ['sys/renew', ['update']],
    ['sys/leases/revoke', ['update']],
    ['sys/leases/revoke/database/creds/app/abc', ['update']],
    ['sys/wrapping/wrap', ['update']],
    ['sys/wrapping/lookup', ['update']],
    ['sys/wrapping/unwrap', ['update']],
    ['cubbyhole/any/thing', ['create', 'delete', 'list', 'read', 'update']],
    ['sys/leases/lookup/database', ['deny']],
    ['sys/leases/revoke-prefix/database', ['deny']],
    ['sys/leases/revoke-force/database', ['deny']],
    ['auth/token/lookup', ['deny']],
    ['auth/token/create', ['deny']],
    ['database/creds/app', ['deny']],
    ['sys/policies/acl/default', ['deny']],
  ])('at %s: %j', (path, expected) => {
    expect(can(DEFAULT_POLICY, path)).toEqual(expected)
  })
})

import fc from 'fast-check'
import { describe, expect, expectTypeOf, test } from 'vitest'
import {
  alias,
  bool,
  commaList,
  decode,
  defaulted,
  duration,
  type Field,
  fieldWarnings,
  int,
  json,
  keyValues,
  map,
  oneOf,
  required,
  spellingsOf,
  stringList,
  text,
} from '../../src/http/fields.ts'
import { BrokerError } from '../../src/lib/errors.ts'

const REFUSED = Symbol('refused')

function decoded(of: Field<unknown, boolean>, raw: unknown): unknown {
  try {
    return decode({ it: of }, { it: raw }).it
  } catch (error) {
    expect((error as BrokerError).code).toBe('invalid_request')
    expect((error as Error).message).toMatch(/^Field validation failed: .*"it"/)
    return REFUSED
  }
}

describe('what each kind takes', () => {
  const cases: [string, Field<unknown>, [unknown, unknown][]][] = [
    [
      'text',
      text,
      [
        ['a', 'a'],
        ['', ''],
        [5, '5'],
        [true, '1'],
        [['a'], REFUSED],
        [{}, REFUSED],
      ],
    ],
    [
      'duration',
      duration,
      [
        [3600, 3600],
        ['3600', 3600],
        ['1h30m', 5400],
        ['2d', 172_800],
        ['', 0],
        [0, 0],
        [1.9, 1],
        ['1.9s', 1],
        [-1, REFUSED],
        ['-1', REFUSED],
        ['-1h', REFUSED],
        ['1x', REFUSED],
        ['h', REFUSED],
        [true, REFUSED],
        [[1], REFUSED],
        [1e300, REFUSED],
        ['1e3', REFUSED],
      ],
    ],
    [
      'bool',
      bool,
      [
        [true, true],
        ['true', true],
        ['T', true],
        ['1', true],
        [1, true],
        [false, false],
        ['False', false],
        ['0', false],
        [0, false],
        ['', false],
        ['yes', REFUSED],
        ['tRUE', REFUSED],
        [[], REFUSED],
      ],
    ],
    [
      'int',
      int,
      [
        [5, 5],
        ['5', 5],
        ['-5', -5],
        [true, 1],
        [5.5, REFUSED],
        ['5.5', REFUSED],
        ['', REFUSED],
        ['0x10', REFUSED],
        [2 ** 53, REFUSED],
        ['9007199254740993', REFUSED],
        [[5], REFUSED],
      ],
    ],
    [
      'commaList',
      commaList,
      [
        ['a,b', ['a', 'b']],
        ['a, b ,', ['a', 'b']],
        [
          ['a,b', ' c '],
          ['a,b', 'c'],
        ],
        ['', []],
        [[], []],
        [5, ['5']],
        [[{}], REFUSED],
        [{}, REFUSED],
      ],
    ],
    [
      'stringList',
      stringList,
      [
        ['select a, b;', ['select a, b;']],
        [
          ['a', 'b'],
          ['a', 'b'],
        ],
        ['', []],
        [[], []],
        [[['a']], REFUSED],
      ],
    ],
    [
      'keyValues',
      keyValues,
      [
        [
          { a: 'b', n: 5 },
          { a: 'b', n: '5' },
        ],
        [['a=b=c', 'd='], { a: 'b=c', d: '' }],
        ['a=b', { a: 'b' }],
        ['{"a":"b"}', { a: 'b' }],
        [{}, {}],
        [[], {}],
        [['ab'], REFUSED],
        [['=a'], REFUSED],
        [{ a: {} }, REFUSED],
        ['', REFUSED],
      ],
    ],
    [
      'map',
      map,
      [
        [{ a: [1] }, { a: [1] }],
        ['{"a":1}', { a: 1 }],
        ['{', REFUSED],
        ['a', REFUSED],
        [[], REFUSED],
        [1, REFUSED],
      ],
    ],
    [
      'json',
      json,
      [
        [{ a: 1 }, { a: 1 }],
        [[1], [1]],
        ['a', 'a'],
        [0, 0],
      ],
    ],
    [
      'oneOf',
      oneOf('a', 'b'),
      [
        ['a', 'a'],
        ['c', REFUSED],
        [['a'], REFUSED],
      ],
    ],
  ]

  test.each(
    cases.flatMap(([name, of, pairs]) => pairs.map(([raw, value]) => [name, raw, of, value] as const)),
  )('%s of %j', (_name, raw, of, value) => {
    expect(decoded(of, raw)).toEqual(value)
  })
})

test('absent and null leave the field out; empty is a value', () => {
  const fields = { ttl: duration, name: text, list: commaList }

  expect(decode(fields, {})).toEqual({})
  expect(decode(fields, { ttl: null, name: null, list: null })).toEqual({})
  expect(decode(fields, { ttl: '', name: '', list: '' })).toEqual({ ttl: 0, name: '', list: [] })
})

test('required refuses absent, null and empty with its own text; zero is a value', () => {
  const fields = {
    name: required(text, 'database name is required'),
    paths: required(commaList, 'paths must be supplied'),
  }

  for (const name of [undefined, null, '']) {
    expect(() => decode(fields, { name, paths: 'a' })).toThrow(
      new BrokerError('invalid_request', 'database name is required'),
    )
  }
  expect(() => decode(fields, { name: 'a', paths: [] })).toThrow('paths must be supplied')
  expect(decode({ n: required(int, 'n is missing') }, { n: 0 })).toEqual({ n: 0 })
})

test('a default stands in for absent and null, not for an empty value', () => {
  const fields = { verify: defaulted(bool, true) }

  expect([{}, { verify: null }, { verify: '' }].map((sent) => decode(fields, sent).verify)).toEqual([
    true,
    true,
    false,
  ])
})

test('an older name is taken, and the field’s own name wins', () => {
  const fields = { token_ttl: alias(duration, 'ttl') }

  expect(decode(fields, { ttl: '1h' })).toEqual({ token_ttl: 3600 })
  expect(decode(fields, { ttl: 1, token_ttl: 2 })).toEqual({ token_ttl: 2 })
  expect(decode(fields, { ttl: 1, token_ttl: null })).toEqual({ token_ttl: 1 })
  expect(() => decode(fields, { ttl: -1 })).toThrow('"ttl"')
  expect(fieldWarnings(fields, { ttl: 1 }, {})).toEqual([])
})

test('all names of a field are told, its own first, whichever is asked about', () => {
  const fields = { token_ttl: alias(duration, 'ttl', 'lease'), note: text }
  const names = ['token_ttl', 'ttl', 'lease']

  expect([...spellingsOf(fields)]).toEqual(names.map((name) => [name, names]))
  expect(spellingsOf(fields)).toBe(spellingsOf(fields))
})

test('an error names the field and never repeats its value', () => {
  expect(() => decode({ ttl: duration }, { ttl: 'hunter2' })).toThrow(
    'Field validation failed: error converting input for field "ttl": expected a duration such as 3600, "1h30m" or "2d"',
  )
})

test('names of Object’s own are fields like any other', () => {
  expect(decode({ constructor: text, toString: text }, {})).toEqual({})
  expect(decode({ constructor: text }, JSON.parse('{"constructor":"a"}'))).toEqual({ constructor: 'a' })
  expect(fieldWarnings({}, JSON.parse('{"constructor":"a"}'), {})).toHaveLength(1)
})

test('warnings list unknown fields in order, and fields the path overrode', () => {
  expect(fieldWarnings({ c: text }, { b: 1, a: 2, c: 3, name: 'x' }, { name: 'y' })).toEqual([
    'Endpoint ignored these unrecognized parameters: [a b]',
    "Endpoint replaced the value of these parameters with the values captured from the endpoint's path: [name]",
  ])
  expect(fieldWarnings({}, { name: 'y' }, { name: 'y' })).toEqual([])
})

test('the decoded type follows the table', () => {
  const fields = {
    ttl: duration,
    on: defaulted(bool, true),
    mode: oneOf('a', 'b'),
    name: alias(required(text, 'x'), 'n'),
  }
  const value = decode(fields, { n: 'n' })

  expectTypeOf(value).toExtend<{ readonly ttl?: number; on: boolean; mode?: 'a' | 'b'; name: string }>()
  expectTypeOf(value.ttl).toEqualTypeOf<number | undefined>()
})

test('any JSON at all is decoded or refused by name', () => {
  const kinds = [text, duration, bool, int, commaList, stringList, keyValues, map, json]
  fc.assert(
    fc.property(fc.constantFrom(...kinds), fc.jsonValue(), (of, raw) => {
      const value = decoded(of, raw)
      if (raw === null) expect(value).toBeUndefined()
      // What a decoder gives, it takes again unchanged: read-back values can be written back.
      else if (value !== REFUSED) expect(decoded(of, value)).toEqual(value)
    }),
    { numRuns: 1_000 },
  )
})

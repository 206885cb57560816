import { createHmac } from 'node:crypto'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { canonicalJson } from '../../src/audit/canonical.ts'
import {
  type AuditEvent,
  CLOSING,
  canonical,
  isClosing,
  MAX_BODY_BYTES,
  requestIdOf,
} from '../../src/audit/event.ts'
import { auditHasher, auditParameters } from '../../src/audit/parameters.ts'
import { sensitive } from '../../src/lib/sensitive.ts'

const FULL: AuditEvent = {
  type: 'request',
  request_id: 'req-1',
  who: { principal: 'p1', kind: 'workload', issuer: 'https://id.example', subject: 'ci', accessor: 'acc' },
  what: { operation: 'update', path: 'database/creds/app', parameters: { ttl: '1h' } },
  decision: { allowed: true, policy: 'app', version: 3, pattern: 'database/creds/+', line: 4 },
  outcome: { status: 200 },
  lease_id: 'database/creds/app/0123456789abcdefghjkmnpq',
  details: { limited_by: null },
}

/** The same value with its members given in another order. */
function reversed(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(reversed)
  if (typeof value !== 'object' || value === null) return value
  return Object.fromEntries(
    Object.entries(value)
      .reverse()
      .map(([name, member]) => [name, reversed(member)]),
  )
}

describe('canonical JSON', () => {
  test('sorts names, leaves out undefined and spaces', () => {
    expect(canonicalJson({ b: [1, undefined, { d: null, c: undefined }], a: 'x', A: true })).toBe(
      '{"A":true,"a":"x","b":[1,null,{"d":null}]}',
    )
  })

  test('reading and writing again changes nothing, nor does the order of names', () => {
    fc.assert(
      fc.property(fc.jsonValue({ stringUnit: 'binary' }), (value) => {
        const text = canonicalJson(value)
        expect(canonicalJson(JSON.parse(text))).toBe(text)
        expect(canonicalJson(reversed(value))).toBe(text)
      }),
    )
  })

  test('is plain JSON for plain values', () => {
    fc.assert(
      fc.property(fc.jsonValue(), (value) => {
        expect(JSON.parse(canonicalJson(value))).toEqual(JSON.parse(JSON.stringify(value)))
      }),
    )
  })

  test('a name like __proto__ is a name', () => {
    expect(canonicalJson(JSON.parse('{"__proto__":{"x":1}}'))).toBe('{"__proto__":{"x":1}}')
  })

  test('what PostgreSQL cannot read as JSON is replaced', () => {
    expect(canonicalJson({ 'a\0': 'x\ud800y', b: '\u{1f511}' })).toBe(
      '{"a\ufffd":"x\ufffdy","b":"\u{1f511}"}',
    )
  })

  test('two names that become one are one', () => {
    expect(canonicalJson({ '\ud800': 1, '\udfff': 2 })).toBe('{"\ufffd":2}')
  })

  test('writes anything without failing', () => {
    const loop: { self?: unknown } = {}
    loop.self = loop
    expect(canonicalJson(loop)).toContain('[cut]')
    expect(canonicalJson([Number.NaN, 10n, () => 1, new Date(0)])).toBe(
      '[null,"10",null,"1970-01-01T00:00:00.000Z"]',
    )
    expect(canonicalJson(undefined)).toBe('null')
    expect(canonicalJson({ password: sensitive('hunter2') })).toBe('{"password":"[sensitive]"}')
  })
})

describe('the text of an event', () => {
  test('holds everything when it fits', () => {
    expect(JSON.parse(canonical(FULL))).toEqual(FULL)
  })

  test('details and parameters go first', () => {
    const long = 'x'.repeat(MAX_BODY_BYTES)
    const said = JSON.parse(canonical({ ...FULL, details: { long } }))
    expect(said).toMatchObject({
      decision: FULL.decision,
      lease_id: FULL.lease_id,
      cut: ['what.parameters', 'details'],
    })
    expect(said.details).toBeUndefined()
  })

  test('then long texts, and short ones stay', () => {
    const said = JSON.parse(
      canonical({ ...FULL, what: { operation: 'read', path: '\u0001'.repeat(100_000) } }),
    )
    expect(said).toMatchObject({ who: FULL.who, lease_id: FULL.lease_id, outcome: FULL.outcome })
    expect(said.what.path).toMatch(/\[cut\]$/)
    expect(said.cut).toEqual(['details', 'long texts'])
  })

  test('never too large, whatever the fields hold', () => {
    const text = fc.oneof(
      fc.string({ unit: 'binary', maxLength: 40 }),
      fc.constantFrom('\u0001', '\ud800', '\u{1f511}', '"').map((unit) => unit.repeat(3_000)),
    )
    const event = fc.record({
      type: fc.constant('request' as const),
      request_id: text,
      who: fc.record({
        principal: text,
        issuer: text,
        mount: text,
        subject: text,
        display_name: text,
        accessor: text,
        source_address: text,
      }),
      what: fc.record({ operation: text, path: text, parameters: fc.jsonValue() as fc.Arbitrary<string> }),
      decision: fc.record({ allowed: fc.boolean(), policy: text, pattern: text }),
      outcome: fc.record({ status: fc.nat(), error: text, message: text }),
      lease_id: text,
      target: text,
      role: text,
      details: fc.dictionary(fc.string(), text),
    })
    fc.assert(
      fc.property(event, (given) => {
        const body = canonical(given)
        expect(Buffer.byteLength(body)).toBeLessThanOrEqual(MAX_BODY_BYTES)
        expect(JSON.parse(body)).toMatchObject({ type: 'request', outcome: { status: given.outcome.status } })
      }),
      { numRuns: 60 },
    )
  })

  test('tells the last of a writer from one that only speaks of it', () => {
    expect(isClosing(canonical(CLOSING))).toBe(true)
    expect(isClosing(canonical({ ...FULL, details: { type: 'close' } }))).toBe(false)
    expect(isClosing('"type":"close"')).toBe(false)
  })

  test('names its request, unless the name could disturb', () => {
    expect(requestIdOf(canonical(FULL))).toBe('req-1')
    expect(requestIdOf('{"request_id":"\\u001b[2J"}')).toBeUndefined()
    expect(requestIdOf('no JSON')).toBeUndefined()
    expect(requestIdOf('null')).toBeUndefined()
  })
})

describe('request parameters', () => {
  const key = Buffer.alloc(32, 7)
  const hash = auditHasher(key)
  const hashed = (value: string) => `hmac-sha256:${createHmac('sha256', key).update(value).digest('hex')}`

  test('a value is hashed so that who knows it can look for it', () => {
    expect(hash('hunter2')).toBe(hashed('hunter2'))
    expect(auditHasher(Buffer.alloc(32, 8))('hunter2')).not.toBe(hash('hunter2'))
  })

  test('a short key is refused', () => {
    expect(() => auditHasher(Buffer.alloc(31))).toThrow('32 bytes')
  })

  test('only what is listed stays readable', () => {
    const parameters = {
      ttl: '1h',
      password: 'hunter2',
      pin: 1234,
      enabled: true,
      none: null,
      options: { cas: 3, note: 'secret' },
      policies: ['a', 'b'],
      secrets: ['c'],
    }
    const plain = new Set(['ttl', 'options.cas', 'policies'])
    expect(auditParameters(parameters, plain, hash)).toEqual({
      ttl: '1h',
      password: hashed('hunter2'),
      pin: hashed('1234'),
      enabled: true,
      none: null,
      options: { cas: 3, note: hashed('secret') },
      policies: ['a', 'b'],
      secrets: [hashed('c')],
    })
  })

  test('listing a name does not open what lies below it, nor the same name elsewhere', () => {
    const given = { ttl: { password: 'x' }, password: { ttl: 'y' } }
    expect(auditParameters(given, new Set(['ttl']), hash)).toEqual({
      ttl: { password: hashed('x') },
      password: { ttl: hashed('y') },
    })
  })

  test('a body that is no object is hashed too', () => {
    expect(auditParameters('hunter2', new Set(), hash)).toBe(hashed('hunter2'))
    expect(auditParameters(undefined, new Set(), hash)).toBeUndefined()
  })

  test('no text of any request comes through', () => {
    const secret = fc.string({ minLength: 1 }).map((text) => `S3CRET${text}`)
    const { tree } = fc.letrec((tie) => ({
      tree: fc.oneof(
        { depthSize: 'small' },
        secret,
        fc.array(tie('tree')),
        fc.dictionary(fc.constantFrom('ttl', 'a', 'b', '__proto__'), tie('tree')),
      ),
    }))
    fc.assert(
      fc.property(tree, (given) => {
        expect(canonicalJson(auditParameters({ given }, new Set(['ttl', 'a']), hash))).not.toContain('S3CRET')
      }),
    )
  })

  test('depth, number and length are bounded, and what is missing is marked', () => {
    const wide = Object.fromEntries(Array.from({ length: 10_000 }, (_, i) => [`n${i}`, 'v']))
    expect(Object.keys(auditParameters(wide, new Set(), hash) as object)).toHaveLength(100)
    expect(auditParameters(wide, new Set(), hash)).toHaveProperty('[cut]', true)
    expect(auditParameters(Array(10_000).fill(true), new Set(), hash)).toHaveLength(100)
    expect(auditParameters({ a: { b: { c: { d: { e: 1 } } } } }, new Set(), hash)).toEqual({
      a: { b: { c: { d: '[cut]' } } },
    })
    expect(auditParameters({ ttl: 'x'.repeat(300) }, new Set(['ttl']), hash)).toEqual({
      ttl: `${'x'.repeat(251)}[cut]`,
    })
    expect(auditParameters({ ['n'.repeat(300)]: true }, new Set(), hash)).toEqual({
      [`${'n'.repeat(123)}[cut]`]: true,
    })
  })
})

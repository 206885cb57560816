import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { BrokerError } from '../../src/lib/errors.ts'
import { computeTtl, SYSTEM_MAX_TTL_SECONDS, type TtlAsk } from '../../src/lib/ttl.ts'

const HOUR = 3_600
const ISSUED = new Date('2026-01-01T00:00:00.000Z')
const at = (seconds: number) => new Date(ISSUED.getTime() + seconds * 1_000)

const ask = (changes: Partial<TtlAsk<'role' | 'mount'>> = {}): TtlAsk<'role' | 'mount'> => ({
  now: ISSUED,
  issuedAt: ISSUED,
  incrementSeconds: undefined,
  defaultSeconds: 0,
  maxima: [],
  ...changes,
})

describe('a TTL', () => {
  test('is the system default when nobody says anything', () => {
    expect(computeTtl(ask())).toEqual({
      ttlSeconds: 768 * HOUR,
      expiresAt: at(768 * HOUR),
      hardExpiresAt: at(768 * HOUR),
      limitedBy: null,
      warnings: [],
    })
  })

  test('is exactly what was asked when nothing limits it', () => {
    const maxima = [{ name: 'role' as const, seconds: 2 * HOUR }]
    expect(computeTtl(ask({ incrementSeconds: 5_401, maxima }))).toMatchObject({
      ttlSeconds: 5_401,
      expiresAt: at(5_401),
      hardExpiresAt: at(2 * HOUR),
      limitedBy: null,
      warnings: [],
    })
  })

  test('is the default for an increment of 0', () => {
    expect(computeTtl(ask({ incrementSeconds: 0, defaultSeconds: HOUR }))).toMatchObject({ ttlSeconds: HOUR })
  })

  test('above the maximum is cut, with the warning and the name of what cut it', () => {
    const maxima = [
      { name: 'mount' as const, seconds: 24 * HOUR },
      { name: 'role' as const, seconds: HOUR },
    ]
    expect(computeTtl(ask({ incrementSeconds: 2 * HOUR, maxima }))).toMatchObject({
      ttlSeconds: HOUR,
      limitedBy: 'role',
      warnings: ['TTL of "2h" exceeded the effective max_ttl of "1h"; TTL value is capped accordingly'],
    })
  })

  test('may pass the system maximum where the mount allows more', () => {
    const maxima = [{ name: 'mount' as const, seconds: 1_000 * HOUR }]
    expect(computeTtl(ask({ incrementSeconds: 900 * HOUR, maxima }))).toMatchObject({
      ttlSeconds: 900 * HOUR,
    })
  })
})

describe('a renewal', () => {
  const maxima = [{ name: 'role' as const, seconds: 2 * HOUR }]

  test('counts from now and may shorten', () => {
    const renewed = computeTtl(ask({ now: at(60), incrementSeconds: 30, defaultSeconds: HOUR, maxima }))
    expect(renewed).toMatchObject({ ttlSeconds: 30, expiresAt: at(90) })
  })

  test('near the maximum is cut to what is left since issue, and says what is left', () => {
    const renewed = computeTtl(ask({ now: at(2 * HOUR - 90.5), incrementSeconds: HOUR, maxima }))
    expect(renewed).toMatchObject({
      ttlSeconds: 90,
      expiresAt: at(2 * HOUR - 0.5),
      limitedBy: 'role',
      warnings: ['TTL of "1h" exceeded the effective max_ttl of "1m30s"; TTL value is capped accordingly'],
    })
  })

  test.each([2 * HOUR, 2 * HOUR - 0.5, 3 * HOUR])('%d s after issue is past the maximum', (age) => {
    const renew = () => computeTtl(ask({ now: at(age), incrementSeconds: 10, maxima }))
    expect(renew).toThrow(new BrokerError('invalid_request', 'past the max TTL, cannot renew'))
  })

  test('is bound by an end at a known time, given as a maximum', () => {
    const end = (at(100.25).getTime() - ISSUED.getTime()) / 1_000
    const bound = [...maxima, { name: 'mount' as const, seconds: end }]
    expect(computeTtl(ask({ now: at(50), incrementSeconds: HOUR, maxima: bound }))).toMatchObject({
      ttlSeconds: 50,
      hardExpiresAt: at(100.25),
      limitedBy: 'mount',
    })
  })

  test('after an end at a known time is refused', () => {
    const bound = [{ name: 'mount' as const, seconds: -1 }]
    expect(() => computeTtl(ask({ maxima: bound }))).toThrow('past the max TTL, cannot renew')
  })
})

describe('a period', () => {
  test('renews for ever, and takes no increment', () => {
    const renewed = computeTtl(ask({ now: at(9_999 * HOUR), incrementSeconds: 5, periodSeconds: HOUR }))
    expect(renewed).toMatchObject({ ttlSeconds: HOUR, hardExpiresAt: null, limitedBy: null, warnings: [] })
  })

  test('longer than the maximum is cut to it each time', () => {
    const maxima = [{ name: 'mount' as const, seconds: HOUR }]
    expect(computeTtl(ask({ now: at(99 * HOUR), periodSeconds: 2 * HOUR, maxima }))).toMatchObject({
      ttlSeconds: HOUR,
      limitedBy: 'mount',
      hardExpiresAt: null,
      warnings: ['period of "2h" exceeded the effective max_ttl of "1h"; period value is capped accordingly'],
    })
  })

  test('ends at the explicit maximum', () => {
    const periodic = { periodSeconds: HOUR, explicitMaxSeconds: 90 * 60 }
    expect(computeTtl(ask({ now: at(HOUR), ...periodic }))).toMatchObject({
      ttlSeconds: 30 * 60,
      limitedBy: 'explicit_max',
      hardExpiresAt: at(90 * 60),
    })
    expect(() => computeTtl(ask({ now: at(90 * 60), ...periodic }))).toThrow('past the max TTL')
  })
})

/** Bounds in seconds, 0 among them for "none". */
const bound = fc.oneof(fc.constant(0), fc.integer({ min: 1, max: 10_000_000 }))
const anyAsk = fc.record({
  age: fc.integer({ min: 0, max: 5_000_000_000 }),
  incrementSeconds: fc.option(bound, { nil: undefined }),
  defaultSeconds: bound,
  role: bound,
  mount: bound,
  periodSeconds: bound,
  explicitMaxSeconds: bound,
})

test('of any terms, none outlives a bound that is set, and every cut is named', () => {
  fc.assert(
    fc.property(anyAsk, ({ age, role, mount, ...rest }) => {
      const now = new Date(ISSUED.getTime() + age)
      const maxima = [
        { name: 'role' as const, seconds: role },
        { name: 'mount' as const, seconds: mount },
      ]
      const terms = outcome(() => computeTtl({ ...rest, now, issuedAt: ISSUED, maxima }))
      const bounds = [role, mount].filter((seconds) => seconds > 0)
      const max = Math.min(...(bounds.length > 0 ? bounds : [SYSTEM_MAX_TTL_SECONDS]))
      const end = hardEndSeconds({ ...rest, max })
      if (!terms) {
        expect(Math.floor(end - age / 1_000)).toBeLessThan(1)
        return
      }

      const { ttlSeconds, expiresAt, hardExpiresAt } = terms
      expect(ttlSeconds).toBeGreaterThanOrEqual(1)
      expect(Number.isInteger(ttlSeconds)).toBe(true)
      expect(expiresAt.getTime() - now.getTime()).toBe(ttlSeconds * 1_000)
      expect(ttlSeconds).toBeLessThanOrEqual(rest.explicitMaxSeconds || Infinity)
      expect(ttlSeconds).toBeLessThanOrEqual(max)
      expect(age / 1_000 + ttlSeconds).toBeLessThanOrEqual(end)
      expect(hardExpiresAt?.getTime() ?? Infinity).toBe(ISSUED.getTime() + end * 1_000)
      expect(terms.warnings.length > 0).toBe(terms.limitedBy !== null)
    }),
  )
})

function hardEndSeconds(of: { periodSeconds: number; explicitMaxSeconds: number; max: number }): number {
  const explicit = of.explicitMaxSeconds || Infinity
  return of.periodSeconds > 0 ? explicit : Math.min(of.max, explicit)
}

function outcome<T>(work: () => T): T | undefined {
  try {
    return work()
  } catch (error) {
    expect(error).toEqual(new BrokerError('invalid_request', 'past the max TTL, cannot renew'))
    return undefined
  }
}

import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { bothOf, isInside, isWithin } from '../../src/identity/cidr.ts'

/** Of a few addresses, so that blocks meet often. */
const v4 = fc
  .tuple(fc.constantFrom(10, 11), fc.nat(3), fc.constantFrom(0, 128), fc.nat(3))
  .map((p) => p.join('.'))
const block = fc.tuple(v4, fc.constantFrom(7, 8, 15, 16, 17, 24, 30, 32)).map((parts) => parts.join('/'))
const blocks = fc.array(block, { minLength: 1, maxLength: 4 })

describe('the blocks of two lists', () => {
  test('hold an address if both lists do', () => {
    fc.assert(
      fc.property(blocks, blocks, v4, (one, other, ip) => {
        const both = bothOf(one, other)
        expect(both.length > 0 && isWithin(both, ip)).toBe(isWithin(one, ip) && isWithin(other, ip))
      }),
    )
  })

  test('are none where they have nothing in common', () => {
    expect(bothOf(['10.0.0.0/8'], ['11.0.0.0/8', '::/0'])).toEqual([])
  })
})

describe('a block', () => {
  test('that is inside others has no address outside them', () => {
    fc.assert(
      fc.property(blocks, block, v4, (outer, inner, ip) => {
        fc.pre(isInside(outer, inner) && isWithin([inner], ip))
        expect(isWithin(outer, ip)).toBe(true)
      }),
    )
  })

  test.each([
    [['10.0.0.0/8'], '10.1.0.0/16', true],
    [['10.0.0.0/8'], '10.1.2.3', true],
    [['10.0.0.0/8'], '10.0.0.0/8', true],
    [['10.0.0.0/8'], '10.0.0.0/7', false],
    [['10.0.0.0/8'], '0.0.0.0/0', false],
    [['0.0.0.0/0'], '10.0.0.1', true],
    [['fd00::/8'], 'fd00::1', true],
    [['fd00::/8'], 'fc00::/7', false],
    [['::/0'], '10.0.0.1', false],
    [['10.0.0.0/8'], '::ffff:10.0.0.0/8', false],
    [['10.0.0.0/8'], '::ffff:10.0.0.1', false],
    [[], '10.0.0.1', false],
  ])('inside %j: %s, %s', (outer, inner, expected) => {
    expect(isInside(outer, inner)).toBe(expected)
  })
})

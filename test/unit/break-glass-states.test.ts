import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import {
  type Capacity,
  GRANT_EVENTS,
  GRANT_STATES,
  HAS_ACCESS,
  next,
  rowOf,
  TERMINAL,
  TRANSITIONS,
} from '../../src/breakglass/states.ts'

const LANES = ['standard', 'break_glass', 'sealed', 'drill'] as const
const CAPACITIES = [...new Set(TRANSITIONS.flatMap(({ who }) => who))]

describe('the machine', () => {
  test('has all 37 rows of its specification', () => {
    const numbers = TRANSITIONS.map(({ row }) => Number.parseInt(row, 10))
    expect([...new Set(numbers)].sort((a, b) => a - b)).toEqual(Array.from({ length: 37 }, (_, i) => i + 1))
    expect(TRANSITIONS.some(({ row }) => row === '28a')).toBe(true)
  })

  test('lets nothing be that has no row', () => {
    const move = fc.record({
      from: fc.constantFrom(null, ...GRANT_STATES),
      event: fc.constantFrom(...GRANT_EVENTS),
      to: fc.constantFrom(...GRANT_STATES),
      who: fc.constantFrom<Capacity>(...CAPACITIES),
      lane: fc.constantFrom(...LANES),
    })
    fc.assert(
      fc.property(move, (tried) => {
        const row = rowOf(tried)
        if (!row) return
        expect(row.from).toContain(tried.from)
        expect(row.to === 'same' ? tried.from : row.to).toBe(tried.to)
        expect(row.who).toContain(tried.who)
        expect(next(tried.from, tried.event, tried.lane)).toContain(tried.to)
      }),
      { numRuns: 5_000 },
    )
  })

  test('leaves nothing that is over, but a closed review', () => {
    const leaving = TRANSITIONS.filter(({ from }) =>
      from.some((state) => state !== null && TERMINAL.has(state)),
    )
    expect(leaving.map(({ row, from, to }) => [row, from, to])).toEqual([['37', ['closed_ok'], 'review_due']])
  })

  test('lets one person end access from wherever there is any', () => {
    for (const state of ['activating', 'active', 'suspended'] as const) {
      for (const who of ['approver', 'officer', 'owner'] as const) {
        const move = { from: state, event: 'revoke', to: 'ending', who, lane: 'break_glass' } as const
        expect(rowOf(move)).toBeDefined()
      }
    }
  })

  test('gives access by activation alone, and takes it back before anything is over', () => {
    for (const { from, to, event } of TRANSITIONS) {
      if (to === 'same') continue
      const opens = HAS_ACCESS.has(to) && from.some((state) => state === null || !HAS_ACCESS.has(state))
      expect(opens ? event : 'activate').toBe('activate')
      if (from.some((state) => state === 'active' || state === 'suspended')) {
        expect(['active', 'suspended', 'ending']).toContain(to)
      }
    }
  })

  test('has no vote by a requester, and none by our own hands', () => {
    const votes = [
      ...['approve', 'narrow', 'witness', 'deny', 'extend', 'ratify', 'resume', 'review_ok', 'on_call_vote'],
    ]
    for (const { event, who } of TRANSITIONS.filter(({ event }) => votes.includes(event))) {
      expect([event, who.filter((one) => one === 'requester' || one === 'system')]).toEqual([event, []])
    }
  })
})

import { describe, expect, test } from 'vitest'
import {
  canaryWords,
  canReconcile,
  inOrder,
  issuingWords,
  isUntried,
  limitLine,
  reconcileWords,
  rotationWords,
  type Target,
  troubleOf,
  worst,
} from '../../src/console/pages/targets/target.ts'

const TIMES = { running: false, last_at: '2026-01-01T00:00:00Z', last_success_at: null, next_at: null }

const WELL: Target = {
  id: 't1',
  mount: 'database/',
  name: 'shop',
  engine: 'postgres',
  environment: null,
  reachable: true,
  breaker: 'closed',
  leases: { live: 3, stuck: 0, overdue_seconds: 2 },
  stuck: [],
  freeze: { at: 50, frozen: false },
  revocable: true,
  canary: { ...TIMES, state: 'ended', seconds: 0.2 },
  reconcile: null,
  warnings: [],
  guard: null,
  rotation: { admin: null, static: [] },
}

const ROTATION = {
  name: null,
  username: 'admin',
  last_rotated_at: null,
  next_at: null,
  phase: null,
  attempts: 0,
  error: '',
  automated: true,
}

const trouble = (part: Partial<Target>) => troubleOf({ ...WELL, ...part })

test('a target that nothing was tried on is not called healthy', () => {
  const none = { ...WELL, canary: null, reconcile: null, guard: null }
  expect(isUntried(none)).toBe(true)
  expect(isUntried({ ...none, guard: [{ name: 'roles', used: 1 }] })).toBe(false)
  expect(isUntried(WELL)).toBe(false)
})

describe('the health of a target', () => {
  test('a target that is well, or that was not asked lately, is in no trouble', () => {
    expect(troubleOf(WELL)).toEqual([])
    expect(trouble({ reachable: null, breaker: 'unknown', revocable: null, canary: null })).toEqual([])
  })

  test.each<[string, Partial<Target>, string]>([
    ['away', { breaker: 'open' }, 'Cannot be reached'],
    ['away, as seen', { reachable: false }, 'Cannot be reached'],
    [
      'frozen',
      { freeze: { at: 50, frozen: true }, leases: { live: 60, stuck: 51, overdue_seconds: 0 } },
      'Issuing is frozen',
    ],
    ['stuck', { leases: { live: 3, stuck: 1, overdue_seconds: 0 } }, '1 stuck lease'],
    [
      'no longer revocable',
      { revocable: false, canary: { ...TIMES, state: 'failed', failed_at: 'end', error: 'refused' } },
      'The canary failed',
    ],
  ])('%s is bad', (_, part, what) => {
    expect(trouble(part)).toEqual([{ tone: 'bad', what, means: expect.any(String) }])
  })

  test.each<[string, Partial<Target>, string, RegExp]>([
    ['late', { leases: { live: 3, stuck: 0, overdue_seconds: 61 } }, 'Ending is late', /61 seconds/],
    ['not reconciled', { reconcile: { ...TIMES, error: 'timeout' } }, 'Not reconciled', /timeout/],
    [
      'strangers',
      { reconcile: { ...TIMES, found: { unknown: { count: 2, some: [] } } } },
      '2 unknown accounts',
      /left alone/,
    ],
    [
      'a password that stays',
      { rotation: { admin: { ...ROTATION, error: 'refused' }, static: [] } },
      'The password of admin was not rotated',
      /refused/,
    ],
    ['a warning', { warnings: ['clock is off'] }, 'Warning', /clock/],
    [
      'a guard that found something',
      { guard: [{ name: 'roles', used: 60_000, warning: 'too many' }] },
      'The catalog guard warns',
      /too many/,
    ],
  ])('%s is worth a look', (_, part, what, means) => {
    expect(trouble(part)).toEqual([{ tone: 'warning', what, means: expect.stringMatching(means) }])
  })

  test('the worst comes first, within a target and among them', () => {
    const bad = { ...WELL, id: 'b', name: 'z', breaker: 'open' as const, warnings: ['clock'] }
    const warned = { ...WELL, id: 'w', name: 'm', warnings: ['clock'] }
    expect(troubleOf(bad).map(({ tone }) => tone)).toEqual(['bad', 'warning'])
    expect(inOrder([WELL, warned, bad]).map(({ name }) => name)).toEqual(['z', 'm', 'shop'])
    expect([bad, warned, WELL].map(worst)).toEqual([2, 1, 0])
  })
})

describe('words for what is done on a target', () => {
  test('issuing', () => {
    expect(issuingWords(WELL)).toMatch(/frozen once 50/)
    expect(issuingWords({ freeze: { at: 0, frozen: false } })).toMatch(/whatever/)
    expect(issuingWords({ freeze: { at: 50, frozen: true } })).toBe('frozen')
  })

  test('the canary', () => {
    expect(canaryWords(WELL)).toMatch(/0\.2 s/)
    expect(canaryWords({ ...WELL, canary: null })).toBe('not tried yet')
    expect(canaryWords({ ...WELL, canary: { ...TIMES, state: 'unsupported' } })).toMatch(/none/)
    expect(canaryWords({ ...WELL, canary: { ...TIMES, state: 'failed' } })).toMatch(/could not/)
  })

  test('the catalog guard', () => {
    expect(limitLine({ name: 'acl_bytes', used: 69, max: 7_900, what: 'public.customer' })).toBe(
      '69 of 7,900 bytes in the largest access list (public.customer)',
    )
    expect(limitLine({ name: 'new_limit', used: 3 })).toBe('3 new limit')
    // What the reconcile warns of already is not said twice.
    const guard = [{ name: 'roles', used: 60_000, warning: 'too many' }]
    expect(troubleOf({ ...WELL, guard, warnings: ['too many'] })).toHaveLength(1)
  })

  test('the reconcile', () => {
    expect(reconcileWords(WELL)).toBe('not done yet')
    const done = (found: Record<string, { count: number; some: [] }>) =>
      reconcileWords({ ...WELL, reconcile: { ...TIMES, accounts: 5, leases: 4, found } })
    expect(done({ orphan: { count: 0, some: [] } })).toBe(
      '5 accounts held against 4 leases: all as it should be',
    )
    expect(done({ orphan: { count: 1, some: [] }, new_kind: { count: 2, some: [] } })).toBe(
      '5 accounts held against 4 leases: 1 without a lease, ended, 2 new kind',
    )
    expect(canReconcile({ engine: 'kubernetes' })).toBe(false)
  })

  test('rotation', () => {
    expect(rotationWords(ROTATION)).toBe('rotated by itself')
    expect(rotationWords({ ...ROTATION, automated: false })).toBe('rotated only when asked')
    expect(rotationWords({ ...ROTATION, phase: 'set' })).toBe('being rotated now (set)')
  })
})

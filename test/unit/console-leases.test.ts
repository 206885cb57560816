import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import {
  begun,
  byTarget,
  confirmationFor,
  countsOf,
  followedUp,
  isOpen,
  progressWords,
  type RevokeOutcome,
} from '../../src/console/pages/leases/bulk-revoke.ts'
import {
  addressOf,
  dueWithin,
  filtersOf,
  howMany,
  LEASE_STATES,
  type LeaseFilters,
  listingOf,
  settled,
  TIME_LEFT,
  type TimeLeft,
} from '../../src/console/pages/leases/filters.ts'
import {
  evidenceLines,
  holderName,
  type LeaseRow,
  limitWords,
  reasonWords,
  ruleWords,
  stateMeans,
  stepWords,
} from '../../src/console/pages/leases/lease.ts'

const NONE: LeaseFilters = { states: [], principal: '', role: '', target: '', grant: '', left: '' }

const word = fc.stringMatching(/^[\w/.-]{0,20}$/)
const filters: fc.Arbitrary<LeaseFilters> = fc.record({
  states: fc.subarray([...LEASE_STATES]).map(settled),
  principal: word,
  role: word,
  target: word,
  grant: word,
  left: fc.constantFrom('', ...(Object.keys(TIME_LEFT) as TimeLeft[])),
})

describe('the filters of the leases', () => {
  test('an address says all of them, and nothing else', () => {
    fc.assert(
      fc.property(filters, (set) => {
        expect(filtersOf(new URLSearchParams(addressOf(set).toString()))).toEqual(set)
      }),
    )
    expect(addressOf(NONE).toString()).toBe('')
  })

  test('what an address cannot mean is left out', () => {
    const odd = new URLSearchParams('state=active,nonsense&left=2y&target=%20pg%20&other=1&left=constructor')
    expect(filtersOf(odd)).toEqual({ ...NONE, states: ['active'], target: 'pg' })
    expect(filtersOf(new URLSearchParams(`role=${'x'.repeat(10_000)}`)).role).toHaveLength(200)
    expect(filtersOf(new URLSearchParams('left=toString')).left).toBe('')
  })

  test('ended leases are never listed together with live ones', () => {
    fc.assert(
      fc.property(fc.subarray([...LEASE_STATES]), (states) => {
        const asked = settled(states)
        expect(asked.length === 1 || !asked.includes('revoked')).toBe(true)
      }),
    )
    expect(settled(['revoked'])).toEqual(['revoked'])
    expect(settled(['revoked', 'active'])).toEqual(['active'])
  })

  test('the API is asked in its own words', () => {
    const asked = listingOf(
      { ...NONE, states: ['stuck', 'active'], role: 'database/creds/app', grant: 'g1', left: '5m' },
      { limit: 50, cursor: 'c' },
    )
    expect(Object.fromEntries(asked)).toEqual({
      state: 'stuck,active',
      prefix: 'database/creds/app',
      grant: 'g1',
      limit: '50',
      cursor: 'c',
    })
  })

  test('counts what is set', () => {
    expect(howMany(NONE)).toBe(0)
    expect(howMany({ ...NONE, states: ['active'], target: 'pg', left: '1h' })).toBe(3)
  })
})

describe('leases due within a time', () => {
  const now = new Date('2026-01-01T00:00:00Z')
  const due = (seconds: number | null) => ({
    next_action_at: seconds === null ? null : new Date(now.getTime() + seconds * 1_000).toISOString(),
  })

  test('are the head of the listing, and after the first that is due later there is no next page', () => {
    const rows = [due(-5), due(300), due(301)]
    expect(dueWithin(rows, { left: '5m', now, cursor: 'more' })).toEqual({
      rows: rows.slice(0, 2),
      cursor: null,
    })
  })

  test('go on to the next page while all of this one are', () => {
    const rows = [due(1), due(2)]
    expect(dueWithin(rows, { left: '5m', now, cursor: 'more' })).toEqual({ rows, cursor: 'more' })
  })

  test('are all of them where no time is asked for', () => {
    const rows = [due(1), due(999_999), due(null)]
    expect(dueWithin(rows, { left: '', now, cursor: 'more' })).toEqual({ rows, cursor: 'more' })
  })
})

const ROW: LeaseRow = {
  lease_id: 'database/creds/app/a1',
  id: 'a1',
  path: 'database/creds/app',
  role: 'app',
  mount: 'database/',
  target: 'pg',
  engine: 'postgres',
  account: 'v_app_a1',
  principal: 'p1',
  principal_name: 'alice',
  state: 'active',
  stuck: false,
  issued_at: '2026-01-01T00:00:00Z',
  expires_at: '2026-01-01T01:00:00Z',
  hard_expires_at: '2026-01-01T02:00:00Z',
  renewed_at: null,
  limited_by: null,
  grant_id: null,
  next_action_at: '2026-01-01T01:00:00Z',
  attempts: 0,
  last_error: '',
  end_reason: null,
  access_ended_at: null,
  ended_at: null,
}

describe('revoking many', () => {
  const outcome = (id: string, what: RevokeOutcome['outcome']): RevokeOutcome => ({
    id,
    lease_id: what === 'unknown' ? null : id,
    outcome: what,
  })

  test('what is to be typed says how many', () => {
    expect(confirmationFor(12)).toBe('revoke 12')
  })

  test('names the targets, most leases first', () => {
    const on = (target: string) => ({ target, engine: 'mysql', path: 'db/creds/r' })
    expect(byTarget([on('b'), on('a'), on('b'), on('c')])).toEqual([
      { target: 'b', count: 2 },
      { target: 'a', count: 1 },
      { target: 'c', count: 1 },
    ])
  })

  test('each lease is followed from ending to ended, stuck ones with why', () => {
    const first = begun([
      outcome('x/a', 'started'),
      outcome('x/b', 'started'),
      outcome('x/c', 'started'),
      outcome('x/d', 'already_ended'),
      outcome('x/e', 'denied'),
      outcome('x/f', 'unknown'),
    ])
    expect(countsOf(first)).toEqual({ ending: 3, access_ended: 0, ended: 1, stuck: 0, unknown: 1, denied: 1 })
    const later = followedUp(first, [
      { ...ROW, lease_id: 'x/a', state: 'revoked' },
      { ...ROW, lease_id: 'x/b', state: 'revoking', stuck: true, last_error: 'no route to host' },
      { ...ROW, lease_id: 'x/c', state: 'revoking', access_ended_at: '2026-01-01T00:00:01Z' },
      { ...ROW, lease_id: 'x/e', state: 'active' },
    ])
    expect(later.map(({ fate }) => fate)).toEqual([
      'ended',
      'stuck',
      'access_ended',
      'ended',
      'denied',
      'unknown',
    ])
    expect(later[1]?.error).toBe('no route to host')
    expect(progressWords(later)).toBe(
      'Of 6: 2 ended; 1 access over, removal being proved; 1 stuck, and tried again for ever; 1 not found; 1 not allowed.',
    )
  })

  test('what is over stays over, and a stuck one may still end', () => {
    const [stuck] = followedUp(begun([outcome('x/a', 'started')]), [
      { ...ROW, lease_id: 'x/a', state: 'revoking', stuck: true },
    ])
    expect(stuck && isOpen(stuck.fate)).toBe(true)
    const ended = followedUp(stuck ? [stuck] : [], [{ ...ROW, lease_id: 'x/a', state: 'revoked' }])
    expect(ended[0]?.fate).toBe('ended')
    expect(followedUp(ended, [{ ...ROW, lease_id: 'x/a', state: 'revoking' }])[0]?.fate).toBe('ended')
  })
})

describe('the words of a lease', () => {
  test('say whether the account can still be used', () => {
    const means = (part: Partial<LeaseRow>) => stateMeans({ ...ROW, ...part })
    expect(means({})).toMatch(/can log in/)
    expect(means({ state: 'revoking', stuck: true })).toMatch(/may still be usable/)
    expect(means({ state: 'revoking', stuck: true, access_ended_at: 'x' })).toMatch(/^Nobody can use/)
    expect(means({ state: 'revoking', access_ended_at: 'x' })).toMatch(/^Nobody can use/)
    expect(means({ state: 'revoked' })).toMatch(/proved gone/)
  })

  test('a word that is new to the page is shown as it is', () => {
    expect(reasonWords('some_new_reason')).toBe('some new reason')
    expect(reasonWords(null)).toBe('')
    expect(limitWords('new_limit')).toBe('new limit')
    expect(stepWords('new_step')).toBe('new step')
  })

  test('the holder goes by the best name there is', () => {
    expect(holderName(ROW)).toBe('alice')
    expect(holderName({ principal: 'p1', principal_name: '' })).toBe('p1')
    expect(holderName({ principal: '', principal_name: '' })).toBe('a root token')
  })

  test('what allowed it is said as far as it is known', () => {
    expect(ruleWords({ policy: 'ops', version: 2, pattern: 'database/*', line: 3 })).toEqual({
      policy: 'policy ops, version 2',
      pattern: 'database/* (line 3)',
    })
    expect(ruleWords({ policy: 'root' })).toEqual({ policy: 'policy root', pattern: '' })
    expect(ruleWords(null).policy).toBe('not on record')
  })

  test('nothing that a step recorded is dropped', () => {
    expect(evidenceLines({ sessions_ended: 2, note: 'a', list: ['x'] })).toEqual([
      'sessions ended: 2',
      'note: a',
      'list: ["x"]',
    ])
    expect(evidenceLines(null)).toEqual([])
  })
})

import { describe, expect, test } from 'vitest'
import { draftOf, forgetDraft, keepDraft } from '../../src/console/ask-draft.ts'
import {
  askable,
  askProblems,
  type EligiblePolicy,
  emptyAsk,
  restoredAsk,
} from '../../src/console/ask-limits.ts'
import { ACTIONS, sayingOf } from '../../src/console/grant-actions.ts'
import type { Quorum, ShortGrant } from '../../src/console/grant-types.ts'
import { canHelp, deadlineOf, isAccessOver, tellingSets } from '../../src/console/words.ts'

const NOW = Date.parse('2026-11-23T02:40:00.000Z')
const at = (seconds: number) => new Date(NOW + seconds * 1_000).toISOString()

const ROLE = {
  path: 'database/creds/a',
  target: 'orders',
  engine: 'postgres',
  privileges: [],
  revocability: 'immediate',
  environment: null,
}
const POLICY: EligiblePolicy = {
  name: 'prod',
  lane: 'break_glass',
  roles: [ROLE],
  limits: {
    reason_min_length: 1,
    ticket_required: false,
    ticket_pattern: null,
    default_duration_seconds: 1_800,
    max_duration_seconds: 14_400,
    pending_ttl_seconds: 900,
    activate_within_seconds: 600,
    sealed: false,
    sealed_solo: false,
    sealed_max_duration_seconds: 900,
    drill: true,
  },
  approvals_words: '2 people',
  blocked: null,
}

function shelf() {
  const held = new Map<string, string>()
  return {
    getItem: (key: string) => held.get(key) ?? null,
    setItem: (key: string, value: string) => void held.set(key, value),
    removeItem: (key: string) => void held.delete(key),
    held,
  }
}

describe('a form put aside for a fresh login', () => {
  const form = { ...emptyAsk(POLICY), minutes: 45, reason: 'orders are stuck', ticket: 'INC-1' }
  const draft = { principal: 'alice', policy: 'prod', form }

  test('comes back to whom it belongs, until it is forgotten', () => {
    const kept = shelf()
    keepDraft(draft, () => kept)
    expect(draftOf('alice', () => kept)).toEqual(draft)
    expect(draftOf('bob', () => kept)).toBeUndefined()
    forgetDraft(() => kept)
    expect(draftOf('alice', () => kept)).toBeUndefined()
    expect(kept.held.size).toBe(0)
  })

  test('is nothing where something else stands in its place, or the browser keeps nothing', () => {
    const kept = shelf()
    for (const text of ['{', 'null', '{"principal":"alice"}', '{"principal":"alice","form":{"roles":1}}']) {
      kept.held.set('leasehold.ask-draft', text)
      expect(draftOf('alice', () => kept)).toBeUndefined()
    }
    const closed = {
      ...kept,
      setItem: () => {
        throw new DOMException('full', 'QuotaExceededError')
      },
    }
    expect(() => keepDraft(draft, () => closed)).not.toThrow()
  })

  test('keeps what the policy still has', () => {
    expect(restoredAsk(POLICY, form)).toEqual(form)
    expect(
      restoredAsk(POLICY, { ...form, lane: 'sealed', roles: ['database/creds/gone', ROLE.path] }),
    ).toEqual({ ...form, lane: 'ordinary' })
    expect(restoredAsk(POLICY, { ...form, lane: 'drill' }).lane).toBe('drill')
  })
})

describe('what may be asked for', () => {
  test('begins with what is for an emergency, without policies that have no role', () => {
    const policies = [
      { ...POLICY, name: 'change', lane: 'standard' as const },
      { ...POLICY, name: 'empty', roles: [] },
      POLICY,
    ]
    expect(askable(policies).map(({ name }) => name)).toEqual(['prod', 'change'])
  })

  test('one character is one', () => {
    expect(askProblems(POLICY, emptyAsk(POLICY))).toEqual({
      reason: 'At least 1 character; so far it has 0',
    })
  })
})

describe('credentials on the screen', () => {
  test.each([
    ['approved', null, false],
    ['activating', null, false],
    ['active', at(1), false],
    ['active', at(0), true],
    ['suspended', at(60), true],
    ['ending', at(60), true],
    ['ending_stuck', at(60), true],
    ['review_due', at(60), true],
  ] as const)('of a request that is %s until %s: over %s', (state, expires_at, over) => {
    expect(isAccessOver({ state, expires_at }, NOW)).toBe(over)
  })
})

describe('a request on the page', () => {
  const set = (name: string, have: number) => ({
    set: name,
    needed: 1,
    have,
    voters: [],
    may_still_vote: [name],
  })

  test('asks only sets that can still help, and is silent about those it did without', () => {
    const [full, none] = [set('security', 1), set('owner', 0)]
    const open = { met: false, tree: [full, none] } as unknown as Quorum
    expect(open.tree.map((one) => canHelp(open, one))).toEqual([false, true])
    expect(tellingSets(open)).toEqual(open.tree)
    expect(tellingSets({ ...open, met: true })).toEqual([full])
  })

  test('says when its review is due, and from then on when it is overdue', () => {
    const grant = { state: 'review_due', review_due_at: at(60), review_overdue_at: at(120) } as ShortGrant
    expect(deadlineOf(grant, NOW)).toEqual({ at: at(60), label: 'review due in' })
    expect(deadlineOf(grant, NOW + 60_000)).toEqual({ at: at(120), label: 'review due; overdue in' })
  })

  test('does not say that access ends where none began', () => {
    const closed = ACTIONS.find(({ action }) => action === 'incident-closed') as (typeof ACTIONS)[number]
    expect(sayingOf(closed, { state: 'pending' }).confirm).toBe('Close the request for')
    expect(sayingOf(closed, { state: 'active' }).confirm).toBe('End access to')
  })
})

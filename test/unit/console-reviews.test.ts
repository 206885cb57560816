import { describe, expect, test } from 'vitest'
import type { Grant, ShortGrant } from '../../src/console/grant-types.ts'
import {
  bodyOf,
  byUrgency,
  checklistLines,
  emptyForm,
  outcomeWords,
  problemsOf,
  type ReviewForm,
} from '../../src/console/pages/reviews/review.ts'

const GRANT = {
  ticket_state: 'verified' as const,
  force_rotation: false,
  plan_hash: 'hash',
  version: 4,
  events: [{}, {}] as Grant['events'],
  hasRead: true,
}

const allTicked: ReviewForm = {
  ...emptyForm(),
  outcome: 'ok',
  checks: { actions_match_reason: true, ticket_true: true, data_touched: true, follow_up: true },
}

describe('the form of a review', () => {
  test('an empty one says what is missing', () => {
    expect(problemsOf(emptyForm(), GRANT)).toEqual({ outcome: expect.any(String) })
  })

  test('all is well only with every check ticked', () => {
    expect(problemsOf(allTicked, GRANT)).toEqual({})
    for (const name of Object.keys(allTicked.checks)) {
      const form = { ...allTicked, checks: { ...allTicked.checks, [name]: false } }
      expect(problemsOf(form, GRANT)).toEqual({ checks: expect.any(String) })
    }
  })

  test('nothing is as it should be to somebody who has not opened the log', () => {
    const unread = { ...GRANT, hasRead: false }
    expect(problemsOf(allTicked, unread)).toEqual({ checks: expect.stringContaining('Open the log') })
    expect(bodyOf(allTicked, unread)).not.toHaveProperty('events_seen')
    const flagged: ReviewForm = { ...emptyForm(), outcome: 'flagged', finding: 'made up', caseId: 'SEC-1' }
    expect(problemsOf(flagged, unread)).toEqual({})
  })

  test('a ticket that was never verified has to be looked up, unless it is flagged', () => {
    const unverified = { ...GRANT, ticket_state: 'unverified' } as const
    expect(problemsOf(allTicked, unverified)).toEqual({ ticketVerified: expect.any(String) })
    expect(problemsOf({ ...allTicked, ticketVerified: true }, unverified)).toEqual({})
    const flagged: ReviewForm = { ...emptyForm(), outcome: 'flagged', finding: 'made up', caseId: 'SEC-1' }
    expect(problemsOf(flagged, unverified)).toEqual({})
  })

  test('what has to be rotated has to be ticked', () => {
    const seen = { ...GRANT, force_rotation: true }
    expect(problemsOf(allTicked, seen)).toEqual({ rotate: expect.any(String) })
    expect(problemsOf({ ...allTicked, rotate: true }, seen)).toEqual({})
  })

  test('flagging takes a finding and a case', () => {
    const form: ReviewForm = { ...emptyForm(), outcome: 'flagged', finding: ' ', caseId: '' }
    expect(Object.keys(problemsOf(form, GRANT))).toEqual(['finding', 'caseId'])
    const long = { ...form, finding: 'x'.repeat(2_001), caseId: 'y'.repeat(201) }
    expect(Object.keys(problemsOf(long, GRANT))).toEqual(['finding', 'caseId'])
  })

  test('is sent in the words of the API, for the plan that was seen', () => {
    expect(bodyOf({ ...allTicked, rotate: true, finding: ' fine ', caseId: 'left over' }, GRANT)).toEqual({
      outcome: 'ok',
      checklist: {
        actions_match_reason: true,
        ticket_true: true,
        data_touched: true,
        follow_up: true,
        rotate: true,
      },
      finding: 'fine',
      case_id: '',
      ticket_verified: false,
      plan_hash: 'hash',
      version: 4,
      events_seen: 2,
    })
  })
})

describe('reviews', () => {
  test('overdue ones come first, then those due soonest', () => {
    const grant = (id: string, state: ShortGrant['state'], review_due_at: string) =>
      ({ id, state, review_due_at }) as ShortGrant
    const ordered = byUrgency([
      grant('late', 'review_due', '2026-01-03'),
      grant('soon', 'review_due', '2026-01-02'),
      grant('over', 'review_overdue', '2026-01-09'),
    ])
    expect(ordered.map(({ id }) => id)).toEqual(['over', 'soon', 'late'])
  })

  test('what was ticked is said in sentences, also what this page does not know', () => {
    expect(checklistLines({ ticket_true: true, rotate: false, new_check: 'text' })).toEqual([
      'The ticket is true, and this is what it was about: yes',
      'Something that was seen has to be rotated: no',
      'new check: text',
    ])
    expect(checklistLines(null)).toEqual([])
    expect(outcomeWords('flagged')).toBe('Flagged')
  })
})

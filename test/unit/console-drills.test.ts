import { expect, test } from 'vitest'
import {
  type Drill,
  drillAddress,
  gapWords,
  PART_NAMES,
  timesOf,
} from '../../src/console/pages/drills/drill.ts'

const DRILL: Drill = {
  id: 'd',
  policy: 'shop-emergency',
  state: 'review_due',
  requested_at: '2026-11-23T02:40:00.000Z',
  seconds_to_first_vote: 40.2,
  seconds_to_approval: 125,
  seconds_to_access: 130,
  seconds_to_proved_gone: 0.3,
  seconds_to_review: null,
}

test('a drill says how long each part took, and which did not happen', () => {
  expect(Object.fromEntries(PART_NAMES.map((name, part) => [name, timesOf(DRILL)[part]]))).toEqual({
    'First vote': '40 seconds',
    Approved: '2 minutes 5 seconds',
    Activated: '2 minutes 10 seconds',
    'Proved gone, after its end': 'at once',
    'Reviewed, after that': '–',
  })
})

test('a policy that nobody has drilled says so, and where to begin', () => {
  expect(gapWords({ policy: 'p', last_drill_at: null })).toBe('was never drilled')
  expect(gapWords({ policy: 'p', last_drill_at: DRILL.requested_at })).toBe('was last drilled')
  expect(drillAddress('a b&c')).toBe('/access/ask?policy=a+b%26c&lane=drill')
  expect(drillAddress()).toBe('/access/ask?lane=drill')
})

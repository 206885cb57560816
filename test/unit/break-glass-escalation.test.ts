import { expect, test } from 'vitest'
import type { PolicySpec } from '../../src/breakglass/policies.ts'
import { escalationOf } from '../../src/breakglass/waiting.ts'

const at = (minutes: number) => new Date(Date.UTC(2026, 10, 23, 2, minutes))
const GRANT = {
  state: 'pending',
  requestedAt: at(0),
  pendingExpiresAt: at(15),
  activateBy: null,
  escalations: 0,
  now: at(1),
}
const told = (steps: string[][], grant: Partial<typeof GRANT> = {}) =>
  escalationOf({ ...GRANT, ...grant }, { approver_sets_escalation: steps } as PolicySpec)

const STEPS = [['oncall'], ['owners'], ['managers', 'officers']]

test('says who has been told, who is told next and when', () => {
  expect(told(STEPS)).toEqual({ asked: [['oncall']], next: { sets: ['owners'], at: at(5) } })
  expect(told(STEPS, { escalations: 1 })).toEqual({
    asked: [['oncall'], ['owners']],
    next: { sets: ['managers', 'officers'], at: at(10) },
  })
  expect(told(STEPS, { escalations: 2 })).toEqual({ asked: STEPS, next: null })
})

test('tells nobody else once it is decided, and has no steps where everybody is told at once', () => {
  expect(told(STEPS, { state: 'approved' })).toEqual({ asked: [['oncall']], next: null })
  expect(told([])).toBeNull()
  expect(told([['oncall']])).toBeNull()
})

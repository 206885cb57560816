import { expect, test } from 'vitest'
import { END_SLO_MS, nextLook, noticeAt } from '../../src/breakglass/clock.ts'

const now = new Date('2026-11-23T12:00:00Z')
const inMinutes = (minutes: number) => new Date(now.getTime() + minutes * 60_000)

const grant = {
  state: 'active',
  now,
  startedAt: inMinutes(-10),
  expiresAt: inMinutes(20),
  ratification: 'none' as const,
  ratifyBy: null,
  reviewDueAt: null,
  reviewOverdueAt: null,
  detail: {},
}

test('access is looked at before its end, at its end, and whenever something else comes first', () => {
  expect(nextLook(grant)).toEqual(inMinutes(15))
  const told = { told_of_end: grant.expiresAt.toISOString() }
  expect(nextLook({ ...grant, detail: told })).toEqual(inMinutes(20))
  // An extension moves the end: its requester is told again.
  expect(nextLook({ ...grant, expiresAt: inMinutes(40), detail: told })).toEqual(inMinutes(35))
  const closing = { ...told, incident_closes_at: inMinutes(3).toISOString() }
  expect(nextLook({ ...grant, detail: closing })).toEqual(inMinutes(3))
  expect(nextLook({ ...grant, detail: told, ratification: 'due', ratifyBy: inMinutes(1) })).toEqual(
    inMinutes(1),
  )
})

test('nobody is told that access of minutes is about to end', () => {
  expect(noticeAt({ ...grant, startedAt: now, expiresAt: inMinutes(5) })).toBeNull()
})

test('an extension waits for people only while the access is in force', () => {
  const detail = {
    told_of_end: grant.expiresAt.toISOString(),
    extension_expires_at: inMinutes(2).toISOString(),
  }
  expect(nextLook({ ...grant, detail })).toEqual(inMinutes(2))
  expect(nextLook({ ...grant, detail, state: 'suspended' })).toEqual(inMinutes(20))
})

test('an end is looked at ever more rarely, and not for ever more rarely', () => {
  const after = (ms: number) => {
    const detail = { ending_since: new Date(now.getTime() - ms).toISOString() }
    return (nextLook({ ...grant, state: 'ending', detail })?.getTime() ?? 0) - now.getTime()
  }
  expect(after(0)).toBe(500)
  expect(after(10_000)).toBe(5_000)
  expect(after(END_SLO_MS)).toBe(15_000)
  expect(after(END_SLO_MS * 60)).toBe(15_000)
})

test('a review has two times, and what is over none', () => {
  const due = { ...grant, state: 'review_due', reviewDueAt: inMinutes(60), reviewOverdueAt: inMinutes(120) }
  expect(nextLook(due)).toEqual(inMinutes(60))
  expect(nextLook({ ...due, detail: { told_of_review: now.toISOString() } })).toEqual(inMinutes(120))
  expect(nextLook({ ...due, state: 'review_overdue' })).toBeNull()
  expect(nextLook({ ...due, state: 'closed_ok' })).toBeNull()
})

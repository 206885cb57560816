import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { gapSeconds, type Member, waitsUntil } from '../../src/rotation/pairs.ts'
import { checkSchedule, hasMissed, intervalSeconds, nextDue } from '../../src/rotation/schedule.ts'

const NOW = new Date('2026-03-04T05:06:07Z')
const later = (seconds: number): Date => new Date(NOW.getTime() + seconds * 1_000)

describe('a schedule', () => {
  test('a period counts from the last rotation, a cron expression from the clock, in UTC', () => {
    const period = { periodSeconds: 90, schedule: null, windowSeconds: null }
    expect(nextDue(period, NOW)).toEqual(later(90))
    const daily = { periodSeconds: null, schedule: '30 3 * * *', windowSeconds: 3_600 }
    expect(nextDue(daily, NOW)).toEqual(new Date('2026-03-05T03:30:00Z'))
    expect(intervalSeconds(daily, NOW)).toBe(86_400)
    expect(nextDue({ periodSeconds: null, schedule: null, windowSeconds: null }, NOW)).toBeNull()
  })

  test('the clocks going forward or back where a process runs changes nothing', () => {
    const before = process.env.TZ
    process.env.TZ = 'Europe/Berlin'
    try {
      const nightly = { periodSeconds: null, schedule: '30 1 * * *', windowSeconds: 3_600 }
      for (const day of ['2026-03-29', '2026-10-25']) {
        const planned = new Date(`${day}T01:30:00Z`)
        expect(nextDue(nightly, new Date(`${day}T00:00:00Z`))).toEqual(planned)
        expect(nextDue(nightly, planned)?.getTime()).toBe(planned.getTime() + 86_400_000)
        expect(hasMissed(nightly, planned, new Date(`${day}T02:30:00Z`))).toBe(false)
      }
    } finally {
      if (before === undefined) delete process.env.TZ
      else process.env.TZ = before
    }
  })

  test('a window is missed once it has passed, and none never', () => {
    const daily = { periodSeconds: null, schedule: '30 3 * * *', windowSeconds: 3_600 }
    expect(hasMissed(daily, NOW, later(3_600))).toBe(false)
    expect(hasMissed(daily, NOW, later(3_601))).toBe(true)
    expect(hasMissed({ ...daily, windowSeconds: null }, NOW, later(1e6))).toBe(false)
  })

  test('what is written takes the place of what was, and the rest stays', () => {
    const before = { periodSeconds: 60, schedule: null, windowSeconds: null }
    expect(checkSchedule({}, before, NOW)).toEqual(before)
    expect(checkSchedule({ schedule: '0 3 * * *', windowSeconds: 7_200 }, before, NOW)).toEqual({
      periodSeconds: null,
      schedule: '0 3 * * *',
      windowSeconds: 7_200,
    })
    const cron = { periodSeconds: null, schedule: '0 3 * * *', windowSeconds: 7_200 }
    expect(checkSchedule({ periodSeconds: 60 }, cron, NOW)).toEqual(before)
    expect(checkSchedule({ windowSeconds: 3_600 }, cron, NOW)).toEqual({ ...cron, windowSeconds: 3_600 })
    expect(checkSchedule({ schedule: '' }, { ...cron, windowSeconds: null }, NOW).schedule).toBeNull()
  })
})

const member = (id: string, change: Partial<Member> = {}): Member => ({
  id,
  name: id,
  periodSeconds: 100,
  schedule: null,
  windowSeconds: null,
  phase: null,
  rotations: 1,
  lastRotatedAt: NOW,
  dueAt: later(100),
  attempts: 0,
  ...change,
})

describe('two of one group', () => {
  test('keep an even share of their shortest interval between them, and at least a window', () => {
    expect(gapSeconds([member('a'), member('b')], NOW)).toBe(50)
    expect(gapSeconds([member('a'), member('b', { periodSeconds: 40 })], NOW)).toBe(20)
    const cron = { periodSeconds: null, schedule: '0 * * * *', windowSeconds: 3_600 }
    expect(gapSeconds([member('a', cron), member('b', cron)], NOW)).toBe(3_600)
  })

  test('wait for one that is half done, or was rotated a short while ago, or has waited longer', () => {
    const me = member('a', { lastRotatedAt: later(-200), dueAt: NOW })
    expect(waitsUntil(me, [me, member('b', { phase: 'set' })], NOW)).toMatchObject({ for: 'b' })
    expect(waitsUntil(me, [me, member('b')], NOW)).toEqual({ for: 'b', at: later(50) })
    const longer = member('b', { lastRotatedAt: later(-300), dueAt: later(-1) })
    expect(waitsUntil(me, [me, longer], NOW)).toMatchObject({ for: 'b' })
    expect(waitsUntil(longer, [me, longer], NOW)).toBeUndefined()
    expect(waitsUntil(me, [me, { ...longer, attempts: 3 }], NOW)).toBeUndefined()
    expect(waitsUntil(me, [me, member('b', { rotations: 0 })], NOW)).toBeUndefined()
  })

  test('never rotate close to each other, and never stop rotating, however often somebody looks', () => {
    fc.assert(
      fc.property(
        fc.array(fc.integer({ min: 10, max: 200 }), { minLength: 2, maxLength: 4 }),
        fc.array(fc.integer({ min: 1, max: 30 }), { minLength: 200, maxLength: 400 }),
        (periods, looks) => {
          const group = periods.map((periodSeconds, i) =>
            member(`m${i}`, { periodSeconds, lastRotatedAt: later(-1_000), dueAt: NOW }),
          )
          const rotated = rotateAll(group, looks)
          const gap = gapSeconds(group, NOW) * 1_000
          const between = rotated.map(({ id, at }, i) => {
            const before = rotated[i - 1]
            return before && before.id !== id ? at.getTime() - before.at.getTime() : gap
          })
          expect(Math.min(...between)).toBeGreaterThanOrEqual(gap)
          expect(new Set(rotated.map(({ id }) => id)).size).toBe(group.length)
        },
      ),
      { numRuns: 60 },
    )
  })
})

/** Each that is due rotates when it may, at every look, which come so many seconds after each other. */
function rotateAll(group: Member[], looks: number[]): { id: string; at: Date }[] {
  const rotated: { id: string; at: Date }[] = []
  let now = NOW
  for (const seconds of looks) {
    now = new Date(now.getTime() + seconds * 1_000)
    for (const me of group) {
      if ((me.dueAt && me.dueAt > now) || waitsUntil(me, group, now)) continue
      rotated.push({ id: me.id, at: now })
      Object.assign(me, { lastRotatedAt: now, dueAt: nextDue(me, now) })
    }
  }
  return rotated
}

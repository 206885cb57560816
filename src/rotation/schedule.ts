import { Cron } from 'croner'
import { BrokerError } from '../lib/errors.ts'

/** When something rotates: every so often, or at the times of a cron expression (in UTC), each open for a while. */
export type Schedule = {
  periodSeconds: number | null
  schedule: string | null
  windowSeconds: number | null
}

/** As sent; absent fields keep what was. An empty schedule and a period of 0 take it away. */
export type ScheduleWrite = {
  periodSeconds?: number | undefined
  schedule?: string | undefined
  windowSeconds?: number | undefined
}

const SHORTEST_PERIOD_S = 5
/** A window has to be found by a sweep, and to leave time for a few more tries. */
const SHORTEST_WINDOW_S = 3_600

const refuse = (text: string): BrokerError => new BrokerError('invalid_request', text)

/** Checks what is written over what was. Throws a `BrokerError` that names the field; `now` is the ledger's. */
export function checkSchedule(write: ScheduleWrite, before: Schedule | undefined, now: Date): Schedule {
  if (write.periodSeconds && write.schedule) {
    throw refuse('rotation_period and rotation_schedule cannot both be set: give one of them')
  }
  const merged = mergeSchedule(write, before)
  const { periodSeconds, schedule, windowSeconds } = merged
  if (periodSeconds !== null && periodSeconds < SHORTEST_PERIOD_S) {
    throw refuse(`rotation_period must be ${SHORTEST_PERIOD_S} seconds or more`)
  }
  if (schedule !== null && nextTime(schedule, now) === undefined) {
    throw refuse(`rotation_schedule "${schedule}" never fires: there is no such day`)
  }
  if (windowSeconds !== null && schedule === null) {
    throw refuse('rotation_window needs a rotation_schedule: a rotation_period has no windows')
  }
  if (windowSeconds !== null && windowSeconds < SHORTEST_WINDOW_S) {
    throw refuse(`rotation_window must be ${SHORTEST_WINDOW_S} seconds or more`)
  }
  return merged
}

/** Whichever of period and schedule is written takes the place of the other. */
function mergeSchedule(write: ScheduleWrite, before: Schedule | undefined): Schedule {
  const kept = before ?? { periodSeconds: null, schedule: null, windowSeconds: null }
  const period = write.periodSeconds === undefined ? kept.periodSeconds : write.periodSeconds || null
  const cron = write.schedule === undefined ? kept.schedule : write.schedule.trim() || null
  const window = write.windowSeconds === undefined ? kept.windowSeconds : write.windowSeconds || null
  if (write.periodSeconds)
    return { periodSeconds: period, schedule: null, windowSeconds: write.windowSeconds || null }
  if (write.schedule) return { periodSeconds: null, schedule: cron, windowSeconds: window }
  return {
    periodSeconds: period,
    schedule: cron,
    windowSeconds: cron === null ? write.windowSeconds || null : window,
  }
}

/** The next planned time after `from`; null when nothing is planned. */
export function nextDue({ periodSeconds, schedule }: Schedule, from: Date): Date | null {
  if (schedule !== null) return nextTime(schedule, from) ?? null
  return periodSeconds === null ? null : new Date(from.getTime() + periodSeconds * 1_000)
}

/** Whether a planned time has passed by more than its window allows. */
export const hasMissed = ({ windowSeconds }: Schedule, dueAt: Date, now: Date): boolean =>
  windowSeconds !== null && now.getTime() > dueAt.getTime() + windowSeconds * 1_000

/** From one planned time to the one after it, in seconds; undefined when there are no two. */
export function intervalSeconds({ periodSeconds, schedule }: Schedule, now: Date): number | undefined {
  if (schedule === null) return periodSeconds ?? undefined
  const first = nextTime(schedule, now)
  const second = first && nextTime(schedule, first)
  return first && second && (second.getTime() - first.getTime()) / 1_000
}

/** Five fields, as the dialect has them; undefined when the expression never comes true again. */
function nextTime(expression: string, after: Date): Date | undefined {
  try {
    return new Cron(expression, { mode: '5-part', timezone: 'UTC', paused: true }).nextRun(after) ?? undefined
  } catch {
    throw refuse(
      `rotation_schedule "${expression}" is no cron expression of five fields: minute, hour, day, month, weekday`,
    )
  }
}

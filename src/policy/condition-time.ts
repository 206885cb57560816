import { memo } from './condition-memo.ts'

/**
 * The library's own zone getters read the wall clock back in the process's zone, which is wrong for an hour a year on a
 * server that keeps daylight saving time, and they build a formatter per call. These do neither.
 */

type Zone = (time: Date) => number

/** A date whose UTC fields are the wall clock in that zone; undefined for an unknown zone. */
export function wallClock(time: Date, zone: string): Date | undefined {
  const offset = readZone(zone)?.(time)
  return offset === undefined ? undefined : new Date(time.getTime() + offset)
}

/** `Europe/Berlin`, `UTC`, `+02:00`. */
export const isZone = (text: string): boolean => readZone(text) !== null

const readZone = memo((text: string): Zone | null => {
  const [, sign, hours, minutes] = /^([+-]?)(\d\d):([0-5]\d)$/.exec(text) ?? []
  if (hours !== undefined && Number(hours) < 24) {
    const offset = (Number(hours) * 60 + Number(minutes)) * 60_000 * (sign === '-' ? -1 : 1)
    return () => offset
  }
  try {
    return namedZone(text)
  } catch {
    return null
  }
}, 100)

function namedZone(timeZone: string): Zone {
  const format = new Intl.DateTimeFormat('en-US-u-ca-gregory-nu-latn', {
    timeZone,
    hourCycle: 'h23',
    year: 'numeric',
    month: 'numeric',
    day: 'numeric',
    hour: 'numeric',
    minute: 'numeric',
    second: 'numeric',
  })
  // One request asks about one moment, from many conditions: formatting it once is enough.
  let last = { time: Number.NaN, offset: 0 }
  return (date) => {
    const time = date.getTime()
    if (time !== last.time) last = { time, offset: offsetBy(format, date) }
    return last.offset
  }
}

function offsetBy(format: Intl.DateTimeFormat, date: Date): number {
  const fields: Partial<Record<Intl.DateTimeFormatPartTypes, number>> = {}
  for (const { type, value } of format.formatToParts(date)) fields[type] = Number(value)
  const { year = 0, month = 1, day = 1, hour = 0, minute = 0, second = 0 } = fields
  const wall = new Date(0)
  wall.setUTCFullYear(year, month - 1, day)
  wall.setUTCHours(hour, minute, second)
  return wall.getTime() - Math.floor(date.getTime() / 1_000) * 1_000
}

const RFC3339 =
  /^(\d{4})-(0[1-9]|1[0-2])-(0[1-9]|[12]\d|3[01])T([01]\d|2[0-3]):[0-5]\d:[0-5]\d(\.\d{1,9})?(Z|[+-]([01]\d|2[0-3]):[0-5]\d)$/

/** Strict: `Date` alone would read a text without a zone in the process's own, and 30 February as 2 March. */
export function readTimestamp(text: string): Date | undefined {
  const [, year, month, day] = (text.length <= 40 && RFC3339.exec(text)) || []
  if (year === undefined || Number(day) > daysIn(Number(year), Number(month))) return undefined
  return new Date(text)
}

/** From the first day of year 1 to the last of year 9999, as CEL has it. */
export function timestampOf(unixSeconds: bigint): Date | undefined {
  if (unixSeconds < -62_135_596_800n || unixSeconds > 253_402_300_799n) return undefined
  return new Date(Number(unixSeconds) * 1_000)
}

function daysIn(year: number, month: number): number {
  const last = new Date(0)
  last.setUTCFullYear(year, month, 0)
  return last.getUTCDate()
}

/** 0 on the first of January. */
export const dayOfYear = (wall: Date): number => {
  const first = new Date(0)
  first.setUTCFullYear(wall.getUTCFullYear(), 0, 1)
  return Math.floor((wall.getTime() - first.getTime()) / 86_400_000)
}

const MONTHS = 'January February March April May June July August September October November December'.split(
  ' ',
)
const DAYS = 'Sunday Monday Tuesday Wednesday Thursday Friday Saturday'.split(' ')

const two = (value: number): string => String(value).padStart(2, '0')

const STEPS: Record<string, (at: Date) => string> = {
  '2006': (at) => String(at.getUTCFullYear()).padStart(4, '0'),
  '06': (at) => two(at.getUTCFullYear() % 100),
  January: (at) => MONTHS[at.getUTCMonth()] as string,
  Jan: (at) => (MONTHS[at.getUTCMonth()] as string).slice(0, 3),
  '01': (at) => two(at.getUTCMonth() + 1),
  Monday: (at) => DAYS[at.getUTCDay()] as string,
  Mon: (at) => (DAYS[at.getUTCDay()] as string).slice(0, 3),
  '02': (at) => two(at.getUTCDate()),
  '15': (at) => two(at.getUTCHours()),
  '03': (at) => two(at.getUTCHours() % 12 || 12),
  '04': (at) => two(at.getUTCMinutes()),
  '05': (at) => two(at.getUTCSeconds()),
  '.000': (at) => `.${String(at.getUTCMilliseconds()).padStart(3, '0')}`,
  PM: (at) => (at.getUTCHours() < 12 ? 'AM' : 'PM'),
  MST: () => 'UTC',
  'Z07:00': () => 'Z',
  Z0700: () => 'Z',
  '-07:00': () => '+00:00',
  '-0700': () => '+0000',
  '1': (at) => String(at.getUTCMonth() + 1),
  '2': (at) => String(at.getUTCDate()),
  '3': (at) => String(at.getUTCHours() % 12 || 12),
  '4': (at) => String(at.getUTCMinutes()),
  '5': (at) => String(at.getUTCSeconds()),
}

const STEP = /2006|January|Jan|Monday|Mon|MST|Z07:00|Z0700|-07:00|-0700|\.000|PM|0[1-6]|15|[1-5]/g

/** A time in UTC, in a layout written Go's way: how the reference time 2006-01-02 15:04:05 would look. */
export const formatGoTime = (layout: string, at: Date): string =>
  layout.replace(STEP, (step) => (STEPS[step] as (at: Date) => string)(at))

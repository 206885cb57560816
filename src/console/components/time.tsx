import { Text, type TextProps } from '@mantine/core'
import { serverClock } from '../clock.ts'

const SHORT: Intl.DateTimeFormatOptions = {
  hour: '2-digit',
  minute: '2-digit',
  second: '2-digit',
  hourCycle: 'h23',
}
const DAY: Intl.DateTimeFormatOptions = { month: 'short', day: 'numeric' }

/** With its year where that is not this one. */
const dayOf = (date: Date): Intl.DateTimeFormatOptions =>
  date.getFullYear() === new Date(serverClock.now()).getFullYear() ? DAY : { ...DAY, year: 'numeric' }

/** A time of the server's in the reader's zone; with its day unless `clock` says that it is today's anyway. */
export function Time({
  at,
  clock = false,
  ...rest
}: { at: string | null | undefined; clock?: boolean } & TextProps) {
  const date = at ? new Date(at) : undefined
  if (!date || Number.isNaN(date.getTime())) return null
  const shown = new Intl.DateTimeFormat('en-GB', clock ? SHORT : { ...dayOf(date), ...SHORT }).format(date)
  return (
    <Text
      component="span"
      inherit
      style={{ fontVariantNumeric: 'tabular-nums', whiteSpace: 'nowrap' }}
      {...rest}
    >
      <time dateTime={date.toISOString()} title={date.toISOString()}>
        {shown}
      </time>
    </Text>
  )
}

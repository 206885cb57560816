import { Text, type TextProps } from '@mantine/core'

const SHORT: Intl.DateTimeFormatOptions = {
  hour: '2-digit',
  minute: '2-digit',
  second: '2-digit',
  hourCycle: 'h23',
}
const DAY: Intl.DateTimeFormatOptions = { month: 'short', day: 'numeric' }

/** A time of the server's in the reader's zone; with its day unless `clock` says that it is today's anyway. */
export function Time({
  at,
  clock = false,
  ...rest
}: { at: string | null | undefined; clock?: boolean } & TextProps) {
  const date = at ? new Date(at) : undefined
  if (!date || Number.isNaN(date.getTime())) return null
  const shown = new Intl.DateTimeFormat('en-GB', clock ? SHORT : { ...DAY, ...SHORT }).format(date)
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

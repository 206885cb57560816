import { Text } from '@mantine/core'
import { countdownText, secondsUntil } from '../clock.ts'
import { useNow } from '../use-now.ts'

type Props = {
  until: string | null | undefined
  /** What happens then, as "expires in". */
  label?: string
  /** What to show once it has passed. */
  over?: string
  /** Below so many seconds it is shown as urgent. */
  urgentSeconds?: number
}

/** What is left until a time of the server's, by the server's clock. Shows nothing where there is no such time. */
export function Countdown({ until, label, over = 'now due', urgentSeconds = 120 }: Props) {
  const left = secondsUntil(until, useNow())
  if (left === undefined) return null
  const urgent = left <= urgentSeconds
  return (
    <Text
      component="span"
      role="timer"
      aria-live="off"
      size="sm"
      fw={urgent ? 700 : 500}
      c={urgent ? 'var(--mantine-color-error)' : undefined}
      style={{ fontVariantNumeric: 'tabular-nums', whiteSpace: 'nowrap' }}
    >
      {left === 0 ? over : `${label ? `${label} ` : ''}${countdownText(left)}`}
    </Text>
  )
}

import { Text } from '@mantine/core'
import type { ShortGrant } from '../grant-types.ts'
import { useNow } from '../use-now.ts'
import { deadlineOf } from '../words.ts'
import { Countdown } from './countdown.tsx'
import { Time } from './time.tsx'

/** What a request waits for, and until when; the same words wherever it is shown. */
export function Deadlines({ grant }: { grant: ShortGrant }) {
  const deadline = deadlineOf(grant, useNow())
  return (
    <>
      {deadline && <Countdown until={deadline.at} label={deadline.label} />}
      {grant.state === 'review_overdue' && grant.review_overdue_at && (
        <Text span size="sm" fw={700} c="var(--mantine-color-error)">
          overdue since <Time at={grant.review_overdue_at} />
        </Text>
      )}
      {grant.ratification === 'due' && <Countdown until={grant.ratify_by} label="to be ratified within" />}
    </>
  )
}

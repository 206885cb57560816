import { Group, Text } from '@mantine/core'
import { Countdown } from '../../components/countdown.tsx'
import type { Grant } from '../../grant-types.ts'
import { listWords, stepsWords } from '../../words.ts'

/** Who has been told that a request waits, and who is told next when nobody decides. */
export function EscalationSteps({ grant: { escalation, state } }: { grant: Grant }) {
  if (!escalation || state !== 'pending') return null
  const { asked, next } = escalation
  return (
    <div>
      <Text size="sm" className="said">
        Told so far: {stepsWords(asked)}.
      </Text>
      {next ? (
        <Group gap={6}>
          <Text size="sm" className="said">
            Told next: {listWords(next.sets)},
          </Text>
          <Countdown until={next.at} label="in" over="now" urgentSeconds={0} />
        </Group>
      ) : (
        <Text size="sm" c="dimmed">
          Nobody else is told after them.
        </Text>
      )}
    </div>
  )
}

import { Group, Stack, Text } from '@mantine/core'
import { durationWords } from '../../clock.ts'
import { StateBadge } from '../../components/state-badge.tsx'
import { Time } from '../../components/time.tsx'
import type { Extension } from '../../grant-types.ts'

/** The asks for more time, newest first. */
export function Extensions({ extensions }: { extensions: readonly Extension[] }) {
  return (
    <Stack gap="sm">
      {extensions.toReversed().map((extension) => (
        <div key={extension.round}>
          <Group gap={8}>
            <Text span size="sm" fw={600}>
              {durationWords(extension.seconds)} more
            </Text>
            <StateBadge state={extension.state} />
            <Text span size="sm" c="dimmed">
              asked <Time at={extension.asked_at} />
            </Text>
          </Group>
          <Text size="sm" className="said">
            {extension.reason}
          </Text>
        </div>
      ))}
    </Stack>
  )
}

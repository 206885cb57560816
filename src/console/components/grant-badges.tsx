import { Badge, Group } from '@mantine/core'
import type { ShortGrant } from '../grant-types.ts'
import { laneWords } from '../words.ts'
import { StateBadge } from './state-badge.tsx'

/** What a request is, in a word each: its state, its lane, what is still owed to it. */
export function GrantBadges({ grant }: { grant: ShortGrant }) {
  return (
    <Group gap={6}>
      <StateBadge state={grant.state} />
      {grant.lane !== 'break_glass' && (
        <Badge variant="outline" radius="sm" tt="none" color={grant.lane === 'sealed' ? 'red' : 'gray'}>
          {laneWords(grant.lane)}
        </Badge>
      )}
      {['due', 'overdue', 'refused'].includes(grant.ratification) && (
        <Badge variant="outline" radius="sm" tt="none" color="red">
          ratification {grant.ratification}
        </Badge>
      )}
      {grant.force_rotation && (
        <Badge variant="outline" radius="sm" tt="none" color="red">
          rotate what was seen
        </Badge>
      )}
    </Group>
  )
}

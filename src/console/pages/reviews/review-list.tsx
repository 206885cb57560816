import { Anchor, Card, Group, Stack, Text } from '@mantine/core'
import { Link } from 'react-router'
import { Deadlines } from '../../components/deadlines.tsx'
import { EmptyState } from '../../components/empty-state.tsx'
import { GrantBadges } from '../../components/grant-badges.tsx'
import { Loaded } from '../../components/loaded.tsx'
import { PlainList } from '../../components/plain-list.tsx'
import { Time } from '../../components/time.tsx'
import type { ShortGrant } from '../../grant-types.ts'
import { type GrantFilter, useGrants } from '../../grants.ts'
import { askWords } from '../../words.ts'
import { byUrgency } from './review.ts'

/** Grants whose access is over and which somebody else has to look at. */
export function DueReviews() {
  return (
    <Reviews
      filter={{ view: 'reviews', limit: 200 }}
      keep={({ state }) => state === 'review_due' || state === 'review_overdue'}
    >
      <EmptyState title="Nothing to review">
        Once access under break-glass is over, it waits here for somebody who neither asked for it nor
        approved it.
      </EmptyState>
    </Reviews>
  )
}

export function DoneReviews() {
  return (
    <Reviews filter={{ view: 'all', state: 'closed_ok,closed_flagged', limit: 200 }} keep={wasReviewed}>
      <EmptyState title="No review is done yet" />
    </Reviews>
  )
}

/** Standard approvals close without anybody having looked. */
const wasReviewed = ({ review_due_at }: ShortGrant): boolean => review_due_at !== null

type Props = { filter: GrantFilter; keep: (grant: ShortGrant) => boolean; children: React.ReactNode }

function Reviews({ filter, keep, children }: Props) {
  const query = useGrants(filter)
  return (
    <Loaded query={query}>
      {({ requests }) => {
        const kept = byUrgency(requests.filter(keep))
        if (kept.length === 0) return children
        return (
          <PlainList label="Reviews">
            {kept.map((grant) => (
              <ReviewCard key={grant.id} grant={grant} />
            ))}
          </PlainList>
        )
      }}
    </Loaded>
  )
}

function ReviewCard({ grant }: { grant: ShortGrant }) {
  return (
    <Card component="li" withBorder padding="sm">
      <Stack gap={4}>
        <Group gap="sm">
          <GrantBadges grant={grant} />
          <Deadlines grant={grant} />
        </Group>
        <Anchor component={Link} to={`/reviews?id=${grant.id}`} fw={600} className="said">
          {askWords(grant)}
        </Anchor>
        <Text size="sm" className="said">
          {grant.reason}
        </Text>
        <Text size="sm" c="dimmed">
          Access over since <Time at={grant.ended_at} />
          {grant.state === 'review_overdue' &&
            '. Until it is reviewed, its requester and its roles are blocked.'}
        </Text>
      </Stack>
    </Card>
  )
}

import { Anchor, List, SimpleGrid, Text } from '@mantine/core'
import { useQuery } from '@tanstack/react-query'
import { Link } from 'react-router'
import { ask } from '../../api.ts'
import { Countdown } from '../../components/countdown.tsx'
import { GrantBadges } from '../../components/grant-badges.tsx'
import { Loaded } from '../../components/loaded.tsx'
import { PlainList } from '../../components/plain-list.tsx'
import { Section } from '../../components/section.tsx'
import type { ShortGrant } from '../../grant-types.ts'
import { useGrants } from '../../grants.ts'
import { useSession } from '../../session.ts'
import { listWords, roleWords } from '../../words.ts'
import { inOrder, nameOf, type Target, type Targets, worst } from '../targets/target.ts'
import type { Summary } from './series.ts'

/** States in which people have, or still might have, what a grant gave them. */
const HAVE_ACCESS = 'activating,active,suspended,ending,ending_stuck'

/** Who has access right now, at a glance: how many leases in all, people under a grant, and how many on which target. */
export function WhoNow({ counts }: { counts: Summary['counts'] }) {
  const { may } = useSession()
  return (
    <Section title="Who has access right now">
      <Totals counts={counts} />
      <SimpleGrid cols={{ base: 1, md: 2 }} spacing="md">
        {may.break_glass && <LiveGrants />}
        {may.targets && <ByTarget />}
      </SimpleGrid>
    </Section>
  )
}

function Totals({ counts }: { counts: Summary['counts'] }) {
  const live = counts.issuing + counts.active
  const more = counts.capped ? 'At least ' : ''
  return (
    <Text size="sm" role="status">
      <Anchor component={Link} to="/leases" size="sm" fw={600} underline="always">
        {more}
        {live.toLocaleString('en-GB')} {live === 1 ? 'lease lives' : 'leases live'}
      </Anchor>
      , {counts.revoking.toLocaleString('en-GB')} ending
      {counts.stuck > 0 && (
        <>
          ,{' '}
          <Anchor
            component={Link}
            to="/leases?state=stuck"
            size="sm"
            fw={600}
            underline="always"
            c="var(--mantine-color-error)"
          >
            {counts.stuck} stuck
          </Anchor>
        </>
      )}
      .
    </Text>
  )
}

function LiveGrants() {
  const query = useGrants({ view: 'all', state: HAVE_ACCESS, limit: 50 })
  return (
    <div>
      <Text size="sm" fw={600} mb={4}>
        Under break-glass
      </Text>
      <Loaded query={query} rows={2}>
        {({ requests, cursor }) =>
          requests.length === 0 ? (
            <Text size="sm">Nobody.</Text>
          ) : (
            <PlainList label="Live requests" gap="xs">
              {requests.map((grant) => (
                <LiveGrant key={grant.id} grant={grant} />
              ))}
              {cursor && <li>And more than can be shown here.</li>}
            </PlainList>
          )
        }
      </Loaded>
    </div>
  )
}

function LiveGrant({ grant }: { grant: ShortGrant }) {
  return (
    <li>
      <Anchor component={Link} to={`/requests/${grant.id}`} size="sm" className="said">
        {grant.requester.display_name}: {listWords(grant.plan.roles.map(roleWords))}
      </Anchor>
      <GrantBadges grant={grant} />
      {grant.state === 'active' && <Countdown until={grant.expires_at} label="ends in" over="ends now" />}
    </li>
  )
}

function ByTarget() {
  const query = useQuery({
    queryKey: ['targets', 'list'],
    queryFn: ({ signal }) => ask<Targets>('sys/leasehold/targets', { signal }),
  })
  return (
    <div>
      <Text size="sm" fw={600} mb={4}>
        By target
      </Text>
      <Loaded query={query} rows={2}>
        {({ targets }) =>
          targets.length === 0 ? (
            <Text size="sm">There is no target yet.</Text>
          ) : (
            <List size="sm" listStyleType="none" spacing={4} aria-label="Live leases by target">
              {inOrder(targets).map((target) => (
                <OneTarget key={target.id} target={target} />
              ))}
            </List>
          )
        }
      </Loaded>
    </div>
  )
}

function OneTarget({ target }: { target: Target }) {
  const { name, leases } = target
  return (
    <List.Item>
      <Anchor
        component={Link}
        size="sm"
        underline="always"
        to={`/leases?target=${encodeURIComponent(name)}`}
        className="said"
      >
        {nameOf(target)}
      </Anchor>
      : {leases.live >= 10_000 ? '10,000 or more' : leases.live} live
      {leases.stuck > 0 && `, ${leases.stuck} stuck`}
      {worst(target) === 2 && ', needs attention'}
    </List.Item>
  )
}

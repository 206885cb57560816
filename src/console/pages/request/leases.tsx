import { Anchor, Group, Stack, Text } from '@mantine/core'
import { Link } from 'react-router'
import { Countdown } from '../../components/countdown.tsx'
import { StateBadge } from '../../components/state-badge.tsx'
import { Time } from '../../components/time.tsx'
import type { GrantLease } from '../../grant-types.ts'

/** The accounts that exist, or existed, under a request. */
export function GrantLeases({ leases }: { leases: readonly GrantLease[] }) {
  return (
    <Stack gap="sm">
      {leases.map((lease) => (
        <div key={lease.lease_id}>
          <Group gap={8}>
            <Anchor
              component={Link}
              to={`/leases/${lease.lease_id.slice(lease.lease_id.lastIndexOf('/') + 1)}`}
              size="sm"
            >
              {lease.path}
            </Anchor>
            <Text span size="sm">
              on {lease.target}
            </Text>
            <StateBadge state={lease.state} />
            {lease.state === 'active' && <Countdown until={lease.expires_at} label="ends in" />}
          </Group>
          <Text size="sm" c="dimmed" className="said">
            {lease.account ?? 'no account yet'}
            {lease.access_ended_at && (
              <>
                , access over since <Time at={lease.access_ended_at} />
              </>
            )}
          </Text>
        </div>
      ))}
    </Stack>
  )
}

import { Alert, Anchor, Button, Group, Stack, Text } from '@mantine/core'
import { Link } from 'react-router'
import { Countdown } from '../../components/countdown.tsx'
import { ErrorState } from '../../components/error-state.tsx'
import { StateBadge } from '../../components/state-badge.tsx'
import { Time } from '../../components/time.tsx'
import type { Grant, GrantLease } from '../../grant-types.ts'
import { targetName } from '../../target-name.ts'
import { useCredentials } from '../access/use-credentials.tsx'

/** The accounts that exist, or existed, under a request. */
export function GrantLeases({ grant }: { grant: Grant }) {
  // Above the lines: the one that is replaced goes while what came in its place is still shown.
  const { collect, dialog } = useCredentials(grant)
  const mayCollect = grant.allowed.includes('collect')
  return (
    <Stack gap="sm">
      {grant.leases.map((lease) => (
        <div key={lease.lease_id}>
          <Line lease={lease} target={targetIn(grant, lease)} />
          {lease.collect_anew && (
            <EndsEarly
              lease={lease}
              running={collect.running}
              onCollect={mayCollect ? () => collect.run('collect', [lease.path]) : undefined}
            />
          )}
        </div>
      ))}
      {collect.error !== undefined && (
        <ErrorState error={collect.error} title="No credentials were given out" />
      )}
      {dialog}
    </Stack>
  )
}

/** As the plan has it, which knows what kind of target it is. */
const targetIn = ({ plan }: Grant, { path, target }: GrantLease): string =>
  targetName(plan.roles.find((role) => role.path === path) ?? { path, target })

function Line({ lease, target }: { lease: GrantLease; target: string }) {
  return (
    <>
      <Group gap={8}>
        <Anchor
          component={Link}
          to={`/leases/${lease.lease_id.slice(lease.lease_id.lastIndexOf('/') + 1)}`}
          size="sm"
        >
          {lease.path}
        </Anchor>
        <Text span size="sm">
          on {target}
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
    </>
  )
}

type EndsEarlyProps = {
  lease: GrantLease
  running: boolean
  /** For whoever may have others in its place. */
  onCollect: (() => void) | undefined
}

/** Of an account that could not be made to last when the access was extended. */
function EndsEarly({ lease, running, onCollect }: EndsEarlyProps) {
  return (
    <Alert
      role="note"
      color="yellow"
      variant="light"
      p="xs"
      mt={4}
      title="This account ends before the access does"
    >
      <Stack gap="xs" align="flex-start">
        <Text size="sm">
          More time was approved, and this account could not be made to last that long.{' '}
          {onCollect
            ? 'Collect fresh credentials for the rest of it; this account ends then.'
            : 'Who asked for the access can collect fresh credentials.'}
        </Text>
        {onCollect && (
          <Button size="xs" loading={running} onClick={onCollect}>
            Collect fresh credentials for {lease.path}
          </Button>
        )}
      </Stack>
    </Alert>
  )
}

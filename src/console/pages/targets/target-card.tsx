import {
  Alert,
  Anchor,
  Badge,
  Button,
  Group,
  List,
  Paper,
  SimpleGrid,
  Stack,
  Text,
  Title,
} from '@mantine/core'
import { Link } from 'react-router'
import { ask } from '../../api.ts'
import { ErrorState } from '../../components/error-state.tsx'
import { Facts } from '../../components/facts.tsx'
import { Time } from '../../components/time.tsx'
import { queryClient } from '../../query-client.ts'
import { useAction } from '../../use-action.ts'
import { idOf } from '../leases/lease-queries.ts'
import {
  canaryWords,
  canReconcile,
  type Finding,
  issuingWords,
  isUntried,
  limitLine,
  nameOf,
  type Rotation,
  reconcileWords,
  rotationWords,
  type Target,
  troubleOf,
} from './target.ts'

/** One target: whether it is well, and if not, what that means and for which leases. */
export function TargetCard({ target }: { target: Target }) {
  const trouble = troubleOf(target)
  return (
    <Paper withBorder p="md" component="section" aria-label={`Target ${nameOf(target)}`}>
      <Stack gap="sm">
        <Group justify="space-between" align="flex-start">
          <div>
            <Group gap="xs">
              <Title order={2} size="h4" style={{ overflowWrap: 'anywhere' }}>
                {nameOf(target)}
              </Title>
              <Verdict target={target} trouble={trouble} />
            </Group>
            <Text size="sm" c="dimmed">
              {target.engine} at {target.mount}
              {target.environment ? `, ${target.environment}` : ''}
            </Text>
          </div>
          {canReconcile(target) && <Reconcile target={target} />}
        </Group>
        {trouble.map(({ tone, what, means }) => (
          <Alert
            key={`${what} ${means}`}
            color={tone === 'bad' ? 'red' : 'yellow'}
            variant="light"
            title={what}
          >
            <span className="said">{means}</span>
          </Alert>
        ))}
        <Stuck target={target} />
        <SimpleGrid cols={{ base: 1, md: 2 }} spacing="md">
          <Ending target={target} />
          <Rotations target={target} />
        </SimpleGrid>
      </Stack>
    </Paper>
  )
}

function Verdict({ target, trouble }: { target: Target; trouble: readonly Finding[] }) {
  const bad = trouble.some(({ tone }) => tone === 'bad')
  const untried = isUntried(target)
  const color = bad ? 'red' : trouble.length > 0 ? 'yellow' : untried ? 'gray' : 'green'
  const well = !untried ? 'healthy' : target.reachable ? 'answers; not tried yet' : 'not tried yet'
  return (
    <Badge color={color} variant="light" radius="sm" tt="none">
      {bad ? 'needs attention' : trouble.length > 0 ? 'worth a look' : well}
    </Badge>
  )
}

/** It is answered once it is done, which may take a minute; elsewhere it goes on by itself. */
function Reconcile({ target }: { target: Target }) {
  const action = useAction(
    () => ask(`${target.mount}config/${encodeURIComponent(target.name)}/reconcile`, { method: 'POST' }),
    { onDone: reread, onFailed: reread },
  )
  const running = action.running || (target.reconcile?.running ?? false)
  return (
    <Stack gap="xs" align="flex-end">
      <Button variant="default" size="xs" onClick={action.run} loading={running}>
        Reconcile {nameOf(target)} now
      </Button>
      {action.error !== undefined && <ErrorState error={action.error} title="Not reconciled" />}
    </Stack>
  )
}

const reread = () => void queryClient.invalidateQueries({ queryKey: ['targets'] })

function Stuck({ target }: { target: Target }) {
  if (target.stuck.length === 0) return null
  const more = target.leases.stuck - target.stuck.length
  return (
    <div>
      <Title order={3} size="h6">
        Stuck leases, and why
      </Title>
      <List size="sm" spacing={4} style={{ overflowWrap: 'anywhere' }}>
        {target.stuck.map(({ lease_id, error, attempts, since }) => (
          <List.Item key={lease_id}>
            <Anchor component={Link} to={`/leases/${idOf(lease_id)}`} size="sm" underline="always">
              {lease_id}
            </Anchor>
            : {attempts} tries since <Time at={since} />: {error}
          </List.Item>
        ))}
      </List>
      {more > 0 && (
        <Anchor
          component={Link}
          size="sm"
          to={`/leases?state=stuck&target=${encodeURIComponent(target.name)}`}
        >
          And {more} more
        </Anchor>
      )}
    </div>
  )
}

function Ending({ target }: { target: Target }) {
  const { leases, canary, reconcile, guard } = target
  return (
    <div>
      <Title order={3} size="h6" mb={4}>
        Leases and ending them
      </Title>
      <Facts
        rows={[
          [
            'Live leases',
            <Anchor
              key="live"
              component={Link}
              size="sm"
              to={`/leases?target=${encodeURIComponent(target.name)}`}
              aria-label={`${leases.live} live leases on ${nameOf(target)}`}
            >
              {leases.live >= 10_000 ? '10,000 or more' : leases.live}
            </Anchor>,
          ],
          ['Issuing', issuingWords(target)],
          ['Canary', canaryWords(target)],
          ['Canary tried', canary?.last_at && <Time key="canary" at={canary.last_at} />],
          ['Reconcile', reconcileWords(target)],
          ['Reconciled', reconcile?.last_success_at && <Time key="done" at={reconcile.last_success_at} />],
          ['Next', reconcile?.next_at && <Time key="next" at={reconcile.next_at} />],
          ['Catalog guard', guardLines(guard)],
        ]}
      />
    </div>
  )
}

const guardLines = (guard: Target['guard']) =>
  guard === null ? (
    'not measured yet'
  ) : guard.length === 0 ? (
    'nothing to guard on this kind of target'
  ) : (
    <div>
      {guard.map((limit) => (
        <div key={limit.name}>{limitLine(limit)}</div>
      ))}
    </div>
  )

function Rotations({ target }: { target: Target }) {
  const { admin, static: kept } = target.rotation
  return (
    <div>
      <Title order={3} size="h6" mb={4}>
        Passwords we keep
      </Title>
      {!admin && kept.length === 0 && <Text size="sm">None is rotated here.</Text>}
      <Stack gap="xs">
        {admin && <OneRotation rotation={admin} title={`Admin ${admin.username}`} />}
        {kept.map((one) => (
          <OneRotation
            key={one.name ?? one.username}
            rotation={one}
            title={`Static role ${one.name ?? ''} (${one.username})`}
          />
        ))}
      </Stack>
    </div>
  )
}

function OneRotation({ rotation, title }: { rotation: Rotation; title: string }) {
  return (
    <div>
      <Text size="sm" fw={600} style={{ overflowWrap: 'anywhere' }}>
        {title}
      </Text>
      <Text size="sm">{rotationWords(rotation)}</Text>
      <Text size="sm">
        last: {rotation.last_rotated_at ? <Time at={rotation.last_rotated_at} /> : 'never'}
        {rotation.next_at && (
          <>
            , next: <Time at={rotation.next_at} />
          </>
        )}
      </Text>
    </div>
  )
}

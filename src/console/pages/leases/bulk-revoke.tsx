import {
  Accordion,
  Alert,
  Anchor,
  Button,
  Group,
  List,
  Paper,
  Progress,
  Stack,
  Text,
  Title,
} from '@mantine/core'
import { useDisclosure } from '@mantine/hooks'
import { Link } from 'react-router'
import { ConfirmByTyping } from '../../components/confirm-by-typing.tsx'
import {
  byTarget,
  confirmationFor,
  countsOf,
  type Fate,
  type Followed,
  fateWords,
  isOpen,
  MOST_AT_ONCE,
  progressWords,
  type RevokeOutcome,
} from './bulk-revoke.ts'
import type { LeaseRow } from './lease.ts'
import { idOf, revokeMany, useFollowed } from './lease-queries.ts'

type BarProps = {
  chosen: readonly LeaseRow[]
  onClear: () => void
  onBegun: (outcomes: RevokeOutcome[]) => void
}

/** What is chosen, and the way to end it: with what will end named, and typed by hand. */
export function SelectionBar({ chosen, onClear, onBegun }: BarProps) {
  const [opened, { open, close }] = useDisclosure(false)
  const count = chosen.length
  const tooMany = count > MOST_AT_ONCE
  return (
    <Paper withBorder p="xs" role="group" aria-label="Selected leases">
      <Group gap="sm">
        <Text size="sm" fw={600} role="status">
          {count === 1 ? '1 lease selected' : `${count} leases selected`}
        </Text>
        <Button color="red" size="xs" onClick={open} disabled={count === 0 || tooMany}>
          Revoke selected
        </Button>
        <Button variant="default" size="xs" onClick={onClear} disabled={count === 0}>
          Clear selection
        </Button>
        {tooMany && <Text size="sm">At most {MOST_AT_ONCE} at once.</Text>}
      </Group>
      <ConfirmByTyping
        opened={opened}
        onClose={close}
        title={count === 1 ? 'Revoke 1 lease' : `Revoke ${count} leases`}
        expected={confirmationFor(count)}
        confirmLabel={`Revoke ${count}`}
        onConfirm={async () => onBegun(await revokeMany(chosen.map((lease) => lease.lease_id)))}
      >
        <Text size="sm">Their logins are disabled, their sessions cut and their accounts removed. On:</Text>
        <List size="sm" mt={4}>
          {byTarget(chosen).map(({ target, count: there }) => (
            <List.Item key={target}>
              {target}: {there}
            </List.Item>
          ))}
        </List>
      </ConfirmByTyping>
    </Paper>
  )
}

type ProgressProps = { outcomes: readonly RevokeOutcome[]; round: number; onClose: () => void }

/** How the leases that were revoked here are getting on. Closing it changes nothing for them. */
export function RevokeProgress({ outcomes, round, onClose }: ProgressProps) {
  const followed = useFollowed(outcomes, round)
  const done = !followed.some(({ fate }) => isOpen(fate))
  return (
    <Paper withBorder p="sm" component="section" aria-label="Progress of revoking">
      <Stack gap="xs">
        <Group justify="space-between">
          <Title order={2} size="h5">
            {done ? 'Revoking is done' : 'Revoking'}
          </Title>
          <Button variant="default" size="xs" onClick={onClose}>
            Close
          </Button>
        </Group>
        <ProgressBar followed={followed} />
        <Text size="sm" role="status">
          {progressWords(followed)}
        </Text>
        {!done && <Text size="sm">They end by themselves: you may leave this page.</Text>}
        <EachLease followed={followed} />
      </Stack>
    </Paper>
  )
}

const COLOURS: [Fate, string][] = [
  ['ended', 'green'],
  ['access_ended', 'blue'],
  ['stuck', 'red'],
  ['denied', 'gray'],
  ['unknown', 'gray'],
]

function ProgressBar({ followed }: { followed: readonly Followed[] }) {
  const counts = countsOf(followed)
  return (
    <Progress.Root size="lg">
      {COLOURS.map(([fate, color]) => (
        <Progress.Section
          key={fate}
          value={(100 * counts[fate]) / Math.max(1, followed.length)}
          color={color}
          aria-label={fateWords(fate)}
        />
      ))}
    </Progress.Root>
  )
}

/** What needs a look first. */
const ORDER: Fate[] = ['stuck', 'denied', 'unknown', 'ending', 'access_ended', 'ended']

function EachLease({ followed }: { followed: readonly Followed[] }) {
  const sorted = [...followed].sort((a, b) => ORDER.indexOf(a.fate) - ORDER.indexOf(b.fate))
  const stuck = countsOf(followed).stuck
  return (
    <>
      {stuck > 0 && (
        <Alert color="red" variant="light" title={`${stuck} cannot be ended for now`}>
          Each is tried again until it is proved gone. See below why it failed.
        </Alert>
      )}
      <Accordion variant="contained">
        <Accordion.Item value="each">
          <Accordion.Control>Each lease</Accordion.Control>
          <Accordion.Panel>
            <List size="sm" spacing={4} style={{ overflowWrap: 'anywhere' }}>
              {sorted.map(({ leaseId, fate, error }) => (
                <List.Item key={leaseId}>
                  <Anchor component={Link} to={`/leases/${idOf(leaseId)}`} size="sm" underline="always">
                    {leaseId}
                  </Anchor>
                  : {fateWords(fate)}
                  {error && isOpen(fate) ? `: ${error}` : ''}
                </List.Item>
              ))}
            </List>
          </Accordion.Panel>
        </Accordion.Item>
      </Accordion>
    </>
  )
}

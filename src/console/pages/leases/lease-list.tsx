import { Anchor, Card, Checkbox, Group, Table, Text } from '@mantine/core'
import { Link, useLocation } from 'react-router'
import { Countdown } from '../../components/countdown.tsx'
import { PlainList } from '../../components/plain-list.tsx'
import { StateBadge } from '../../components/state-badge.tsx'
import { Time } from '../../components/time.tsx'
import { WideTable } from '../../components/wide-table.tsx'
import { targetName } from '../../target-name.ts'
import { holderName, type LeaseRow } from './lease.ts'

/** Which leases are ticked; absent where nothing could be done with them. */
export type Selecting = {
  has: (lease: LeaseRow) => boolean
  toggle: (lease: LeaseRow) => void
  toggleAll: () => void
  all: boolean
  some: boolean
}

type Props = { leases: readonly LeaseRow[]; selecting: Selecting | undefined; ended: boolean }

export function LeaseTable({ leases, selecting, ended }: Props) {
  return (
    <WideTable label="Table of leases">
      <Table.Thead>
        <Table.Tr>
          {selecting && (
            <Table.Th w={40}>
              <Checkbox
                aria-label="Select all leases on this page"
                checked={selecting.all}
                indeterminate={selecting.some && !selecting.all}
                onChange={selecting.toggleAll}
              />
            </Table.Th>
          )}
          <Table.Th>Lease</Table.Th>
          <Table.Th>Who</Table.Th>
          <Table.Th>Target</Table.Th>
          <Table.Th>State</Table.Th>
          <Table.Th>{ended ? 'Ended' : 'Time left'}</Table.Th>
          <Table.Th>Issued</Table.Th>
        </Table.Tr>
      </Table.Thead>
      <Table.Tbody>
        {leases.map((lease) => (
          <LeaseTableRow key={lease.lease_id} lease={lease} selecting={selecting} />
        ))}
      </Table.Tbody>
    </WideTable>
  )
}

function LeaseTableRow({ lease, selecting }: { lease: LeaseRow; selecting: Selecting | undefined }) {
  const selected = selecting?.has(lease) ?? false
  return (
    <Table.Tr bg={selected ? 'var(--mantine-color-default-hover)' : undefined}>
      {selecting && (
        <Table.Td>
          <Ticked lease={lease} selecting={selecting} />
        </Table.Td>
      )}
      <Table.Td style={{ overflowWrap: 'anywhere' }}>
        <LeaseLink lease={lease} />
        <Text size="xs">{lease.path}</Text>
      </Table.Td>
      <Table.Td miw={96}>{holderName(lease)}</Table.Td>
      <Table.Td>{targetName(lease)}</Table.Td>
      <Table.Td>
        <StateBadge state={lease.state} stuck={lease.stuck} />
      </Table.Td>
      <Table.Td>
        <Left lease={lease} />
      </Table.Td>
      <Table.Td>
        <Time at={lease.issued_at} />
      </Table.Td>
    </Table.Tr>
  )
}

/** The same as the table, one card for each lease: for screens on which columns would be out of sight. */
export function LeaseCards({ leases, selecting }: Omit<Props, 'ended'>) {
  return (
    <PlainList label="Leases">
      {leases.map((lease) => (
        <Card key={lease.lease_id} component="li" withBorder padding="sm">
          <Group justify="space-between" wrap="nowrap" align="flex-start">
            <Group gap="sm" wrap="nowrap" align="flex-start" miw={0}>
              {selecting && <Ticked lease={lease} selecting={selecting} />}
              <div style={{ minWidth: 0, overflowWrap: 'anywhere' }}>
                <LeaseLink lease={lease} />
                <Text size="xs">{lease.path}</Text>
              </div>
            </Group>
            <StateBadge state={lease.state} stuck={lease.stuck} />
          </Group>
          <Text size="sm" mt="xs" style={{ overflowWrap: 'anywhere' }}>
            {holderName(lease)} on {targetName(lease)}
          </Text>
          <Left lease={lease} />
        </Card>
      ))}
    </PlainList>
  )
}

function Ticked({ lease, selecting }: { lease: LeaseRow; selecting: Selecting }) {
  return (
    <Checkbox
      aria-label={`Select ${lease.account}`}
      checked={selecting.has(lease)}
      onChange={() => selecting.toggle(lease)}
    />
  )
}

/** The page that it leads to knows the way back, with the filters as they are. */
function LeaseLink({ lease }: { lease: LeaseRow }) {
  const { search } = useLocation()
  return (
    <Anchor component={Link} to={`/leases/${lease.id}`} state={{ back: search }} size="sm" fw={600}>
      {lease.account}
    </Anchor>
  )
}

function Left({ lease }: { lease: LeaseRow }) {
  if (lease.state === 'revoked') return <Time at={lease.ended_at} />
  if (lease.state !== 'revoking')
    return <Countdown until={lease.expires_at} over="ends now" urgentSeconds={0} />
  const tries =
    lease.attempts > 0 ? `, ${lease.attempts} ${lease.attempts === 1 ? 'try' : 'tries'} failed` : ''
  return (
    <Text component="span" size="sm">
      {lease.access_ended_at ? 'access over' : 'ending'}
      {tries}
    </Text>
  )
}

import { Anchor, Card, Group, Stack, Table } from '@mantine/core'
import { Link } from 'react-router'
import { Facts } from '../../components/facts.tsx'
import { useNarrow } from '../../components/filters.tsx'
import { PlainList } from '../../components/plain-list.tsx'
import { StateBadge } from '../../components/state-badge.tsx'
import { Time } from '../../components/time.tsx'
import { WideTable } from '../../components/wide-table.tsx'
import { type Drill, PART_NAMES, timesOf } from './drill.ts'

type Props = { drills: readonly Drill[] }

/** The drills, the latest first, with how long each part took. */
export const DrillList = (props: Props) => (useNarrow() ? <Cards {...props} /> : <Rows {...props} />)

function Rows({ drills }: Props) {
  return (
    <WideTable label="Table of drills">
      <Table.Thead>
        <Table.Tr>
          <Table.Th>Policy</Table.Th>
          <Table.Th>Asked</Table.Th>
          <Table.Th>State</Table.Th>
          {PART_NAMES.map((name) => (
            <Table.Th key={name}>{name}</Table.Th>
          ))}
        </Table.Tr>
      </Table.Thead>
      <Table.Tbody>
        {drills.map((drill) => (
          <Table.Tr key={drill.id}>
            <Table.Td>
              <DrillLink drill={drill} />
            </Table.Td>
            <Table.Td>
              <Time at={drill.requested_at} />
            </Table.Td>
            <Table.Td>
              <StateBadge state={drill.state} />
            </Table.Td>
            {timesOf(drill).map((took, part) => (
              <Table.Td key={PART_NAMES[part]}>{took}</Table.Td>
            ))}
          </Table.Tr>
        ))}
      </Table.Tbody>
    </WideTable>
  )
}

/** The same as the table, one card for each drill: for screens on which columns would be out of sight. */
function Cards({ drills }: Props) {
  return (
    <PlainList label="Drills">
      {drills.map((drill) => (
        <Card key={drill.id} component="li" withBorder padding="sm">
          <Stack gap="xs">
            <Group justify="space-between" gap="xs">
              <DrillLink drill={drill} />
              <StateBadge state={drill.state} />
            </Group>
            <Facts
              rows={[
                ['Asked', <Time key="asked" at={drill.requested_at} />],
                ...timesOf(drill).map((took, part) => [PART_NAMES[part] ?? '', took] as const),
              ]}
            />
          </Stack>
        </Card>
      ))}
    </PlainList>
  )
}

const DrillLink = ({ drill }: { drill: Drill }) => (
  <Anchor component={Link} to={`/requests/${drill.id}`} size="sm" fw={600} className="said">
    {drill.policy}
  </Anchor>
)

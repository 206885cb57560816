import { AreaChart, LineChart } from '@mantine/charts'
import { Accordion, Table, Text } from '@mantine/core'
import { Section } from '../../components/section.tsx'
import { type Chart, isEmpty } from './series.ts'

const COLOURS = ['blue.6', 'orange.6']
const HEIGHT = 220

/** A chart, what it says in a sentence, and its numbers as a table: whoever cannot see it misses nothing. */
export function ChartView({ chart, filled = false }: { chart: Chart; filled?: boolean }) {
  const { title, unit, lines, points, says, gaps = false } = chart
  const shared = {
    h: HEIGHT,
    data: points,
    dataKey: 'time',
    series: lines.map(({ name, label }, index) => ({ name, label, color: COLOURS[index] ?? 'gray.6' })),
    curveType: 'linear' as const,
    withDots: gaps,
    dotProps: { r: 3 },
    withLegend: lines.length > 1,
    strokeWidth: 2,
    xAxisProps: { minTickGap: 32 },
    yAxisProps: { width: 56, allowDecimals: unit !== 'leases' },
    // What it shows is in the table as well, and its parts have no names of their own.
    accessibilityLayer: false,
  }
  return (
    <Section title={title}>
      <Text size="sm">{says}</Text>
      <div aria-hidden>
        {isEmpty(chart) ? null : filled ? (
          <AreaChart fillOpacity={0.3} {...shared} />
        ) : (
          <LineChart connectNulls={false} {...shared} />
        )}
      </div>
      <Accordion variant="contained" keepMounted={false}>
        <Accordion.Item value="numbers">
          <Accordion.Control>{title}: the numbers</Accordion.Control>
          <Accordion.Panel>
            <Numbers chart={chart} />
          </Accordion.Panel>
        </Accordion.Item>
      </Accordion>
    </Section>
  )
}

function Numbers({ chart: { title, unit, lines, points } }: { chart: Chart }) {
  return (
    <Table.ScrollContainer
      minWidth={280}
      maxHeight={320}
      type="native"
      tabIndex={0}
      role="region"
      aria-label={`Table: ${title}`}
    >
      <Table captionSide="top" tabularNums stickyHeader>
        <Table.Caption>
          {title}, in {unit}
        </Table.Caption>
        <Table.Thead>
          <Table.Tr>
            <Table.Th scope="col">From</Table.Th>
            {lines.map(({ name, label }) => (
              <Table.Th key={name} scope="col">
                {label}
              </Table.Th>
            ))}
          </Table.Tr>
        </Table.Thead>
        <Table.Tbody>
          {points.map((point) => (
            <Table.Tr key={point.at}>
              <Table.Th scope="row" fw={400}>
                {point.time}
              </Table.Th>
              {lines.map(({ name }) => (
                <Table.Td key={name}>{point[name] ?? 'none'}</Table.Td>
              ))}
            </Table.Tr>
          ))}
        </Table.Tbody>
      </Table>
    </Table.ScrollContainer>
  )
}

import { SegmentedControl, SimpleGrid, Stack, Text } from '@mantine/core'
import { keepPreviousData, useQuery } from '@tanstack/react-query'
import { useSearchParams } from 'react-router'
import { ask } from '../api.ts'
import { Loaded } from '../components/loaded.tsx'
import { Page } from '../components/page.tsx'
import { ChartView } from './overview/chart-view.tsx'
import { chartsOf, type Summary, WINDOWS, type Window, windowOf } from './overview/series.ts'
import { WhoNow } from './overview/who-now.tsx'

const RE_READ_MS = 15_000

/** Who has access now, and how leases have been going: made, ended, and how late. */
export default function OverviewPage() {
  const [address, setAddress] = useSearchParams()
  const window = windowOf(address.get('window'))
  const query = useQuery({
    // Charts go by the clock, not by each change: those come faster than a picture can be read.
    queryKey: ['summary', window],
    queryFn: ({ signal }) => ask<Summary>('sys/leasehold/summary', { query: { window }, signal }),
    placeholderData: keepPreviousData,
    refetchInterval: RE_READ_MS,
  })
  return (
    <Page
      title="Overview"
      actions={
        <SegmentedControl
          aria-label="Time shown"
          size="xs"
          data={Object.entries(WINDOWS).map(([value, label]) => ({ value, label }))}
          value={window}
          onChange={(chosen) => setAddress(chosen === 'hour' ? {} : { window: chosen as Window })}
        />
      }
    >
      <Loaded query={query} rows={3}>
        {(summary) => <Contents summary={summary} />}
      </Loaded>
    </Page>
  )
}

function Contents({ summary }: { summary: Summary }) {
  const [leases, lag, rate] = chartsOf(summary)
  return (
    <Stack gap="md">
      <WhoNow counts={summary.counts} />
      {summary.truncated && (
        <Text size="sm">
          There were more leases than are counted at once: the charts begin later than asked for.
        </Text>
      )}
      <SimpleGrid cols={{ base: 1, lg: 2 }} spacing="md">
        <ChartView chart={leases} filled />
        <ChartView chart={lag} />
        <ChartView chart={rate} />
      </SimpleGrid>
    </Stack>
  )
}

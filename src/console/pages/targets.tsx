import { Stack, Text } from '@mantine/core'
import { useQuery } from '@tanstack/react-query'
import { ask } from '../api.ts'
import { EmptyState } from '../components/empty-state.tsx'
import { Loaded } from '../components/loaded.tsx'
import { Page } from '../components/page.tsx'
import { inOrder, type Target, type Targets, worst } from './targets/target.ts'
import { TargetCard } from './targets/target-card.tsx'

/** Where credentials are leased, and whether they can be ended there; what needs somebody comes first. */
export default function TargetsPage() {
  const query = useQuery({
    queryKey: ['targets', 'list'],
    queryFn: ({ signal }) => ask<Targets>('sys/leasehold/targets', { signal }),
  })
  return (
    <Page title="Targets">
      <Loaded query={query} rows={3}>
        {({ targets }) =>
          targets.length === 0 ? (
            <EmptyState title="No target yet">
              A target is a database server or a cluster that credentials are leased on. Enrol one by writing
              its config, such as database/config/shop.
            </EmptyState>
          ) : (
            <Stack gap="md">
              <Text size="sm" role="status">
                {summaryOf(targets)}
              </Text>
              {inOrder(targets).map((target) => (
                <TargetCard key={target.id} target={target} />
              ))}
            </Stack>
          )
        }
      </Loaded>
    </Page>
  )
}

function summaryOf(targets: readonly Target[]): string {
  const bad = targets.filter((target) => worst(target) === 2).length
  const all = targets.length === 1 ? '1 target' : `${targets.length} targets`
  if (bad === 0) return `${all}, none in trouble.`
  return `${all}, ${bad} in need of attention.`
}

import { Alert, Button, Group, Stack, Text } from '@mantine/core'
import { type UseQueryResult, useQuery } from '@tanstack/react-query'
import { Link } from 'react-router'
import { ask } from '../api.ts'
import { askable } from '../ask-limits.ts'
import { EmptyState } from '../components/empty-state.tsx'
import { Loaded } from '../components/loaded.tsx'
import { Page } from '../components/page.tsx'
import { PlainList } from '../components/plain-list.tsx'
import { Section } from '../components/section.tsx'
import { Time } from '../components/time.tsx'
import { useEligible } from '../eligible.ts'
import { type DrillsReport, drillAddress, type Gap, gapWords } from './drills/drill.ts'
import { DrillList } from './drills/drill-list.tsx'

/** Whether an emergency would go well: how long it took people when there was none, and where nobody has tried. */
export default function DrillsPage() {
  const report = useDrills()
  const mayDrill = usePoliciesToDrill()
  return (
    <Page
      title="Drills"
      actions={
        mayDrill.length > 0 && (
          <Button component={Link} to={drillAddress()}>
            Begin a drill
          </Button>
        )
      }
    >
      <Text size="sm" c="dimmed" maw={640}>
        A drill goes the whole way of a request, from the ask to the review, and opens nothing. Every policy
        for emergencies should have one each quarter. Times are from the ask on, where nothing else is said.
      </Text>
      <Loaded query={report}>{(found) => <Contents {...found} mayDrill={mayDrill} />}</Loaded>
    </Page>
  )
}

/** Read again with the requests: a drill is one. */
const useDrills = (): UseQueryResult<DrillsReport> =>
  useQuery({
    queryKey: ['grants', 'drills'],
    queryFn: ({ signal }) => ask<DrillsReport>('break-glass/drills', { signal }),
  })

/** Those under which the person signed in may ask for one now. Not known is none: the page says the rest all the same. */
function usePoliciesToDrill(): string[] {
  const policies = askable(useEligible().data?.policies ?? [])
  return policies.flatMap(({ name, limits, blocked }) => (limits.drill && blocked === null ? [name] : []))
}

type Props = DrillsReport & { mayDrill: readonly string[] }

function Contents({ drills, gaps, mayDrill }: Props) {
  return (
    <Stack gap="md">
      {gaps.length > 0 && <Gaps gaps={gaps} mayDrill={mayDrill} />}
      {gaps.length === 0 && drills.length > 0 && (
        <Alert role="note" color="green" variant="light" p="sm">
          Every policy for emergencies was drilled within the last quarter.
        </Alert>
      )}
      {drills.length === 0 ? (
        <EmptyState title="No drill yet">
          Once somebody begins one, how long each of its steps took stands here.
        </EmptyState>
      ) : (
        <DrillList drills={drills} />
      )}
    </Stack>
  )
}

function Gaps({ gaps, mayDrill }: { gaps: readonly Gap[]; mayDrill: readonly string[] }) {
  return (
    <Section title="Not drilled for a quarter">
      <PlainList label="Policies to drill" gap="xs">
        {gaps.map((gap) => (
          <Group key={gap.policy} component="li" justify="space-between" gap="xs">
            <Text size="sm" className="said">
              <strong>{gap.policy}</strong> {gapWords(gap)}
              {gap.last_drill_at !== null && (
                <>
                  {' '}
                  <Time at={gap.last_drill_at} />
                </>
              )}
            </Text>
            {mayDrill.includes(gap.policy) && (
              <Button component={Link} to={drillAddress(gap.policy)} variant="default" size="xs">
                Begin a drill of {gap.policy}
              </Button>
            )}
          </Group>
        ))}
      </PlainList>
    </Section>
  )
}

import { Select, Stack } from '@mantine/core'
import { useQuery } from '@tanstack/react-query'
import { useState } from 'react'
import { ask } from '../api.ts'
import type { EligiblePolicy } from '../ask-limits.ts'
import { EmptyState } from '../components/empty-state.tsx'
import { Loaded } from '../components/loaded.tsx'
import { Page } from '../components/page.tsx'
import { laneWords } from '../words.ts'
import { AskForm } from './access/ask-form.tsx'

/** The form of an ask, by what the policies let this person ask for. */
export default function AskPage() {
  const eligible = useQuery({
    queryKey: ['eligible'],
    queryFn: ({ signal }) => ask<{ policies: EligiblePolicy[] }>('break-glass/eligible', { signal }),
    // A form must not change below the hands of who fills it in.
    refetchInterval: false,
    refetchOnWindowFocus: false,
  })
  return (
    <Page title="Ask for access">
      <Loaded query={eligible}>{({ policies }) => <Choice policies={policies} />}</Loaded>
    </Page>
  )
}

function Choice({ policies }: { policies: EligiblePolicy[] }) {
  const [name, setName] = useState(policies[0]?.name ?? null)
  const policy = policies.find((one) => one.name === name)
  if (policies.length === 0) {
    return (
      <EmptyState title="There is nothing you may ask for">
        No policy for break-glass or standard approval names you or a group of yours. Those who write the
        policies can change it.
      </EmptyState>
    )
  }
  return (
    <Stack gap="md" maw={640}>
      {policies.length > 1 && (
        <Select
          label="Policy"
          data={policies.map((one) => ({ value: one.name, label: `${one.name} (${laneWords(one.lane)})` }))}
          value={name}
          onChange={setName}
          allowDeselect={false}
        />
      )}
      {policy && <AskForm key={policy.name} policy={policy} />}
    </Stack>
  )
}

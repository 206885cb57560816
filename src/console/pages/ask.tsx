import { Select, Stack, Text } from '@mantine/core'
import { useEffect, useState } from 'react'
import { useSearchParams } from 'react-router'
import { draftOf, forgetDraft } from '../ask-draft.ts'
import { askable, type EligiblePolicy } from '../ask-limits.ts'
import { EmptyState } from '../components/empty-state.tsx'
import { Loaded } from '../components/loaded.tsx'
import { Page } from '../components/page.tsx'
import { useEligible } from '../eligible.ts'
import { useSession } from '../session.ts'
import { laneWords } from '../words.ts'
import { AskForm } from './access/ask-form.tsx'

/** The form of an ask, by what the policies let this person ask for. */
export default function AskPage() {
  const eligible = useEligible()
  return (
    <Page title="Ask for access">
      <Loaded query={eligible}>
        {({ policies }) => <Choice policies={askable(policies)} hidden={policies.length > 0} />}
      </Loaded>
    </Page>
  )
}

function Choice({ policies, hidden }: { policies: EligiblePolicy[]; hidden: boolean }) {
  const { principal_id, kind } = useSession()
  // Put aside for a fresh login, and given back this once.
  const [draft, setDraft] = useState(() => draftOf(principal_id))
  useEffect(() => forgetDraft(), [])
  // A link may say what to begin with.
  const [address] = useSearchParams()
  const named = (name: string | null | undefined) => policies.find((one) => one.name === name)
  const first = named(draft?.policy) ?? named(address.get('policy')) ?? policies[0]
  const [name, setName] = useState(first?.name ?? null)
  const policy = named(name)
  if (policies.length === 0 && kind !== 'human') {
    return (
      <EmptyState title="There is nothing you may ask for">
        Asking for break-glass access needs a person's login, and this one is not a person's.
      </EmptyState>
    )
  }
  if (policies.length === 0) {
    return (
      <EmptyState title="There is nothing you may ask for">
        {hidden
          ? 'Policies name you, and the roles that they are for do not exist here yet.'
          : 'No policy for break-glass or standard approval names you or a group of yours.'}{' '}
        Those who write the policies can change it.
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
          onChange={(chosen) => {
            setDraft(undefined)
            setName(chosen)
          }}
          allowDeselect={false}
        />
      )}
      {policy?.description && (
        <Text size="sm" className="said">
          {policy.description}
        </Text>
      )}
      {policy && (
        <AskForm
          key={policy.name}
          policy={policy}
          draft={draft?.policy === policy.name ? draft : undefined}
          lane={address.get('lane') === 'drill' && policy.limits.drill ? 'drill' : 'ordinary'}
        />
      )}
    </Stack>
  )
}

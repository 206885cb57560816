import { Alert, Text } from '@mantine/core'
import { type UseQueryResult, useQuery } from '@tanstack/react-query'
import { ask } from '../../api.ts'
import { ApiError } from '../../api-error.ts'
import { Facts } from '../../components/facts.tsx'
import { Loaded } from '../../components/loaded.tsx'
import { Section } from '../../components/section.tsx'
import { useSigned } from '../../components/signature.tsx'
import { Time } from '../../components/time.tsx'
import { useNow } from '../../use-now.ts'
import { type ChainVerdict, type Checkpoint, type CheckpointSays, chainVerdict, UNSEALED } from './chain.ts'
import type { LoggedEvent } from './event.ts'

/** Whether the log can be relied on, as far as a page can tell, and how to find out for certain. */
export function ChainState() {
  const query = useQuery({ queryKey: ['audit', 'checkpoint'], queryFn: readCheckpoint })
  return (
    <Section title="State of the chain">
      <Loaded query={query} rows={1}>
        {(newest) => (newest === null ? <Verdict {...UNSEALED} /> : <Sealed newest={newest} />)}
      </Loaded>
      <Text size="sm">
        Whether each single event is as it was written, only reading all of them tells: run{' '}
        <strong>leasehold audit verify</strong>.
      </Text>
    </Section>
  )
}

const readCheckpoint = ({ signal }: { signal: AbortSignal }): Promise<Checkpoint | null> =>
  ask<Checkpoint>('sys/leasehold/audit/checkpoint', { signal }).catch((error: unknown) => {
    if (error instanceof ApiError && error.status === 404) return null
    throw error
  })

function Sealed({ newest }: { newest: Checkpoint }) {
  const now = useNow()
  const checked = useSigned<CheckpointSays>(newest.checkpoint, 'leasehold-audit-checkpoint+jws')
  const behind = useFirstBehind(checked?.payload.at)
  const known = behind.data === undefined ? undefined : checked
  return (
    <>
      <Verdict {...chainVerdict(known, { firstUnsealedAt: behind.data ?? null, now })} />
      <Facts
        rows={[
          ['Checkpoint', `number ${newest.number}`],
          ['Made', checked && <Time key="made" at={checked.payload.at} />],
          ['To note elsewhere', `${newest.number}:${newest.hash}`],
        ]}
      />
    </>
  )
}

/** When the first event after the checkpoint was written; null where there is none. */
const useFirstBehind = (at: string | undefined): UseQueryResult<string | null> =>
  useQuery({
    queryKey: ['audit', 'behind', at],
    queryFn: async ({ signal }) => {
      const query = { from: at, limit: 1 }
      const { events } = await ask<{ events: LoggedEvent[] }>('sys/leasehold/audit', { query, signal })
      return events[0]?.at ?? null
    },
    enabled: at !== undefined,
    refetchInterval: false,
  })

const COLOURS: Record<ChainVerdict['tone'], string> = {
  good: 'green',
  warning: 'yellow',
  bad: 'red',
  unknown: 'gray',
}

const Verdict = ({ tone, headline, means }: ChainVerdict) => (
  <Alert color={COLOURS[tone]} variant="light" title={headline}>
    {means}
  </Alert>
)

import { Button, Stack } from '@mantine/core'
import { keepPreviousData, useQuery } from '@tanstack/react-query'
import { useState } from 'react'
import { useSearchParams } from 'react-router'
import { ask } from '../api.ts'
import { EmptyState } from '../components/empty-state.tsx'
import { Loaded } from '../components/loaded.tsx'
import { Page } from '../components/page.tsx'
import { Pager, type Trail } from '../components/pager.tsx'
import { AuditFilters } from './audit/audit-filters.tsx'
import { ChainState } from './audit/chain-state.tsx'
import type { LoggedEvent } from './audit/event.ts'
import { EventList } from './audit/event-list.tsx'
import { type AuditQuestion, addressOf, askedOf, isNarrowed, questionOf } from './audit/question.ts'

const PAGE_SIZE = 50

/** Who did what, when, from where and by which rule; and whether the log that says so is sound. */
export default function AuditPage() {
  const [address, setAddress] = useSearchParams()
  const question = questionOf(address)
  return (
    <Page title="Audit">
      <ChainState />
      <AuditFilters
        question={question}
        onChange={(changed) => setAddress(addressOf(changed), { replace: true })}
      />
      <Events
        key={addressOf(question).toString()}
        question={question}
        onReset={() => setAddress(new URLSearchParams())}
      />
    </Page>
  )
}

type Found = { events: LoggedEvent[]; next: string | null }

function Events({ question, onReset }: { question: AuditQuestion; onReset: () => void }) {
  const [trail, setTrail] = useState<Trail>([null])
  const asked = askedOf(question, { limit: PAGE_SIZE, after: trail.at(-1) ?? null }).toString()
  const query = useQuery({
    queryKey: ['audit', 'events', asked],
    queryFn: ({ signal }) =>
      ask<Found>('sys/leasehold/audit', { query: Object.fromEntries(new URLSearchParams(asked)), signal }),
    placeholderData: keepPreviousData,
    // Reading the log is an event on it: once a minute would fill it with the page's own.
    refetchInterval: false,
    staleTime: 60_000,
  })
  return (
    <Loaded query={query} rows={8}>
      {({ events, next }) =>
        events.length === 0 && trail.length === 1 ? (
          <Nothing narrowed={isNarrowed(question)} onReset={onReset} />
        ) : (
          <Stack gap="sm">
            <EventList events={events} />
            <Pager
              label="Pages of events"
              trail={trail}
              next={next}
              onMove={setTrail}
              waiting={query.isPlaceholderData}
            >
              <Button variant="default" size="xs" onClick={() => void query.refetch()}>
                Read again
              </Button>
            </Pager>
          </Stack>
        )
      }
    </Loaded>
  )
}

function Nothing({ narrowed, onReset }: { narrowed: boolean; onReset: () => void }) {
  return narrowed ? (
    <EmptyState title="No event matches">
      <Button variant="default" size="xs" onClick={onReset}>
        Search for everything
      </Button>
    </EmptyState>
  ) : (
    <EmptyState title="The log is empty">Whatever anybody does appears here.</EmptyState>
  )
}

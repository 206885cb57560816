import { Anchor, Badge, Button, Group, Stack, Tabs, Text } from '@mantine/core'
import { useState } from 'react'
import { Link, useSearchParams } from 'react-router'
import { EmptyState } from '../components/empty-state.tsx'
import { GrantCard } from '../components/grant-card.tsx'
import { Loaded } from '../components/loaded.tsx'
import { Page } from '../components/page.tsx'
import { type GrantFilter, useGrants } from '../grants.ts'
import { useSession } from '../session.ts'

const VIEWS = {
  inbox: { label: 'Waiting for you', empty: 'Nothing waits for you', filter: { view: 'inbox' } },
  open: {
    label: 'Open',
    empty: 'No request is open',
    filter: { view: 'all', state: 'pending,approved,activating,active,suspended,ending,ending_stuck' },
  },
  all: { label: 'All', empty: 'Nobody has asked for anything yet', filter: { view: 'all' } },
} as const satisfies Record<string, { label: string; empty: string; filter: GrantFilter }>

type ViewName = keyof typeof VIEWS

/** Where one lands: what waits for a decision, then what is under way. Live. */
export default function ApprovalsPage() {
  const [search, setSearch] = useSearchParams()
  const asked = search.get('view') ?? ''
  const name: ViewName = asked in VIEWS ? (asked as ViewName) : 'inbox'
  const counts = useGrants(VIEWS.inbox.filter).data?.counts
  const waiting = counts?.inbox
  return (
    <Page title="Approvals" waiting={waiting}>
      <Text role="status" size="sm" c="dimmed">
        {waiting === undefined
          ? ''
          : waiting === 0
            ? 'Nothing waits for you.'
            : `${waiting} waiting for you.`}
      </Text>
      <Tabs
        value={name}
        onChange={(view) => setSearch(view === 'inbox' || !view ? {} : { view })}
        keepMounted={false}
      >
        <Tabs.List aria-label="Which requests">
          {Object.entries(VIEWS).map(([view, { label }]) => (
            <Tabs.Tab
              key={view}
              value={view}
              px="sm"
              rightSection={
                view === 'inbox' && waiting ? (
                  <Badge size="sm" circle>
                    {waiting}
                  </Badge>
                ) : undefined
              }
            >
              {label}
            </Tabs.Tab>
          ))}
        </Tabs.List>
        {Object.keys(VIEWS).map((view) => (
          <Tabs.Panel key={view} value={view} pt="md">
            <Requests name={view as ViewName} />
          </Tabs.Panel>
        ))}
      </Tabs>
    </Page>
  )
}

function Requests({ name }: { name: ViewName }) {
  const view = VIEWS[name]
  // The cursors of the pages before: going back needs no answer of the server's.
  const [cursors, setCursors] = useState<string[]>([])
  const cursor = cursors.at(-1)
  const found = useGrants({ ...view.filter, ...(cursor && { cursor }) })
  return (
    <Loaded query={found}>
      {({ requests, cursor: next, counts }) => (
        <Stack gap="sm">
          {requests.length === 0 && (
            <EmptyState title={view.empty}>
              {name === 'inbox' ? (
                <NothingToDecide reviews={counts.reviews_due + counts.reviews_overdue} />
              ) : (
                'Requests appear here as they are made.'
              )}
            </EmptyState>
          )}
          {requests.map((grant) => (
            <GrantCard key={grant.id} grant={grant} {...(name === 'inbox' && { open: 'Look and decide' })} />
          ))}
          {(cursor || next) && (
            <Group>
              <Button variant="default" disabled={!cursor} onClick={() => setCursors(cursors.slice(0, -1))}>
                Newer
              </Button>
              <Button
                variant="default"
                disabled={!next}
                onClick={() => next && setCursors([...cursors, next])}
              >
                Older
              </Button>
            </Group>
          )}
        </Stack>
      )}
    </Loaded>
  )
}

/** Where else there may be something to do. */
function NothingToDecide({ reviews }: { reviews: number }) {
  const { kind } = useSession()
  if (kind !== 'human') {
    return <Text size="sm">Voting needs a person's login, and this one is not a person's.</Text>
  }
  return (
    <>
      <Text size="sm">
        A request that you may vote on appears here by itself.{' '}
        <Anchor component={Link} to="/access/ask" inherit>
          Ask for access yourself
        </Anchor>
      </Text>
      {reviews > 0 && (
        <Text size="sm">
          <Anchor component={Link} to="/reviews" inherit>
            {reviews === 1 ? 'One review is to be done' : `${reviews} reviews are to be done`}
          </Anchor>
        </Text>
      )}
    </>
  )
}

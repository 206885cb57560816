import { Alert, Button, Stack, Text } from '@mantine/core'
import { useState } from 'react'
import { useSearchParams } from 'react-router'
import { EmptyState } from '../components/empty-state.tsx'
import { useNarrow } from '../components/filters.tsx'
import { Loaded } from '../components/loaded.tsx'
import { Page } from '../components/page.tsx'
import { Pager, type Trail } from '../components/pager.tsx'
import { useSession } from '../session.ts'
import type { RevokeOutcome } from './leases/bulk-revoke.ts'
import { RevokeProgress, SelectionBar } from './leases/bulk-revoke.tsx'
import { addressOf, type LeaseFilters as Filters, filtersOf, howMany } from './leases/filters.ts'
import type { LeaseRow, Leases } from './leases/lease.ts'
import { LeaseFilters } from './leases/lease-filters.tsx'
import { LeaseCards, LeaseTable, type Selecting } from './leases/lease-list.tsx'
import { useLeases } from './leases/lease-queries.ts'

/** Who has access right now: all leases that live, soonest to end first, narrowed down by what the address says. */
export default function LeasesPage() {
  const [address, setAddress] = useSearchParams()
  const session = useSession()
  const narrow = useNarrow()
  const filters = filtersOf(address)
  return (
    <Page title="Leases">
      {!session.may.leases && (
        <Text size="sm">These are your own: your policies do not show you others.</Text>
      )}
      <LeaseFilters
        filters={filters}
        onChange={(changed) => setAddress(addressOf(changed), { replace: true })}
        others={session.may.leases}
      />
      <Listing
        key={addressOf(filters).toString()}
        filters={filters}
        narrow={narrow}
        mayRevoke={session.may.revoke}
        others={session.may.leases}
        onReset={() => setAddress(new URLSearchParams())}
      />
    </Page>
  )
}

type ListingProps = {
  filters: Filters
  narrow: boolean
  mayRevoke: boolean
  others: boolean
  onReset: () => void
}

/** The pages of one listing, and what is chosen on them. Another filter begins anew: what is out of sight is not chosen. */
function Listing({ filters, narrow, mayRevoke, others, onReset }: ListingProps) {
  const [trail, setTrail] = useState<Trail>([null])
  const [chosen, setChosen] = useState<ReadonlyMap<string, LeaseRow>>(new Map())
  const [begun, setBegun] = useState<{ outcomes: RevokeOutcome[]; round: number }>()
  const query = useLeases(filters, trail.at(-1) ?? null)
  const ended = filters.states.includes('revoked')
  const selectable = mayRevoke && !ended
  return (
    <Stack gap="md">
      {begun && <RevokeProgress key={begun.round} {...begun} onClose={() => setBegun(undefined)} />}
      <Loaded query={query} rows={8}>
        {(found) =>
          found.leases.length === 0 && trail.length === 1 ? (
            <Nothing filtered={howMany(filters) > 0} own={!others} onReset={onReset} />
          ) : (
            <>
              {selectable && (
                <SelectionBar
                  chosen={[...chosen.values()]}
                  onClear={() => setChosen(new Map())}
                  onBegun={(outcomes) => {
                    setChosen(new Map())
                    setBegun({ outcomes, round: Date.now() })
                  }}
                />
              )}
              <Shown
                found={found}
                narrow={narrow}
                ended={ended}
                selecting={selectable ? selectingOf(found.leases, chosen, setChosen) : undefined}
              />
              {(trail.length > 1 || found.cursor !== null) && (
                <Pager
                  label="Pages of leases"
                  trail={trail}
                  next={found.cursor}
                  onMove={setTrail}
                  waiting={query.isPlaceholderData}
                />
              )}
            </>
          )
        }
      </Loaded>
    </Stack>
  )
}

type ShownProps = { found: Leases; narrow: boolean; ended: boolean; selecting: Selecting | undefined }

function Shown({ found, narrow, ended, selecting }: ShownProps) {
  if (found.leases.length === 0) return <EmptyState title="No more leases on this page" />
  return narrow ? (
    <LeaseCards leases={found.leases} selecting={selecting} />
  ) : (
    <LeaseTable leases={found.leases} selecting={selecting} ended={ended} />
  )
}

function selectingOf(
  rows: readonly LeaseRow[],
  chosen: ReadonlyMap<string, LeaseRow>,
  choose: (chosen: ReadonlyMap<string, LeaseRow>) => void,
): Selecting {
  const here = rows.filter(({ lease_id }) => chosen.has(lease_id)).length
  const all = rows.length > 0 && here === rows.length
  return {
    has: ({ lease_id }) => chosen.has(lease_id),
    toggle: (lease) =>
      choose(chosen.has(lease.lease_id) ? without(chosen, [lease]) : withThese(chosen, [lease])),
    toggleAll: () => choose(all ? without(chosen, rows) : withThese(chosen, rows)),
    all,
    some: here > 0,
  }
}

const withThese = (chosen: ReadonlyMap<string, LeaseRow>, rows: readonly LeaseRow[]) =>
  new Map([...chosen, ...rows.map((row) => [row.lease_id, row] as const)])

function without(chosen: ReadonlyMap<string, LeaseRow>, rows: readonly LeaseRow[]): Map<string, LeaseRow> {
  const left = new Map(chosen)
  for (const { lease_id } of rows) left.delete(lease_id)
  return left
}

function Nothing({ filtered, own, onReset }: { filtered: boolean; own: boolean; onReset: () => void }) {
  if (!filtered) {
    return (
      <EmptyState title={own ? 'You hold no lease right now' : 'Nobody has access right now'}>
        Leases appear here as soon as {own ? 'you ask' : 'somebody asks'} for one. Those that ended are under
        the state "revoked".
      </EmptyState>
    )
  }
  return (
    <EmptyState title="No lease matches">
      <Alert variant="transparent" p={0}>
        Nothing that the filters let through is there now.
      </Alert>
      <Button variant="default" size="xs" onClick={onReset}>
        Clear the filters
      </Button>
    </EmptyState>
  )
}

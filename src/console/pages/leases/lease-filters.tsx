import { MultiSelect, Select, SimpleGrid } from '@mantine/core'
import { Filters as FoldedFilters, TextFilter } from '../../components/filters.tsx'
import { type LeaseFilters as Filters, howMany, LEASE_STATES, settled, type TIME_LEFT } from './filters.ts'

type Props = { filters: Filters; onChange: (filters: Filters) => void; others: boolean }

const STATES = LEASE_STATES.map((value) => ({
  value,
  label: value === 'revoked' ? 'revoked (ended)' : value,
}))

const LEFT_WORDS: Record<keyof typeof TIME_LEFT, string> = {
  '5m': '5 minutes',
  '15m': '15 minutes',
  '1h': 'an hour',
  '1d': 'a day',
}
const LEFT = Object.entries(LEFT_WORDS).map(([value, words]) => ({ value, label: `within ${words}` }))

/** What narrows the table down. */
export const LeaseFilters = (props: Props) => (
  <FoldedFilters set={howMany(props.filters)}>
    <Inputs {...props} />
  </FoldedFilters>
)

function Inputs({ filters, onChange, others }: Props) {
  const change = (part: Partial<Filters>) => onChange({ ...filters, ...part })
  return (
    <SimpleGrid
      component="section"
      aria-label="Filters of the leases"
      cols={{ base: 1, xs: 2, md: 3, xl: 6 }}
      spacing="sm"
      verticalSpacing="xs"
    >
      <MultiSelect
        label="State"
        placeholder={filters.states.length === 0 ? 'All that live' : undefined}
        data={STATES}
        value={filters.states}
        onChange={(states) => change({ states: settled(states as Filters['states']) })}
        clearable
        clearButtonProps={{ 'aria-label': 'Clear the states' }}
      />
      <TextFilter label="Target" value={filters.target} onApply={(target) => change({ target })} />
      <TextFilter
        label="Role"
        placeholder="database/creds/app"
        value={filters.role}
        onApply={(role) => change({ role })}
      />
      {others && (
        <TextFilter
          label="Principal"
          value={filters.principal}
          onApply={(principal) => change({ principal })}
        />
      )}
      <Select
        label="Time left"
        placeholder="Any"
        data={LEFT}
        value={filters.left || null}
        onChange={(left) => change({ left: (left ?? '') as Filters['left'] })}
        clearable
        clearButtonProps={{ 'aria-label': 'Clear the time left' }}
        disabled={filters.states.includes('revoked')}
      />
      <TextFilter
        label="Request (break-glass)"
        placeholder="its id"
        value={filters.grant}
        onApply={(grant) => change({ grant })}
      />
    </SimpleGrid>
  )
}

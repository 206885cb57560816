import { NativeSelect, SimpleGrid, TextInput } from '@mantine/core'
import { Filters, TextFilter } from '../../components/filters.tsx'
import { type AuditQuestion, addressOf, EVENT_TYPES, fromLocalInput, localInput } from './question.ts'

type Props = { question: AuditQuestion; onChange: (question: AuditQuestion) => void }

const TYPES = [
  { value: '', label: 'everything' },
  ...Object.entries(EVENT_TYPES).map(([value, label]) => ({ value, label })),
]

/** What to search the log by. Times are in the reader's zone. */
export const AuditFilters = (props: Props) => (
  <Filters set={[...addressOf(props.question).keys()].length}>
    <Inputs {...props} />
  </Filters>
)

function Inputs({ question, onChange }: Props) {
  const change = (part: Partial<AuditQuestion>) => onChange({ ...question, ...part })
  return (
    <SimpleGrid
      component="section"
      aria-label="Search the audit log"
      cols={{ base: 1, xs: 2, md: 3, xl: 5 }}
      spacing="sm"
      verticalSpacing="xs"
    >
      <TimeFilter label="From" value={question.from} onApply={(from) => change({ from })} />
      <TimeFilter label="To" value={question.to} onApply={(to) => change({ to })} />
      <NativeSelect
        label="Show"
        data={TYPES}
        value={question.type}
        onChange={(event) => change({ type: event.currentTarget.value as AuditQuestion['type'] })}
      />
      <TextFilter
        label="Principal"
        value={question.principal}
        onApply={(principal) => change({ principal })}
      />
      <TextFilter label="Path begins with" value={question.path} onApply={(path) => change({ path })} />
      <TextFilter label="Lease id" value={question.lease_id} onApply={(lease_id) => change({ lease_id })} />
      <TextFilter
        label="Request (break-glass)"
        value={question.grant}
        onApply={(grant) => change({ grant })}
      />
      <TextFilter label="Target" value={question.target} onApply={(target) => change({ target })} />
      <NativeSelect
        label="Order"
        data={[
          { value: 'newest', label: 'newest first' },
          { value: 'oldest', label: 'oldest first' },
        ]}
        value={question.oldest ? 'oldest' : 'newest'}
        onChange={(event) => change({ oldest: event.currentTarget.value === 'oldest' })}
      />
    </SimpleGrid>
  )
}

type TimeProps = { label: string; value: string; onApply: (value: string) => void }

/** The browser's own input for times: it has the keyboard and the reader's order of day and month. */
function TimeFilter({ label, value, onApply }: TimeProps) {
  return (
    <TextInput
      type="datetime-local"
      label={label}
      value={localInput(value)}
      onChange={(event) => onApply(fromLocalInput(event.currentTarget.value))}
    />
  )
}

import { Button, Checkbox, Group, Radio, Stack, Textarea, TextInput } from '@mantine/core'
import { notifications } from '@mantine/notifications'
import { useState } from 'react'
import { ErrorState } from '../../components/error-state.tsx'
import type { Grant } from '../../grant-types.ts'
import { act } from '../../grants.ts'
import { useAction } from '../../use-action.ts'
import { useCheckedForm } from '../../use-checked-form.ts'
import {
  bodyOf,
  CHECKS,
  type Check,
  emptyForm,
  type ReviewForm as Form,
  needsTicket,
  problemsOf,
  type ReviewProblems,
} from './review.ts'

type PartProps = {
  form: Form
  change: (part: Partial<Form>) => void
  problems: ReviewProblems
  grant: Grant
}

type Props = {
  grant: Grant
  /** The log of the request, which is above the form. */
  hasRead: boolean
}

/** What a reviewer looked at and found. It is signed, and never changed afterwards, only added to. */
export function ReviewForm({ grant, hasRead }: Props) {
  const [form, setForm] = useState(emptyForm)
  const action = useAction(() => act(grant.id, 'review', bodyOf(form, { ...grant, hasRead })), {
    onDone: () => notifications.show({ message: 'The review is signed and on record', color: 'green' }),
  })
  const { problems, props } = useCheckedForm(problemsOf(form, { ...grant, hasRead }), action.run)
  const part: PartProps = {
    form,
    change: (changed) => setForm({ ...form, ...changed }),
    problems,
    grant,
  }
  return (
    <form {...props}>
      <Stack gap="md">
        <Checklist {...part} />
        <Outcome {...part} />
        {action.error !== undefined && <ErrorState error={action.error} title="The review was not taken" />}
        <Group justify="flex-end">
          <Button
            type="submit"
            loading={action.running}
            color={form.outcome === 'flagged' ? 'red' : undefined}
          >
            {form.outcome === 'flagged' ? 'Sign and flag' : 'Sign the review'}
          </Button>
        </Group>
      </Stack>
    </form>
  )
}

function Checklist({ form, change, problems, grant }: PartProps) {
  return (
    <Stack gap="xs">
      <Checkbox.Group
        label="Looked at"
        error={problems.checks}
        value={Object.entries(form.checks).flatMap(([name, ticked]) => (ticked ? [name] : []))}
        onChange={(ticked) =>
          change({
            checks: Object.fromEntries(
              Object.keys(CHECKS).map((name) => [name, ticked.includes(name)]),
            ) as Record<Check, boolean>,
          })
        }
      >
        <Stack gap="xs" mt={4}>
          {Object.entries(CHECKS).map(([name, label]) => (
            <Checkbox key={name} value={name} label={label} />
          ))}
        </Stack>
      </Checkbox.Group>
      {needsTicket(grant) && (
        <Checkbox
          label={`I looked up the ticket ${grant.ticket} myself: the incident system gave no answer when it was asked`}
          checked={form.ticketVerified}
          error={problems.ticketVerified}
          onChange={(event) => change({ ticketVerified: event.currentTarget.checked })}
        />
      )}
      <Checkbox
        label="Passwords or keys were seen that have to be rotated"
        checked={form.rotate}
        error={problems.rotate}
        onChange={(event) => change({ rotate: event.currentTarget.checked })}
      />
    </Stack>
  )
}

function Outcome({ form, change, problems }: PartProps) {
  const flagged = form.outcome === 'flagged'
  return (
    <Stack gap="sm">
      <Radio.Group
        label="Outcome"
        required
        value={form.outcome}
        error={problems.outcome}
        onChange={(outcome) => change({ outcome: outcome as Form['outcome'] })}
      >
        <Stack gap="xs" mt={4}>
          <Radio value="ok" label="It was as it should be" />
          <Radio
            value="flagged"
            label="Something is wrong: its requester is blocked until security has settled it"
          />
        </Stack>
      </Radio.Group>
      <Textarea
        label={flagged ? 'What you found' : 'Note'}
        required={flagged}
        autosize
        minRows={2}
        maxRows={10}
        value={form.finding}
        error={problems.finding}
        onChange={(event) => change({ finding: event.currentTarget.value })}
      />
      {flagged && (
        <TextInput
          label="Security case"
          required
          autoComplete="off"
          value={form.caseId}
          error={problems.caseId}
          onChange={(event) => change({ caseId: event.currentTarget.value })}
        />
      )}
    </Stack>
  )
}

import { Alert, Button, Group, Stack } from '@mantine/core'
import { useState } from 'react'
import { useNavigate } from 'react-router'
import { ask } from '../../api.ts'
import { ApiError } from '../../api-error.ts'
import { type AskDraft, forgetDraft, keepDraft } from '../../ask-draft.ts'
import {
  type AskForm as Ask,
  type AskProblems,
  askBody,
  askProblems,
  askRefusals,
  type EligiblePolicy,
  emptyAsk,
  restoredAsk,
} from '../../ask-limits.ts'
import { ErrorState } from '../../components/error-state.tsx'
import { LoginAgain } from '../../components/login-again.tsx'
import { isAboutLogin } from '../../grant-actions.ts'
import type { Grant } from '../../grant-types.ts'
import { randomKey } from '../../random-key.ts'
import { useSession } from '../../session.ts'
import { useAction } from '../../use-action.ts'
import { useCheckedForm } from '../../use-checked-form.ts'
import { AskFields } from './ask-fields.tsx'

type Props = {
  policy: EligiblePolicy
  draft?: AskDraft | undefined
  /** How to begin with. */
  lane?: Ask['lane']
}

/** What to ask for under one policy, checked as the server will. */
export function AskForm({ policy, draft, lane = 'ordinary' }: Props) {
  const { principal_id: principal } = useSession()
  const [form, setForm] = useState(() => (draft ? restoredAsk(policy, draft.form) : emptyAsk(policy, lane)))
  // One for as long as the form is: pressed twice, it asks once.
  const [key] = useState(randomKey)
  const navigate = useNavigate()
  const open = ({ id }: { id: string }) => {
    forgetDraft()
    void navigate(`/requests/${id}`)
  }
  const send = useAction(
    () =>
      ask<Grant>('break-glass/requests', {
        method: 'POST',
        body: askBody(policy, form),
        idempotencyKey: key,
      }),
    { onDone: open, onFailed: (error) => alreadyAsked(error, open) },
  )

  const checked = useCheckedForm(askProblems(policy, form), send.run)
  const problems = { ...refusalsOf(send.error, form), ...checked.problems }

  return (
    <form {...checked.props}>
      <Stack gap="md">
        {policy.blocked && <Blocked why={policy.blocked} />}
        <AskFields
          policy={policy}
          form={form}
          problems={problems}
          onChange={(change) => {
            // What was refused was not this.
            send.clear()
            setForm({ ...form, ...change })
          }}
        />
        {send.error !== undefined && (
          <Refused error={send.error} onLeave={() => keepDraft({ principal, policy: policy.name, form })} />
        )}
        <Group>
          <Button type="submit" loading={send.running} disabled={policy.blocked !== null}>
            {form.lane === 'drill' ? 'Begin the drill' : 'Ask for access'}
          </Button>
        </Group>
      </Stack>
    </form>
  )
}

function Blocked({ why }: { why: string }) {
  return (
    <Alert role="note" color="red" variant="light" title="You cannot ask under this policy now" p="sm">
      {why}
    </Alert>
  )
}

function Refused({ error, onLeave }: { error: unknown; onLeave: () => void }) {
  return (
    <ErrorState error={error} title="Not asked">
      {error instanceof ApiError && isAboutLogin(error.message) && (
        <LoginAgain purpose="to ask" onLeave={onLeave} />
      )}
    </ErrorState>
  )
}

const refusalsOf = (error: unknown, form: Ask): AskProblems =>
  error instanceof ApiError ? askRefusals(error.texts, form) : {}

/** The same ask has arrived before, by a try whose answer was lost: that request is the one. */
function alreadyAsked(error: unknown, open: (grant: { id: string }) => void): void {
  if (error instanceof ApiError && error.status === 409 && typeof error.data.id === 'string')
    open({ id: error.data.id })
}

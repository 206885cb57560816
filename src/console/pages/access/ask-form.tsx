import {
  Alert,
  Button,
  Code,
  Group,
  MultiSelect,
  NumberInput,
  Stack,
  Textarea,
  TextInput,
} from '@mantine/core'
import { type FormEvent, useState } from 'react'
import { useNavigate } from 'react-router'
import { ask } from '../../api.ts'
import { ApiError } from '../../api-error.ts'
import { type AskDraft, forgetDraft, keepDraft } from '../../ask-draft.ts'
import {
  type AskForm as Ask,
  askBody,
  askProblems,
  characters,
  type EligiblePolicy,
  emptyAsk,
  maxMinutes,
  needsTicket,
  restoredAsk,
} from '../../ask-limits.ts'
import { durationWords } from '../../clock.ts'
import { ErrorState } from '../../components/error-state.tsx'
import { LoginAgain } from '../../components/login-again.tsx'
import { isAboutLogin } from '../../grant-actions.ts'
import type { Grant } from '../../grant-types.ts'
import { randomKey } from '../../random-key.ts'
import { useSession } from '../../session.ts'
import { useAction } from '../../use-action.ts'
import { LaneChoice } from './lane-choice.tsx'
import { Limits } from './limits.tsx'

/** What to ask for under one policy, checked as the server will. */
export function AskForm({ policy, draft }: { policy: EligiblePolicy; draft?: AskDraft | undefined }) {
  const { principal_id: principal } = useSession()
  const [form, setForm] = useState(() => (draft ? restoredAsk(policy, draft.form) : emptyAsk(policy)))
  const [tried, setTried] = useState(false)
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
  const problems = tried ? askProblems(policy, form) : {}
  const set = (change: Partial<Ask>) => setForm({ ...form, ...change })
  const { limits } = policy

  function submit(event: FormEvent) {
    event.preventDefault()
    setTried(true)
    if (Object.keys(askProblems(policy, form)).length === 0) send.run()
  }

  return (
    <form noValidate onSubmit={submit}>
      <Stack gap="md">
        {policy.blocked && <Blocked why={policy.blocked} />}
        <Limits policy={policy} lane={form.lane} roles={form.roles} />
        <LaneChoice
          policy={policy}
          value={form.lane}
          onChange={(lane) => set({ ...emptyAsk(policy, lane), ...kept(form), lane })}
        />
        <MultiSelect
          label="Roles"
          required
          searchable
          placeholder={form.roles.length === 0 ? 'Choose' : undefined}
          data={policy.roles.map(({ path, target }) => ({ value: path, label: `${path} on ${target}` }))}
          value={form.roles}
          onChange={(roles) => set({ roles })}
          error={problems.roles}
        />
        <NumberInput
          label="Minutes"
          required
          description={`At most ${durationWords(maxMinutes(policy, form.lane) * 60)}; counted from activation`}
          min={1}
          allowDecimal={false}
          allowNegative={false}
          value={form.minutes}
          onChange={(minutes) => set({ minutes })}
          error={problems.minutes}
        />
        <Textarea
          label="Reason"
          required
          description={`What is broken and what you will do; at least ${characters(limits.reason_min_length)}. Approvers read this.`}
          autosize
          minRows={3}
          value={form.reason}
          onChange={(event) => set({ reason: event.currentTarget.value })}
          error={problems.reason}
        />
        <TextInput
          label="Ticket"
          required={needsTicket(limits, form.lane)}
          description={
            limits.ticket_pattern ? (
              <>
                Has to match <Code>{limits.ticket_pattern}</Code>
              </>
            ) : undefined
          }
          value={form.ticket}
          onChange={(event) => set({ ticket: event.currentTarget.value })}
          error={problems.ticket}
          autoComplete="off"
        />
        {send.error !== undefined && (
          <Refused error={send.error} onLeave={() => keepDraft({ principal, policy: policy.name, form })} />
        )}
        <Group>
          <Button type="submit" loading={send.running} disabled={policy.blocked !== null}>
            Ask for access
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

const kept = ({ roles, reason, ticket }: Ask) => ({ roles, reason, ticket })

/** The same ask has arrived before, by a try whose answer was lost: that request is the one. */
function alreadyAsked(error: unknown, open: (grant: { id: string }) => void): void {
  if (error instanceof ApiError && error.status === 409 && typeof error.data.id === 'string')
    open({ id: error.data.id })
}

import { Code, MultiSelect, NumberInput, Textarea, TextInput } from '@mantine/core'
import {
  type AskForm,
  type AskProblems,
  characters,
  type EligiblePolicy,
  emptyAsk,
  maxMinutes,
  needsTicket,
} from '../../ask-limits.ts'
import { durationWords } from '../../clock.ts'
import { targetName } from '../../target-name.ts'
import { LaneChoice } from './lane-choice.tsx'
import { Limits } from './limits.tsx'
import { NamespaceFields } from './namespace-fields.tsx'

type Props = {
  policy: EligiblePolicy
  form: AskForm
  problems: AskProblems
  onChange: (change: Partial<AskForm>) => void
}

/** What is filled in, with the policy's limits beside each field. */
export function AskFields({ policy, form, problems, onChange }: Props) {
  return (
    <>
      <Limits policy={policy} lane={form.lane} roles={form.roles} />
      <LaneChoice
        policy={policy}
        value={form.lane}
        onChange={(lane) => onChange({ ...emptyAsk(policy, lane), ...kept(form), lane })}
      />
      <MultiSelect
        label="Roles"
        required
        searchable
        placeholder={form.roles.length === 0 ? 'Choose' : undefined}
        data={policy.roles.map((role) => ({
          value: role.path,
          label: `${role.path} on ${targetName(role)}`,
        }))}
        value={form.roles}
        onChange={(roles) => onChange({ roles })}
        error={problems.roles}
      />
      <NamespaceFields
        policy={policy}
        form={form}
        problems={problems.namespaces}
        onChange={(namespaces) => onChange({ namespaces })}
      />
      <NumberInput
        label="Minutes"
        required
        description={`At most ${durationWords(maxMinutes(policy, form.lane) * 60)}; counted from activation`}
        min={1}
        allowDecimal={false}
        allowNegative={false}
        value={form.minutes}
        onChange={(minutes) => onChange({ minutes })}
        error={problems.minutes}
      />
      <Texts policy={policy} form={form} problems={problems} onChange={onChange} />
    </>
  )
}

function Texts({ policy: { limits }, form, problems, onChange }: Props) {
  return (
    <>
      <Textarea
        label="Reason"
        required
        description={`${form.lane === 'drill' ? 'What is practised' : 'What is broken and what you will do'}; at least ${characters(limits.reason_min_length)}. Approvers read this.`}
        autosize
        minRows={3}
        value={form.reason}
        onChange={(event) => onChange({ reason: event.currentTarget.value })}
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
        onChange={(event) => onChange({ ticket: event.currentTarget.value })}
        error={problems.ticket}
        autoComplete="off"
      />
    </>
  )
}

const kept = ({ roles, namespaces, reason, ticket }: AskForm) => ({ roles, namespaces, reason, ticket })

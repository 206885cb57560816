import { Radio, Stack } from '@mantine/core'
import { type AskForm, type EligiblePolicy, maxMinutes } from '../../ask-limits.ts'

type Lane = AskForm['lane']
type Props = { policy: EligiblePolicy; value: Lane; onChange: (lane: Lane) => void }

/** How it is asked for: with approvers, without any that can be reached, or as practice. */
export function LaneChoice({ policy, value, onChange }: Props) {
  const { limits } = policy
  if (!limits.sealed && !limits.drill) return null
  const alone = limits.sealed_solo ? '' : ' It needs a witness.'
  return (
    <Radio.Group label="How" value={value} onChange={(lane) => onChange(lane as Lane)}>
      <Stack gap="xs" mt={6}>
        <Radio value="ordinary" label="With approval" description={`Needs ${policy.approvals_words}`} />
        {limits.sealed && (
          <Radio
            value="sealed"
            label="Sealed lane: no approver can be reached"
            description={`One target, at most ${maxMinutes(policy, 'sealed')} minutes.${alone} You need a login with a hardware key. Whoever looks at the inbox sees it, channels that the policy names are told, and it has to be ratified afterwards.`}
          />
        )}
        {limits.drill && (
          <Radio
            value="drill"
            label="Drill"
            description="Practice: the whole way, marked as a drill everywhere. Nothing is opened."
          />
        )}
      </Stack>
    </Radio.Group>
  )
}

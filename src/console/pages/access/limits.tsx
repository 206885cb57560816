import { type AskForm, type EligiblePolicy, maxMinutes } from '../../ask-limits.ts'
import { durationWords } from '../../clock.ts'
import { Facts } from '../../components/facts.tsx'
import { targetName } from '../../target-name.ts'

type Props = { policy: EligiblePolicy; lane: AskForm['lane']; roles: readonly string[] }

/** What the policy holds an ask to, and what the chosen roles can do. */
export function Limits({ policy, lane, roles }: Props) {
  const { limits } = policy
  const most = maxMinutes(policy, lane) * 60
  const chosen = policy.roles.filter(({ path }) => roles.includes(path))
  return (
    <Facts
      rows={[
        ['Approval', approvalWords(policy, lane)],
        [
          'Then',
          `activate within ${durationWords(limits.activate_within_seconds)}; the time counts from there`,
        ],
        [
          'Length',
          `${durationWords(Math.min(limits.default_duration_seconds, most))} unless you say otherwise, ${durationWords(most)} at most`,
        ],
        ...chosen.map(
          (role) =>
            [
              role.path,
              `${[targetName(role), role.environment].filter(Boolean).join(', ')}: ${role.privileges.join('; ') || 'no privileges listed'}`,
            ] as const,
        ),
      ]}
    />
  )
}

/** Of the sealed lane: a witness instead of approvers, or nobody, and somebody to ratify it afterwards. */
function approvalWords({ limits, approvals_words }: EligiblePolicy, lane: AskForm['lane']): string {
  const within = `within ${durationWords(limits.pending_ttl_seconds)}`
  if (lane !== 'sealed') return `needs ${approvals_words}, ${within}`
  return limits.sealed_solo
    ? 'needs nobody before, and has to be ratified afterwards'
    : `needs one witness, ${within}, and has to be ratified afterwards`
}

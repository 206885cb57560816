import type { EligiblePolicy } from '../../ask-limits.ts'
import { durationWords } from '../../clock.ts'
import { Facts } from '../../components/facts.tsx'

/** What the policy holds an ask to, and what the chosen roles can do. */
export function Limits({ policy, roles }: { policy: EligiblePolicy; roles: readonly string[] }) {
  const { limits } = policy
  const chosen = policy.roles.filter(({ path }) => roles.includes(path))
  return (
    <Facts
      rows={[
        ['Approval', `needs ${policy.approvals_words}, within ${durationWords(limits.pending_ttl_seconds)}`],
        [
          'Then',
          `activate within ${durationWords(limits.activate_within_seconds)}; the time counts from there`,
        ],
        [
          'Length',
          `${durationWords(limits.default_duration_seconds)} unless you say otherwise, ${durationWords(limits.max_duration_seconds)} at most`,
        ],
        ...chosen.map(
          ({ path, target, environment, privileges }) =>
            [
              path,
              `${[target, environment].filter(Boolean).join(', ')}: ${privileges.join('; ') || 'no privileges listed'}`,
            ] as const,
        ),
      ]}
    />
  )
}

import type { Issued } from '../lease/issue.ts'
import type { LeaseTerms } from '../lease/terms.ts'
import type { Reply } from './envelope.ts'

/** Our own envelope key on lease answers: when it ends, when it must end at the latest, and what cut it short. */
export const shownTerms = (terms: LeaseTerms): Record<string, unknown> => ({
  expires_at: terms.expiresAt.toISOString(),
  hard_expires_at: terms.hardExpiresAt.toISOString(),
  limited_by: terms.limitedBy,
})

/** What was issued, with its secret. */
export function leased({ leaseId, terms, renewable, secret, warnings }: Issued): Reply {
  return {
    lease: { id: leaseId, renewable, durationSeconds: terms.ttlSeconds },
    data: Object.fromEntries(
      Object.entries(secret).map(([name, value]) => [
        name,
        typeof value === 'string' ? value : value.reveal(),
      ]),
    ),
    warnings,
    leasehold: shownTerms(terms),
  }
}

import type { LeaseTerms } from '../lease/terms.ts'

/** Our own envelope key on lease answers: when it ends, when it must end at the latest, and what cut it short. */
export const shownTerms = (terms: LeaseTerms): Record<string, unknown> => ({
  expires_at: terms.expiresAt.toISOString(),
  hard_expires_at: terms.hardExpiresAt.toISOString(),
  limited_by: terms.limitedBy,
})

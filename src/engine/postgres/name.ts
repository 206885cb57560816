import type { NameTemplate } from '../username-template.ts'

/** PostgreSQL cuts longer names off without a word. */
const MAX_NAME_LENGTH = 63
const ROLE_PART_LENGTH = 20

type NameAsk = {
  template: NameTemplate | undefined
  roleName: string
  leaseId: string
  displayName: string
}

/**
 * `v_<role>_<lease id>`, or what the template makes, always with the whole lease id. Whatever the parts held, the
 * name is of letters, digits and a few marks that mean nothing in any SQL quoting: see `statements.ts`.
 */
export function accountName({ template, roleName, leaseId, displayName }: NameAsk, now: Date): string {
  if (!template) return `v_${plain(roleName).slice(0, ROLE_PART_LENGTH)}_${leaseId}`
  const made = tame(template({ DisplayName: displayName, RoleName: roleName, LeaseID: leaseId }, now))
  if (made.includes(leaseId) && made.length <= MAX_NAME_LENGTH) return made
  const room = MAX_NAME_LENGTH - leaseId.length - 1
  const kept = made.replace(leaseId, '').slice(0, room)
  return kept === '' ? `v_${leaseId}` : `${kept}_${leaseId}`
}

const plain = (text: string): string => text.toLowerCase().replace(/[^a-z0-9_]/g, '_')

/** PostgreSQL keeps names that start with pg_ for itself. */
const tame = (text: string): string =>
  text
    .replace(/[^A-Za-z0-9_.@-]/g, '_')
    .replace(/-{2,}/g, '-')
    .replace(/^-|-$/g, '_')
    .replace(/^pg_/i, 'v_pg_')

/** What names of accounts look like, as PostgreSQL's regular expressions have it; any name a template can make, or ours. */
export const namePattern = (byTemplate: boolean): string =>
  byTemplate
    ? `^(?!pg_)[A-Za-z0-9_.@-]{24,${MAX_NAME_LENGTH}}$`
    : `^v_[a-z0-9_]{0,${ROLE_PART_LENGTH}}_[0-9a-hjkmnp-tv-z]{24}$`

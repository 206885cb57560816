import type { NameTemplate } from '../username-template.ts'
import { DEFAULT_HOST, fullName } from './sql.ts'

/** What is left of the 32 characters of a user name beside `v_`, the lease id and a line between. */
const ROOM = 5

export const SHORT_NAMES_WARNING = `user names have 32 characters here, 24 of them the lease id: of what username_template makes, ${ROOM} are kept`

type NameAsk = {
  template: NameTemplate | undefined
  roleName: string
  leaseId: string
  displayName: string
  host: string | undefined
}

/**
 * `v_<five characters>_<lease id>@<host>`: of the role's name, or of what the template makes. The whole lease id is
 * always there, so two names can never be cut to the same. Whatever the parts held, the user name is of letters,
 * digits and a few marks that mean nothing in any SQL quoting.
 */
export function accountName(ask: NameAsk, now: Date): string {
  const { template, roleName, leaseId, displayName } = ask
  const made = template
    ? template({ DisplayName: displayName, RoleName: roleName, LeaseID: leaseId }, now)
        .replace(leaseId, '')
        .replace(/^v[-_]/, '')
    : roleName.toLowerCase()
  const kept = made
    .replace(/[^A-Za-z0-9_.-]/g, '_')
    .replace(/-{2,}/g, '-')
    .slice(0, ROOM)
    .replace(/-$/, '_')
  return fullName({
    user: kept === '' ? `v_${leaseId}` : `v_${kept}_${leaseId}`,
    host: ask.host ?? DEFAULT_HOST,
  })
}

import type { Account, Spec } from '../engine.ts'
import { compileNameTemplate } from '../username-template.ts'
import { namespaceOf } from './ask.ts'

/** Also what a label's value can hold. */
const MAX_NAME_LENGTH = 63
const ROLE_PART_LENGTH = 30

type NameAsk = { role: Spec; asked: Spec; roleName: string; leaseId: string; displayName: string }

/** `<namespace>/v-<role>-<lease id>`, or what the role's template makes, always with the whole lease id. */
export function accountName(ask: NameAsk, now = new Date()): string {
  return `${namespaceOf(ask.role, ask.asked)}/${objectName(ask, now)}`
}

function objectName({ role, roleName, leaseId, displayName }: NameAsk, now: Date): string {
  const template = role.name_template as string | undefined
  if (template === undefined) return `v-${tame(roleName.slice(0, ROLE_PART_LENGTH)) || 'role'}-${leaseId}`
  const inputs = { DisplayName: displayName, RoleName: roleName, LeaseID: leaseId }
  const made = tame(compileNameTemplate(template)(inputs, now).toLowerCase())
  if (made.includes(leaseId) && made.length <= MAX_NAME_LENGTH) return made
  const room = MAX_NAME_LENGTH - leaseId.length - 1
  const kept = tame(made.replace(leaseId, '').slice(0, room))
  return kept === '' ? `v-${leaseId}` : `${kept}-${leaseId}`
}

/** What every kind of object takes for a name: small letters, digits and hyphens, these not at the ends. */
const tame = (text: string): string =>
  text
    .toLowerCase()
    .replace(/[^a-z0-9-]+/g, '-')
    .replace(/^-+|-+$/g, '')

/** The two halves of an account's name. */
export function placeOf({ name }: Pick<Account, 'name'>): { namespace: string; name: string } {
  const [namespace = '', object = ''] = name.split('/')
  return { namespace, name: object }
}

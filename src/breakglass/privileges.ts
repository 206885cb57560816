import type { AskableRole } from '../ledger/grant-roles.ts'
import { namespacesOf } from './namespaces.ts'

/** A role, and where it was asked for. */
export type AskedRole = AskableRole & { namespace?: string | undefined }

/** Longer statements are cut, and say so: nobody reads on at three at night. */
const MAX_WORDS = 600

/** What a role lets do, in words for whoever decides about it; what cannot be put in words stands as it is written. */
export function privilegesOf({
  engine,
  spec,
  namespace,
}: Pick<AskedRole, 'engine' | 'spec' | 'namespace'>): string[] {
  const words = engine === 'kubernetes' ? onCluster(spec, namespace) : onDatabase(spec)
  return (words.length > 0 ? words : ['what the target gives to every login']).map(cut)
}

const cut = (text: string): string =>
  text.length <= MAX_WORDS ? text : `${text.slice(0, MAX_WORDS)} … (${text.length} characters in all)`

const texts = (value: unknown): string[] =>
  Array.isArray(value) ? value.filter((item) => typeof item === 'string') : []

function onDatabase(spec: AskableRole['spec']): string[] {
  return [
    ...texts(spec.member_of).map((group) => `member of ${group}`),
    // Whole, since a CREATE ROLE may hold as much as a GRANT.
    ...texts(spec.creation_statements).map((text) => `runs ${text.replace(/\s+/g, ' ').trim()}`),
  ]
}

/** `namespace`: the one it was asked for in. */
function onCluster(spec: AskableRole['spec'], namespace: string | undefined): string[] {
  const text = (name: string): string => (typeof spec[name] === 'string' ? spec[name] : '')
  const kind = text('kubernetes_role_type') || 'Role'
  const what = text('service_account_name')
    ? `token of the service account ${text('service_account_name')}`
    : text('kubernetes_role_name')
      ? `bound to the ${kind} ${text('kubernetes_role_name')}`
      : text('generated_role_rules')
        ? `a ${kind} with the rules ${text('generated_role_rules').trim()}`
        : ''
  const { listed, any, selector } = namespacesOf(spec)
  const namespaces = [
    ...listed,
    ...(any ? ['*'] : []),
    ...(selector === '' ? [] : [`those that match ${selector}`]),
  ]
  return [
    ...(what === '' ? [] : [what]),
    ...(namespace !== undefined
      ? [`in the namespace ${namespace}`]
      : namespaces.length > 0
        ? [`in namespaces ${namespaces.join(', ')}`]
        : []),
  ]
}

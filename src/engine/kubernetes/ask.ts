import { BrokerError } from '../../lib/errors.ts'
import type { Asked, Spec } from '../engine.ts'
import { booleanField, given, listField, textField, wholeField } from '../fields.ts'
import { allowedNamespaces, NAMESPACE_NAME, readMode } from './role.ts'

/** The thing a lease ends with. */
export type Tie = { kind: TieKind; name: string; uid: string }
export type TieKind = (typeof TIE_KINDS)[number]

const TIE_KINDS = ['Pod', 'Job'] as const
const TIE_FIELDS = ['bound_object_kind', 'bound_object_name', 'bound_object_uid'] as const
const OBJECT_NAME = /^[a-z0-9](?:[a-z0-9.-]{0,251}[a-z0-9])?$/
const UID = /^[A-Za-z0-9-]{1,128}$/
const MAX_AUDIENCES = 64
const MAX_TTL = 100 * 365 * 86_400

const refuse = (text: string): BrokerError => new BrokerError('invalid_request', text)

/** What was sent of the dialect's fields and ours, under their wire names: policy is asked about them again on renewal. */
export function checkAsk({ role, fields }: { role: Spec; fields: Spec }): Asked {
  const asked = given({
    kubernetes_namespace: textField(fields, 'kubernetes_namespace'),
    cluster_role_binding: booleanField(fields, 'cluster_role_binding'),
    audiences: listField(fields, 'audiences'),
    ttl: wholeField(fields, 'ttl', { min: 0, max: MAX_TTL }),
    ...Object.fromEntries(TIE_FIELDS.map((name) => [name, textField(fields, name)])),
  })
  const namespace = namespaceOf(role, asked)
  if (!isListed(role, namespace) && !role.allowed_kubernetes_namespace_selector) {
    throw notAllowed(namespace)
  }
  if (((asked.audiences as string[] | undefined) ?? []).length > MAX_AUDIENCES) {
    throw refuse(`audiences cannot hold more than ${MAX_AUDIENCES} items`)
  }
  const mode = readMode(role)
  if (asked.cluster_role_binding === true && mode.kind !== 'existing' && mode.roleKind === 'Role') {
    throw refuse('a ClusterRoleBinding cannot ref a Role')
  }
  readTie(asked)
  const ttl = asked.ttl as number | undefined
  return { asked, ...(ttl ? { ttlSeconds: ttl } : {}), warnings: [] }
}

/** Where the role's lease is to be: what was asked for, or the one place that the role names. */
export function namespaceOf(role: Spec, asked: Spec): string {
  const wanted = (asked.kubernetes_namespace as string | undefined) ?? onlyNamespace(role)
  if (wanted === undefined) {
    throw refuse("'kubernetes_namespace' is required unless the Vault role has a single namespace specified")
  }
  if (!NAMESPACE_NAME.test(wanted)) throw refuse('kubernetes_namespace is not the name of a namespace')
  return wanted
}

function onlyNamespace(role: Spec): string | undefined {
  const [name, ...others] = allowedNamespaces(role)
  const isOnly = others.length === 0 && name !== '*' && !role.allowed_kubernetes_namespace_selector
  return isOnly ? name : undefined
}

export const isListed = (role: Spec, namespace: string): boolean =>
  allowedNamespaces(role).some((name) => name === '*' || name === namespace)

export const notAllowed = (namespace: string): BrokerError =>
  refuse(
    `kubernetes_namespace '${namespace}' is not present in role's allowed_kubernetes_namespaces or does not match role's label selector allowed_kubernetes_namespace_selector`,
  )

export function readTie(asked: Spec): Tie | undefined {
  const [kind, name, uid] = TIE_FIELDS.map((field) => asked[field] as string | undefined)
  if (kind === undefined && name === undefined && uid === undefined) return undefined
  if (kind === undefined || name === undefined || uid === undefined) {
    throw refuse(`${TIE_FIELDS.join(', ')} go together: a name alone may be somebody else's tomorrow`)
  }
  const known = TIE_KINDS.find((each) => each === kind)
  if (!known) throw refuse(`bound_object_kind must be one of ${TIE_KINDS.join(', ')}`)
  if (!OBJECT_NAME.test(name)) throw refuse('bound_object_name is not a name that an object can have')
  if (!UID.test(uid)) throw refuse('bound_object_uid is not a UID')
  return { kind: known, name, uid }
}

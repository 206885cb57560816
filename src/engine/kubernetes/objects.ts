import type * as kube from '@kubernetes/client-node'
import { ID_PATTERN } from '../../lib/ids.ts'
import type { Account, Spec } from '../engine.ts'
import type { Tie } from './ask.ts'
import { placeOf } from './name.ts'
import type { Mode, Rule } from './role.ts'

/** What a lease may be made of. All its objects have one name. */
export type Kind = keyof typeof KINDS

const RBAC = 'rbac.authorization.k8s.io/v1'

const KINDS = {
  Secret: { apiVersion: 'v1', resource: 'secrets', namespaced: true },
  ServiceAccount: { apiVersion: 'v1', resource: 'serviceaccounts', namespaced: true },
  Role: { apiVersion: RBAC, resource: 'roles', namespaced: true },
  RoleBinding: { apiVersion: RBAC, resource: 'rolebindings', namespaced: true },
  ClusterRole: { apiVersion: RBAC, resource: 'clusterroles', namespaced: false },
  ClusterRoleBinding: { apiVersion: RBAC, resource: 'clusterrolebindings', namespaced: false },
} as const

export const ALL_KINDS = Object.keys(KINDS) as Kind[]
/**
 * Without them no token opens anything; all but the Secret only where the account is the lease's own. The account is
 * among them as a lease's holder may be allowed to make tokens of it that hang on nothing else.
 */
export const ACCESS_KINDS: readonly Kind[] = ['Secret', 'ServiceAccount', 'RoleBinding', 'ClusterRoleBinding']

const MANAGED_BY = 'app.kubernetes.io/managed-by'
const LEASE_LABEL = 'leasehold/lease-id'
/** The account's whole name; of a cluster-wide object nothing else tells the namespace. */
const ACCOUNT_ANNOTATION = 'leasehold/account'
export const OUR_OBJECTS = `${MANAGED_BY}=leasehold,${LEASE_LABEL}`

type Body =
  | kube.V1Secret
  | kube.V1ServiceAccount
  | kube.V1Role
  | kube.V1RoleBinding
  | kube.V1ClusterRole
  | kube.V1ClusterRoleBinding
export type Planned = { kind: Kind; body: Body }

const apiRoot = (apiVersion: string): string =>
  apiVersion.includes('/') ? `/apis/${apiVersion}` : `/api/${apiVersion}`

/** The path of all objects of a kind: in a namespace, or everywhere. */
export function pathOf(kind: Kind, namespace?: string): string {
  const { apiVersion, resource, namespaced } = KINDS[kind]
  const place = namespaced && namespace !== undefined ? `/namespaces/${namespace}` : ''
  return `${apiRoot(apiVersion)}${place}/${resource}`
}

/** Where this account's object of a kind is. */
export function objectPath(kind: Kind, account: Pick<Account, 'name'>): string {
  const { namespace, name } = placeOf(account)
  return `${pathOf(kind, namespace)}/${name}`
}

/** The kinds a lease of this role can have objects of; every kind where the role is not known. */
export function kindsOf(mode: Mode | undefined): readonly Kind[] {
  switch (mode?.kind) {
    case undefined:
      return ALL_KINDS
    case 'existing':
      return ['Secret']
    case 'bound':
      return ['Secret', 'ServiceAccount', ...bindingsOf(mode.roleKind)]
    case 'generated':
      return ['Secret', 'ServiceAccount', mode.roleKind, ...bindingsOf(mode.roleKind)]
  }
}

const bindingsOf = (roleKind: 'Role' | 'ClusterRole'): Kind[] =>
  roleKind === 'Role' ? ['RoleBinding'] : ['RoleBinding', 'ClusterRoleBinding']

export type Wanted = {
  account: Account
  mode: Mode
  rules: Rule[]
  role: Spec
  clusterWide: boolean
  tie: Tie | undefined
}

/**
 * What to make. The first is the owner of the others, so that with it the cluster's own garbage collection removes
 * them, and also whatever of them is made late. An object of a namespace cannot own one of the cluster, so that is
 * first where there is one; else it is the Secret that the tokens hang on.
 */
export function plannedObjects(wanted: Wanted): Planned[] {
  const secret = { kind: 'Secret', body: secretOf(wanted) } as const
  const { mode, clusterWide } = wanted
  if (mode.kind === 'existing') return [secret]
  const account = { kind: 'ServiceAccount', body: bare(wanted, 'ServiceAccount') } as const
  const binding = bindingOf(wanted, mode, clusterWide ? 'ClusterRoleBinding' : 'RoleBinding')
  if (mode.kind === 'bound') return clusterWide ? [binding, secret, account] : [secret, account, binding]
  const role = { kind: mode.roleKind, body: { ...bare(wanted, mode.roleKind), rules: wanted.rules } }
  return mode.roleKind === 'ClusterRole' ? [role, secret, account, binding] : [secret, role, account, binding]
}

export const ownedBy = ({ kind, body }: Planned, uid: string): kube.V1OwnerReference => ({
  apiVersion: KINDS[kind].apiVersion,
  kind,
  name: body.metadata?.name ?? '',
  uid,
})

/** The Secret also goes with what the lease is tied to, should we not be there to see it. */
function secretOf(wanted: Wanted): kube.V1Secret {
  const { metadata, ...rest } = bare(wanted, 'Secret')
  const { mode, clusterWide, tie } = wanted
  const ownsAll =
    mode.kind === 'existing' ||
    !(clusterWide || (mode.kind === 'generated' && mode.roleKind === 'ClusterRole'))
  const owner = tie && { apiVersion: tie.kind === 'Job' ? 'batch/v1' : 'v1', ...tie }
  return {
    ...rest,
    metadata: { ...metadata, ...(owner && ownsAll && { ownerReferences: [owner] }) },
    type: 'leasehold/lease',
    immutable: true,
  }
}

function bindingOf(
  wanted: Wanted,
  mode: Exclude<Mode, { kind: 'existing' }>,
  kind: 'RoleBinding' | 'ClusterRoleBinding',
) {
  const { namespace, name } = placeOf(wanted.account)
  const body = {
    ...bare(wanted, kind),
    subjects: [{ kind: 'ServiceAccount', name, namespace }],
    roleRef: {
      apiGroup: 'rbac.authorization.k8s.io',
      kind: mode.roleKind,
      name: mode.kind === 'bound' ? mode.roleName : name,
    },
  }
  return { kind, body } as const
}

function bare(
  { account, role }: Wanted,
  kind: Kind,
): { apiVersion: string; kind: Kind; metadata: kube.V1ObjectMeta } {
  const { namespace, name } = placeOf(account)
  const { apiVersion, namespaced } = KINDS[kind]
  return {
    apiVersion,
    kind,
    metadata: {
      name,
      ...(namespaced && { namespace }),
      labels: { ...(role.extra_labels as object), [MANAGED_BY]: 'leasehold', [LEASE_LABEL]: account.leaseId },
      annotations: { ...(role.extra_annotations as object), [ACCOUNT_ANNOTATION]: account.name },
    },
  }
}

/**
 * Whose an object is; undefined for one that does not carry our mark whole. Marks can be copied on to anything, and all
 * that has the account's name is ended with it, in the whole cluster: so a name counts only with the lease id in it.
 */
export function accountOf(metadata: kube.V1ObjectMeta): Account | undefined {
  const leaseId = metadata.labels?.[LEASE_LABEL] ?? ''
  const inPlace = metadata.namespace === undefined ? undefined : `${metadata.namespace}/${metadata.name}`
  const name = inPlace ?? metadata.annotations?.[ACCOUNT_ANNOTATION] ?? ''
  const isOurs =
    ID_PATTERN.test(leaseId) &&
    ACCOUNT_NAME.test(name) &&
    placeOf({ name }).name === metadata.name &&
    metadata.name.includes(leaseId)
  return isOurs ? { leaseId, name, targetRef: null } : undefined
}

/** An annotation says what it likes, and the name becomes part of a path. */
const ACCOUNT_NAME = /^[a-z0-9](?:[a-z0-9-]*[a-z0-9])?\/[a-z0-9](?:[a-z0-9-]*[a-z0-9])?$/

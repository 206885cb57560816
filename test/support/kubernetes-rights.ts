import type { KubeObject, Store } from './kubernetes-store.ts'

export type KubeUser = { username: string; uid: string; groups: string[] }
export type Attributes = {
  verb: string
  group: string
  resource: string
  subresource?: string
  namespace?: string | undefined
  name?: string | undefined
}
type Rule = { verbs: string[]; apiGroups?: string[]; resources?: string[]; resourceNames?: string[] }

const MASTERS = 'system:masters'

/** Whether RBAC, as it stands in the store, lets the user do it. */
export function mayDo(store: Store, user: KubeUser, asked: Attributes): boolean {
  return (
    user.groups.includes(MASTERS) || rulesOf(store, user, asked.namespace).some((rule) => allows(rule, asked))
  )
}

/** The rules that hold for a user in a namespace; without one, those that hold everywhere. */
function rulesOf(store: Store, user: KubeUser, namespace: string | undefined): Rule[] {
  const wide = store.list('clusterrolebindings').filter((binding) => names(binding, user))
  const local =
    namespace === undefined ? [] : store.list('rolebindings', namespace).filter((each) => names(each, user))
  return [...wide, ...local].flatMap((binding) => referredRules(store, binding))
}

function names(binding: KubeObject, { username, groups }: KubeUser): boolean {
  const subjects = (binding.subjects ?? []) as { kind: string; name: string; namespace?: string }[]
  return subjects.some(({ kind, name, namespace }) => {
    if (kind === 'ServiceAccount') return username === `system:serviceaccount:${namespace}:${name}`
    return kind === 'Group' ? groups.includes(name) : kind === 'User' && username === name
  })
}

function referredRules(store: Store, { roleRef, metadata }: KubeObject): Rule[] {
  const { kind, name } = roleRef as { kind: string; name: string }
  const role =
    kind === 'ClusterRole'
      ? store.get('clusterroles', undefined, name)
      : store.get('roles', metadata.namespace, name)
  return (role?.rules ?? []) as Rule[]
}

const has = (list: string[] | undefined, item: string): boolean =>
  list?.includes('*') === true || list?.includes(item) === true

function allows({ verbs, apiGroups, resources, resourceNames }: Rule, asked: Attributes): boolean {
  const { verb, group, resource, subresource, name } = asked
  const whole = subresource ? `${resource}/${subresource}` : resource
  const named = !resourceNames?.length || (name !== undefined && resourceNames.includes(name))
  return has(verbs, verb) && has(apiGroups, group) && has(resources, whole) && named
}

/** Whether somebody may make a role with these rules: nobody gives more than they have, but with `escalate`. */
export function mayGrant(store: Store, user: KubeUser, object: KubeObject): string | undefined {
  const isBinding = object.kind.endsWith('Binding')
  const namespace = object.metadata.namespace
  const rules = isBinding ? referredRules(store, object) : ((object.rules ?? []) as Rule[])
  const role = isBinding
    ? (object.roleRef as { kind: string; name: string })
    : { kind: object.kind, name: object.metadata.name }
  const around = {
    group: 'rbac.authorization.k8s.io',
    verb: isBinding ? 'bind' : 'escalate',
    resource: role.kind === 'ClusterRole' ? 'clusterroles' : 'roles',
    name: role.name,
    namespace,
  }
  if (mayDo(store, user, around) || rules.every((rule) => holds(store, user, rule, namespace)))
    return undefined
  return `user "${user.username}" is attempting to grant RBAC permissions not currently held`
}

const holds = (store: Store, user: KubeUser, rule: Rule, namespace: string | undefined): boolean =>
  rule.verbs.every((verb) =>
    (rule.apiGroups ?? []).every((group) =>
      (rule.resources ?? []).every((whole) => {
        const [resource = '', subresource] = whole.split('/')
        return mayDo(store, user, { verb, group, resource, ...(subresource && { subresource }), namespace })
      }),
    ),
  )

import type { AskableRole } from '../ledger/grant-roles.ts'

/** In which namespaces of its cluster a role may be had, as its spec has them. */
export type Namespaces = {
  /** By name; `*` in the spec is `any` here. */
  listed: string[]
  any: boolean
  /** Of labels, in which case one that is not listed may do as well: only the cluster can tell. '' for none. */
  selector: string
}

export function namespacesOf(spec: AskableRole['spec']): Namespaces {
  const { allowed_kubernetes_namespaces: allowed, allowed_kubernetes_namespace_selector: selector } = spec
  const names = Array.isArray(allowed) ? allowed.filter((name) => typeof name === 'string') : []
  return {
    listed: names.filter((name) => name !== '*'),
    any: names.includes('*'),
    selector: typeof selector === 'string' ? selector : '',
  }
}

/** What somebody who asks for a role has to choose from; null where there is nothing to choose. */
export function namespaceChoice({ engine, spec }: Pick<AskableRole, 'engine' | 'spec'>): Namespaces | null {
  if (engine !== 'kubernetes') return null
  const choice = namespacesOf(spec)
  return choice.listed.length === 1 && !choice.any && choice.selector === '' ? null : choice
}

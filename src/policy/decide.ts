/** What may be asked of a path; `sudo` is asked beside one of the others, where an endpoint needs it. */
export type Operation = 'create' | 'read' | 'update' | 'patch' | 'delete' | 'list' | 'sudo'

/** Whose policies decide. */
export type Holder = { policies: readonly string[] }

/**
 * What the `default` policy grants: a token may see to itself. The lease paths are the dialect's, and revoking
 * besides; the lease layer lets a token that is not root touch only the leases it made.
 */
const DEFAULT_POLICY: readonly { path: RegExp; operation: Operation }[] = [
  { path: /^auth\/token\/lookup-self$/, operation: 'read' },
  { path: /^auth\/token\/(renew|revoke)-self$/, operation: 'update' },
  { path: /^sys\/capabilities-self$/, operation: 'update' },
  { path: /^sys\/leases\/lookup$/, operation: 'update' },
  // The id may stand in the body or in the path: command lines revoke by path.
  { path: /^sys\/leases\/(renew|revoke)(\/.+)?$/, operation: 'update' },
]

/** Deny by default. `path` is decoded and without `/v1/`. */
export const decide = (holder: Holder, operation: Operation, path: string): 'allow' | 'deny' =>
  isRoot(holder) || granted(holder, path).includes(operation) ? 'allow' : 'deny'

/** What the holder may do at a path, in the dialect's words and sorted; `['root']` is everything, `['deny']` nothing. */
export function capabilities(holder: Holder, path: string): string[] {
  if (isRoot(holder)) return ['root']
  const operations = granted(holder, path)
  return operations.length > 0 ? operations.sort() : ['deny']
}

export const isRoot = ({ policies }: Holder): boolean => policies.includes('root')

/** A token that opted out of `default` may do nothing at all. */
function granted({ policies }: Holder, path: string): Operation[] {
  if (!policies.includes('default')) return []
  return DEFAULT_POLICY.filter((rule) => rule.path.test(path)).map(({ operation }) => operation)
}

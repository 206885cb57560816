import type { LeaseCount, LeasePaths } from '../ledger/quotas.ts'

/**
 * Where a quota holds, as the dialect writes it: `` everywhere, `database/` in a mount, `database/creds/app` at that
 * path alone, `database/creds/app*` at all paths that begin so.
 */
type Path = { path: string }

/** Whether a quota for these paths is about this one, which has no slash at its end. */
export function covers({ path }: Path, asked: string): boolean {
  if (path === '') return true
  if (path.endsWith('/')) return `${asked}/`.startsWith(path)
  if (path.endsWith('*')) return asked.startsWith(path.slice(0, -1))
  return asked === path
}

/** Of several that cover a path, the most specific comes first: the path itself, the longest beginning, the mount. */
const rank = ({ path }: Path): [number, number] => {
  if (path === '') return [0, 0]
  if (path.endsWith('/')) return [1, path.length]
  if (path.endsWith('*')) return [2, path.length]
  return [3, path.length]
}

export function bySpecificity(a: Path, b: Path): number {
  const [kindOfA, lengthOfA] = rank(a)
  const [kindOfB, lengthOfB] = rank(b)
  return kindOfB - kindOfA || lengthOfB - lengthOfA
}

const leasePaths = ({ path }: Path): LeasePaths => {
  if (path === '' || path.endsWith('/')) return { prefix: path }
  return path.endsWith('*') ? { prefix: path.slice(0, -1) } : { path }
}

/** What any quota is about. */
export type Scope = Path & {
  id: string
  /** Of the mount its path lies in; empty for one that holds everywhere. */
  mountPath: string
  /** The connection, by name; absent: whichever. */
  target?: string
}

export type LeaseQuota = Scope & {
  maxLeases: number
  /** One principal's leases; with `*` each principal's by themselves. Absent: everybody's together. */
  principal?: string
}

export type LeaseAsk = { path: string; principalId: string; targetName: string; targetId: string }

/**
 * The counts an ask has to fit into. Quotas on everybody, on principals, on connections and on both are kinds of their
 * own: of each kind one counts a lease, the most specific, and what others of its kind count it leaves out.
 */
export function countsOf(quotas: readonly LeaseQuota[], ask: LeaseAsk): LeaseCount[] {
  const kinds = new Map<string, LeaseQuota[]>()
  for (const quota of quotas) {
    if (quota.principal !== undefined && quota.principal !== '*' && quota.principal !== ask.principalId)
      continue
    if (quota.target !== undefined && !isTarget(quota, ask)) continue
    const kind = `${quota.principal !== undefined} ${quota.target !== undefined}`
    kinds.set(kind, [...(kinds.get(kind) ?? []), quota])
  }
  return [...kinds.values()].flatMap((kind) => countOf(kind, ask))
}

/** Connections of two mounts may have one name. */
export const isTarget = (
  { target, mountPath }: Scope,
  { targetName, path }: Pick<LeaseAsk, 'targetName' | 'path'>,
): boolean => target === targetName && path.startsWith(mountPath)

function countOf(kind: LeaseQuota[], { path, principalId, targetId }: LeaseAsk): LeaseCount[] {
  const ordered = kind.sort(
    (a, b) => Number(a.principal === '*') - Number(b.principal === '*') || bySpecificity(a, b),
  )
  const at = ordered.findIndex((quota) => covers(quota, path))
  const quota = ordered[at]
  if (!quota) return []
  const [principal, target] = [
    quota.principal === undefined ? null : principalId,
    quota.target === undefined ? null : targetId,
  ]
  return [
    {
      key: [quota.id, ...(principal ? [principal] : []), ...(target ? [target] : [])].join(' '),
      max: quota.maxLeases,
      where: leasePaths(quota),
      except: ordered.slice(0, at).map(leasePaths),
      principalId: principal,
      targetId: target,
    },
  ]
}

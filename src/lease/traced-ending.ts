import type { Claimed } from '../ledger/lease-ending.ts'
import { type Mark, type Tracer, untraced } from '../lib/trace.ts'

/** `access`: until nobody gets in and nobody is in. `account`: until it is proved gone. */
type Stage = 'access' | 'account'

/** Runs a stage of ending claimed leases of one target, told of as a batch for whoever asked for it. */
export function tracedEnding<T>(
  { trace = untraced }: { trace?: Tracer },
  stage: Stage,
  claims: readonly Claimed[],
  marks: readonly (Mark | undefined)[],
  work: () => Promise<T>,
): Promise<T> {
  const [first] = claims
  if (!first) return work()
  const facts = {
    'leasehold.engine': first.engine,
    'leasehold.target': first.targetName,
    'leasehold.leases': claims.length,
    'leasehold.stage': stage,
  }
  return trace.batch('lease.end', facts, marks, work)
}

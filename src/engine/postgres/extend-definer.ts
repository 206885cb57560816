import { EngineError, type EngineErrorKind, type Term } from '../engine.ts'
import type { Facts, Session } from './connections.ts'
import { extensionKey, type Functions } from './definer.ts'
import type { Target } from './target.ts'

/** What the function says of an account it did not extend, and what that is for us. */
const REFUSALS: Readonly<Record<string, EngineErrorKind>> = {
  unknown: 'denied',
  'not by this key': 'denied',
  'longer than the functions allow': 'denied',
}

const REASONS: Readonly<Record<string, (name: string) => string>> = {
  absent: (name) => `the account "${name}" is gone from the target`,
  replaced: (name) => `the account "${name}" was replaced by another of that name`,
  unknown: (name) =>
    `the account "${name}" was not made by the functions on the target, and they do not extend it`,
}

/**
 * Moves the expiry of accounts that the functions made. The key of each goes as a parameter and never in the text of a
 * statement: any session of the same login can read the text of ours. `unknown` are accounts from before the functions.
 */
export async function extendByFunctions(
  { session, functions }: { session: Session; functions: Functions },
  target: Target,
  terms: readonly Term[],
): Promise<{ unknown: Term[]; problems: Map<Term, EngineError> }> {
  const { rows } = await session.query({
    text: 'SELECT problem FROM leasehold_broker.extend($1::name[], $2::oid[], $3::bytea[], $4::float8[])',
    values: [
      terms.map(({ account }) => account.name),
      terms.map(({ account }) => account.targetRef),
      terms.map(({ account }) => extensionKey(functions, account.name)),
      terms.map(({ lifetimeMs }) => lifetimeMs + target.expiryMarginMs),
    ],
  })
  const unknown: Term[] = []
  const problems = new Map<Term, EngineError>()
  for (const [i, term] of terms.entries()) {
    const problem = rows[i]?.problem as string | null
    if (problem === null) continue
    if (problem === 'unknown') unknown.push(term)
    problems.set(term, refusal(problem, term))
  }
  return { unknown, problems }
}

function refusal(problem: string, { account: { name } }: Term): EngineError {
  const text = REASONS[problem]?.(name) ?? `the account "${name}" was not extended: ${problem}`
  return new EngineError(REFUSALS[problem] ?? 'failed', text)
}

/** Accounts from before the functions are extended plainly, by an admin account that still may. */
export const extendsPlainly = ({ functions, createsRoles }: Facts): boolean => !functions || createsRoles

import type { Db } from '../ledger/db.ts'
import { findPolicies } from '../ledger/policies.ts'
import { BrokerError } from '../lib/errors.ts'
import { matchesAny } from '../lib/glob.ts'
import { BUILT_IN_POLICIES, tidyPolicies } from '../policy/policy-names.ts'
import type { TokenRole } from './token-roles.ts'

type PolicyAsk = {
  requested: readonly string[]
  /** Says no to adding `default` where nobody named it. */
  noDefaultPolicy: boolean
  parent: readonly string[]
  /** May give what it does not have itself. */
  sudo: boolean
  role: TokenRole | undefined
}

/** The policies a new token gets. Throws the dialect's refusal when its maker may not give them. */
export function choosePolicies(ask: PolicyAsk): string[] {
  const chosen = tidyPolicies(ask.role && restrains(ask.role) ? byRole(ask, ask.role) : byParent(ask))
  const policies = ask.noDefaultPolicy ? chosen.filter((name) => name !== 'default') : chosen
  if (policies.includes('root') && !ask.parent.includes('root')) {
    throw refused('root tokens may not be created without parent token being root')
  }
  return policies
}

/** Warnings for policies without a document: they grant nothing until somebody writes one. */
export const missingPolicies = async (db: Db, policies: readonly string[]): Promise<string[]> =>
  (await unwrittenPolicies(db, policies)).map(unwrittenWarning)

export const unwrittenWarning = (name: string): string => `Policy "${name}" does not exist`

/** Those without a document. */
export async function unwrittenPolicies(db: Db, policies: readonly string[]): Promise<string[]> {
  const written = policies.filter((name) => !BUILT_IN_POLICIES.includes(name))
  if (written.length === 0) return []
  const found = new Set((await findPolicies(db, written)).map(({ name }) => name))
  return written.filter((name) => !found.has(name))
}

function byParent(ask: PolicyAsk): readonly string[] {
  // Asking for nothing takes what the parent has, `default` only if the parent has it.
  if (ask.requested.length === 0) return ask.parent
  const requested = tidyPolicies(ask.requested)
  if (!ask.sudo && !requested.every((name) => ask.parent.includes(name))) {
    throw refused('child policies must be subset of parent')
  }
  const addDefault = !ask.noDefaultPolicy && (ask.sudo || ask.parent.includes('default'))
  return addDefault ? [...requested, 'default'] : requested
}

const restrains = (role: TokenRole): boolean =>
  [role.allowedPolicies, role.allowedPoliciesGlob, role.disallowedPolicies, role.disallowedPoliciesGlob].some(
    (list) => list.length > 0,
  )

/** A role with lists of its own decides alone: what the parent has does not matter. */
function byRole(ask: PolicyAsk, role: TokenRole): string[] {
  const addDefault = !ask.noDefaultPolicy && !role.tokenNoDefaultPolicy && !isDisallowed(role, 'default')
  const withDefault = (names: readonly string[]) => tidyPolicies(addDefault ? [...names, 'default'] : names)
  const policies = ask.requested.length > 0 ? withDefault(ask.requested) : unasked(ask, role, withDefault)
  const allowsSome = role.allowedPolicies.length > 0 || role.allowedPoliciesGlob.length > 0
  const allowed = withDefault(role.allowedPolicies)
  if (
    allowsSome &&
    !policies.every((name) => allowed.includes(name) || matchesAny(role.allowedPoliciesGlob, name))
  ) {
    throw refused(
      `token policies (${quoted(policies)}) must be subset of the role's allowed policies (${quoted(allowed)}) or glob policies (${quoted(role.allowedPoliciesGlob)})`,
    )
  }
  const disallowed = policies.find((name) => isDisallowed(role, name))
  if (disallowed !== undefined) throw refused(`token policy "${disallowed}" is disallowed by this role`)
  return policies
}

/** Without a wish: all that the role allows by name, or, when it only forbids, what the parent has. */
function unasked(
  ask: PolicyAsk,
  role: TokenRole,
  withDefault: (names: readonly string[]) => string[],
): string[] {
  const allowsSome = role.allowedPolicies.length > 0 || role.allowedPoliciesGlob.length > 0
  return withDefault(allowsSome ? role.allowedPolicies : ask.parent)
}

const isDisallowed = (role: TokenRole, name: string): boolean =>
  role.disallowedPolicies.includes(name) || matchesAny(role.disallowedPoliciesGlob, name)

const quoted = (names: readonly string[]): string => `[${names.map((name) => `"${name}"`).join(' ')}]`

const refused = (message: string): BrokerError => new BrokerError('invalid_request', message)

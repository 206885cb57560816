import { listBreakGlassPolicies } from '../ledger/break-glass-policies.ts'
import type { Db } from '../ledger/db.ts'
import { type AskableRole, askableRoles } from '../ledger/grant-roles.ts'
import { matchesAny } from '../lib/glob.ts'
import type { Actor } from './actor.ts'
import { mayAsk } from './eligibility.ts'
import { namespaceChoice } from './namespaces.ts'
import { planRole } from './plan.ts'
import { type PolicySpec, policyOf } from './policies.ts'
import { quorumWords } from './quorum.ts'
import { requesterFault } from './submit.ts'

/** What somebody may ask for, with the limits that their ask will be held to. */
export async function eligibleFor(db: Db, actor: Actor) {
  const policies = (await listBreakGlassPolicies(db)).map(policyOf).filter(({ spec }) => mayAsk(actor, spec))
  const roles = policies.length > 0 ? await askableRoles(db) : []
  return Promise.all(
    policies.map(async ({ name, version, spec }) => ({
      name,
      version,
      description: spec.description,
      lane: spec.lane,
      roles: roles.filter(({ path }) => matchesAny(spec.roles, path)).map(offered),
      limits: limitsOf(spec),
      approvals_words: quorumWords(spec.approvals, spec.min_approvers),
      blocked: (await requesterFault(db, actor, [])) ?? null,
    })),
  )
}

function offered(role: AskableRole) {
  const { path, target, engine, privileges, revocability, environment } = planRole(role)
  const kubernetes_namespaces = namespaceChoice(role)
  return { path, target, engine, privileges, revocability, environment, kubernetes_namespaces }
}

const limitsOf = (spec: PolicySpec) => ({
  reason_min_length: spec.reason_min_length,
  ticket_required: spec.ticket_required,
  ticket_pattern: spec.ticket_pattern,
  default_duration_seconds: spec.default_duration,
  max_duration_seconds: spec.max_duration,
  pending_ttl_seconds: spec.pending_ttl,
  activate_within_seconds: spec.activate_within,
  sealed: spec.sealed,
  sealed_solo: spec.sealed_solo,
  sealed_max_duration_seconds: spec.sealed_max_duration,
  drill: true,
})

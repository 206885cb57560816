import { type Audited, onBehalfOf } from '../audit/request.ts'
import type { Issued } from '../lease/issue.ts'
import { splitLeaseId } from '../lease/wire-id.ts'
import type { Db } from '../ledger/db.ts'
import { stuckTargets } from '../ledger/grant-timers.ts'
import type { Grant } from '../ledger/grants.ts'
import { findTargetById } from '../ledger/targets.ts'
import { BrokerError } from '../lib/errors.ts'
import type { LiveGrant } from '../policy/authorize.ts'
import type { AccessParts, Caller, ConnectFacts } from './access-parts.ts'
import { fieldsOf, type PlanRole, planIn } from './plan.ts'
import { refusedBecause, type Situation } from './situation.ts'
import { actorOfVote, standingVotes } from './standing.ts'

/** A credential under a grant. Its secret is in `issued`, and nowhere else. */
export type Granted = {
  role: PlanRole
  issued: Issued
  connect: ConnectFacts
}

export const rolesOf = (grant: Pick<Grant, 'plan'>): PlanRole[] => planIn(grant).roles

/**
 * Throws unless whoever is at the door may be given what the grant is for, as far as it takes more than the grant to
 * say: no rule denies a path, each role's own condition holds, and at none of its targets an end is stuck.
 */
export async function checkMayReceive(
  { ledger }: Pick<AccessParts, 'ledger'>,
  caller: Caller,
  situation: Situation,
  roles: readonly PlanRole[] = rolesOf(situation.grant),
): Promise<void> {
  const approvedAs = approvalOf(situation)
  for (const role of roles) {
    const { path } = role
    const decision = await caller.decide(role, approvedAs)
    if (decision.allowed) continue
    throw refusedBecause(
      decision.why === 'role_condition'
        ? `the condition of the role at ${path} does not hold`
        : `a policy of yours denies ${path}`,
    )
  }
  await checkNotFrozen(ledger, roles)
}

/** Row 31: throws while the end of an access at one of their targets is stuck. */
export async function checkNotFrozen(db: Db, roles: readonly PlanRole[]): Promise<void> {
  const [stuck] = await stuckTargets(
    db,
    roles.map(({ target_id }) => target_id),
  )
  if (stuck) throw frozen(stuck.name)
}

const frozen = (target: string): BrokerError =>
  new BrokerError(
    'conflict',
    `nothing is given on the target ${JSON.stringify(target)}: the end of an earlier access there is not proved`,
  )

/** What conditions see while the grant is not in force yet: that people have approved it. */
const approvalOf = ({ grant, policy, votes }: Situation): LiveGrant => ({
  id: grant.id,
  policy: policy.name,
  lane: grant.lane,
  reason: grant.reason,
  ticket: grant.ticket,
  approvers: standingVotes({ grant, votes })
    .map(({ voter }) => actorOfVote(voter))
    .filter(({ kind }) => kind === 'human')
    .map(({ subject }) => subject),
  expiresAt: grant.expiresAt ?? new Date(grant.now.getTime() + grant.durationSeconds * 1_000),
})

/**
 * All of them, or none: waits for every one, and throws what stopped the first that failed. A drill goes the same way
 * and opens nothing.
 */
export async function issueAll(
  parts: AccessParts,
  caller: Caller,
  grant: Grant,
  until: Date,
  roles: readonly PlanRole[] = rolesOf(grant),
): Promise<Granted[]> {
  if (grant.lane === 'drill') return []
  const outcomes = await Promise.allSettled(
    roles.map((role) =>
      onBehalfOf(issuing(caller, grant, role), () => issueOne(parts, caller, { grant, until, role })),
    ),
  )
  const made = outcomes.flatMap((outcome) => (outcome.status === 'fulfilled' ? [outcome.value] : []))
  const failure = outcomes.find((outcome) => outcome.status === 'rejected')
  if (!failure) return made
  await undo(parts, made)
  throw failure.reason
}

async function issueOne(
  parts: AccessParts,
  { principal, reading }: Caller,
  { grant, until, role }: { grant: Grant; until: Date; role: PlanRole },
): Promise<Granted> {
  const mount = await parts.findMount(role.mount)
  if (!mount) throw new BrokerError('conflict', `there is no mount at ${role.mount} any more`)
  const { policy } = planIn(grant)
  const issued = await parts.issue({
    principal,
    reading,
    mount,
    allowedBy: { policy: `break-glass/${policy.name}`, version: policy.version },
    path: role.path,
    roleName: role.name,
    fields: fieldsOf(role),
    grant: { id: grant.id, expiresAt: until, toItsEnd: true },
  })
  const target = await findTargetById(parts.ledger, role.target_id)
  return { role, issued, connect: target ? parts.connectFacts(target) : null }
}

/** Each lease has an event of its own, whoever asked for how many. */
const issuing = ({ actor }: Caller, grant: Grant, { path, target, name }: PlanRole): Audited => ({
  facts: {},
  once: true,
  closed: false,
  event: (_, { lease_id }) => ({
    type: 'request',
    who: {
      principal: actor.id,
      kind: actor.kind,
      mount: actor.mount,
      subject: actor.subject || undefined,
      display_name: actor.display_name,
      accessor: actor.accessor || undefined,
      source_address: actor.source_address,
    },
    what: { operation: 'issue', path },
    outcome: {},
    lease_id,
    target,
    role: name,
    details: { grant_id: grant.id, lane: grant.lane },
  }),
})

/** Ends leases that nobody will have. Never throws: what fails is found when they are due. */
export async function undo({ ender }: Pick<AccessParts, 'ender'>, made: readonly Granted[]): Promise<void> {
  await Promise.all(made.map(({ issued }) => ender.abandon(splitLeaseId(issued.leaseId).id, 'undelivered')))
}

import { about } from '../audit/request.ts'
import type { Issued } from '../lease/issue.ts'
import { listBreakGlassPolicies } from '../ledger/break-glass-policies.ts'
import { findControlGroupMaxTtl } from '../ledger/control-groups.ts'
import type { Ledger } from '../ledger/db.ts'
import { type GrantVote, grantVotes } from '../ledger/grant-votes.ts'
import type { Grant } from '../ledger/grants.ts'
import { bindAccessor, findGrantByAccessor, findLiveGrant } from '../ledger/live-grants.ts'
import { BrokerError } from '../lib/errors.ts'
import { matchesAny } from '../lib/glob.ts'
import { revised } from '../lib/revised.ts'
import type { Sensitive } from '../lib/sensitive.ts'
import { isRoot, type LiveGrant } from '../policy/authorize.ts'
import { type Principal, principalId } from '../policy/principal.ts'
import type { Caller } from './access-parts.ts'
import type { Activation } from './activate.ts'
import { type Actor, actorOf } from './actor.ts'
import { checkMayCollect } from './collect.ts'
import { isFromWithin, mayAsk } from './eligibility.ts'
import { stateRefusal } from './moves.ts'
import { type Policy, policyOf } from './policies.ts'
import type { Submit } from './submit.ts'
import type { Votes } from './votes.ts'

/** What is kept where an answer waits: nothing is made before people have agreed, so there is nothing to keep. */
const NOTHING_YET = '{"errors":["request needs further approval"]}\n'

/** The wrapping token that stands for an answer. */
export type Held = {
  token: Sensitive
  accessor: string
  ttlSeconds: number
  createdAt: Date
  creationPath: string
}

/** Wrapping, which belongs to those who know tokens. */
export type Holding = {
  wrap(
    body: string,
    about: { ttlSeconds: number; creationPath: string; principalId: string },
    begun: (token: Sensitive, accessor: string) => void,
  ): Promise<Held>
  drop(token: Sensitive): Promise<void>
}

/** A read of a path that people have to agree to first. */
export type GuardedRead = {
  principal: Principal
  source: string
  revision: number
  path: string
  reason: string | undefined
  ticket: string | undefined
  idempotencyKey: string | undefined
  onUndelivered(undo: () => Promise<void>): void
}

/** How far people have got with a request. */
export type ControlStatus = {
  approved: boolean
  grant: Grant
  requester: Person
  authorizations: Person[]
}

type Person = { id: string; name: string }

export type ControlGroupParts = {
  ledger: Ledger
  wrapping: Holding
  submit: Submit
  approve: Votes['approve']
  activate: Activation['activate']
  /** Who a token belongs to, as it proved it, whether or not it still lives. */
  holderOf(tokenId: string): Promise<Principal>
}

/** Vault's control groups over break-glass: the same grants, votes and activation, by another door. */
export type ControlGroups = {
  /**
   * What stands between a caller and the role at a path: nothing (undefined), a grant in force, which what is given is
   * then given under, or a request of theirs that has just been submitted, for which they hold a token. Throws the
   * refusal of one who may not ask, or who may not collect what the grant is for.
   */
  stand(read: GuardedRead): Promise<{ grant: LiveGrant } | { held: Held } | undefined>
  /**
   * The same where no token can be held instead: the grant in force that opens a guarded path for what is asked there,
   * or undefined where nothing guards it. Throws 403 where there is none, and the refusal of one who has such a grant
   * and may not collect what it is for.
   */
  opening(
    principal: Principal,
    revision: number,
    ask: { path: string; source: string; parameters: Readonly<Record<string, unknown>> },
  ): Promise<LiveGrant | undefined>
  find(accessor: string): Promise<Grant | undefined>
  /** Throws for an accessor that is none, as `authorize` does. */
  status(accessor: string): Promise<ControlStatus>
  /** An approval, with all the rules of one. `planHash`: of the plan the person saw; absent, the plan as it is. */
  authorize(
    accessor: string,
    by: { actor: Actor; planHash: string | undefined; comment: string },
  ): Promise<ControlStatus>
  /**
   * What the request with this wrapping token was for, made now that people have agreed; throws while they have not.
   * `caller` makes the one at the door of a proved principal; undefined is one who has shown the wrapping token alone.
   */
  collect(
    held: { grant: Grant; token: Sensitive },
    principal: Principal | undefined,
    caller: (principal: Principal) => Caller,
  ): Promise<Issued>
}

export function createControlGroups(parts: ControlGroupParts): ControlGroups {
  const { ledger, wrapping } = parts
  const guarding = revised<Policy[]>(
    async () => new Map([['', (await listBreakGlassPolicies(ledger)).map(policyOf).filter(guards)]]),
  )
  const covering = async (principal: Principal, revision: number, path: string): Promise<Policy[]> => {
    // As with quotas: somebody has to be able to clear up.
    if (isRoot(principal)) return []
    return ((await guarding(revision, '')) ?? []).filter(({ spec }) => matchesAny(spec.roles, path))
  }
  const liveGrant = (principal: Principal, path: string, parameters = {}) =>
    findLiveGrant(ledger, { principalId: principalId(principal), path, parameters })

  return {
    async opening(principal, revision, { path, source, parameters }) {
      const policies = await covering(principal, revision, path)
      if (policies.length === 0) return undefined
      const grant = await liveGrant(principal, path, parameters)
      if (!grant) throw mustBeAskedFor()
      await mustBeUsable(ledger, { principal, source, path }, policies, grant)
      return grant
    },
    async stand(read) {
      const { principal, path } = read
      const policies = await covering(principal, read.revision, path)
      if (policies.length === 0) return undefined
      const grant = await liveGrant(principal, path)
      if (!grant) return { held: await ask(parts, policies, read) }
      await mustBeUsable(ledger, read, policies, grant)
      return { grant }
    },
    find: (accessor) => findGrantByAccessor(ledger, accessor),
    status: async (accessor) => statusOf(ledger, await mustFind(ledger, accessor)),
    async authorize(accessor, { actor, planHash, comment }) {
      const { id: grantId, planHash: present } = await mustFind(ledger, accessor)
      await parts.approve({ actor, grantId, planHash: planHash ?? present, comment }).catch(asInDialect)
      return statusOf(ledger, await mustFind(ledger, accessor))
    },
    async collect({ grant, token }, principal, caller) {
      about({ details: { grant_id: grant.id } })
      if (grant.state === 'pending') {
        throw new BrokerError('invalid_request', 'request needs further approval')
      }
      if (grant.state !== 'approved') throw stateRefusal(grant)
      const requester = principal ?? (await holderOfAsk(parts, grant))
      if (principalId(requester) !== grant.requesterId) throw notYours()
      const [first] = await parts.activate(caller(requester), { grantId: grant.id })
      if (!first) throw new Error('a grant was activated without a credential')
      await wrapping.drop(token)
      return first.issued
    },
  }
}

const mustBeAskedFor = (): BrokerError =>
  new BrokerError('permission_denied', 'others have to agree to it first: ask for it at break-glass/requests')

/**
 * What is given under a grant in force is collected, by whichever door: whoever could not collect it is refused, as is one
 * who comes from where a policy that guards the path, as it is now, lets nobody have it.
 */
async function mustBeUsable(
  ledger: Ledger,
  { principal, source, path }: Pick<GuardedRead, 'principal' | 'source' | 'path'>,
  policies: readonly Policy[],
  { id: grantId }: LiveGrant,
): Promise<void> {
  if (!policies.every(({ spec }) => isFromWithin(source, spec))) throw notYours()
  await checkMayCollect(ledger, { actor: actorOf(principal, source), grantId }, path)
}

const guards = ({ spec }: Policy): boolean => spec.control_group

const notYours = (): BrokerError => new BrokerError('permission_denied', 'permission denied')

/** Each read asks anew, as in the dialect; how often is bounded by the policy's `max_live`. */
async function ask(parts: ControlGroupParts, policies: readonly Policy[], read: GuardedRead): Promise<Held> {
  const { ledger, wrapping } = parts
  const { principal, path } = read
  const actor = actorOf(principal, read.source)
  const policy = policies.find(({ spec }) => mayAsk(actor, spec))
  if (!policy) throw notYours()
  const atMostSeconds = (await findControlGroupMaxTtl(ledger)) ?? Number.POSITIVE_INFINITY
  const grant = await parts.submit(
    {
      policy: policy.name,
      roles: [path],
      reason: read.reason ?? defaultReason(policy, path),
      ticket: read.ticket ?? '',
      durationSeconds: undefined,
      lane: undefined,
    },
    // Nobody is asked to agree to what could not be collected any more.
    { actor, idempotencyKey: read.idempotencyKey, pendingAtMostSeconds: atMostSeconds },
  )
  const lastMs = Math.max(grant.pendingExpiresAt.getTime(), grant.activateBy?.getTime() ?? 0)
  const wantedSeconds =
    Math.ceil((lastMs - grant.now.getTime()) / 1_000) + (grant.activateBy ? 0 : policy.spec.activate_within)
  const held = await wrapping.wrap(
    NOTHING_YET,
    {
      ttlSeconds: Math.min(wantedSeconds, atMostSeconds),
      creationPath: path,
      principalId: principalId(principal),
    },
    (token) => read.onUndelivered(() => wrapping.drop(token)),
  )
  await bindAccessor(ledger, {
    id: grant.id,
    accessor: held.accessor,
    detail: { control_token: principal.tokenId },
  })
  return held
}

/** Where the glass is broken, a text of ours is no reason: one has to be given. */
const defaultReason = ({ spec }: Policy, path: string): string =>
  spec.lane === 'standard' ? `asked for by reading ${path}` : ''

/**
 * A workload may show the wrapping token alone, as in the dialect: then it is given what the token that asked may have.
 * A person has to come in person, with a login of just now.
 */
async function holderOfAsk({ holderOf }: ControlGroupParts, grant: Grant): Promise<Principal> {
  const { control_token: tokenId } = grant.detail
  if ((grant.requester as Partial<Actor>).kind === 'human' || typeof tokenId !== 'string') {
    throw new BrokerError(
      'permission_denied',
      'show a token of your own as the client token, and this one in the field "token"',
    )
  }
  return holderOf(tokenId)
}

/** That there is such a request is known to whoever has its accessor: they may not, is what they hear. */
function asInDialect(error: unknown): never {
  throw error instanceof BrokerError && error.code === 'not_found' ? notYours() : error
}

async function mustFind(ledger: Ledger, accessor: string): Promise<Grant> {
  const grant = await findGrantByAccessor(ledger, accessor)
  if (!grant) throw new BrokerError('invalid_request', 'invalid accessor')
  about({ details: { grant_id: grant.id } })
  return grant
}

async function statusOf(ledger: Ledger, grant: Grant): Promise<ControlStatus> {
  const votes = await grantVotes(ledger, grant.id)
  const counts = ({ round, decision, endedAt, planHash }: GrantVote) =>
    round === 0 && decision === 'approve' && endedAt === null && planHash === grant.planHash
  return {
    approved: isAgreed(grant),
    grant,
    requester: { id: grant.requesterId, name: nameOf(grant.requester) },
    authorizations: votes.filter(counts).map(({ voterId, voter }) => ({ id: voterId, name: nameOf(voter) })),
  }
}

const nameOf = (who: object): string => String((who as Partial<Actor>).display_name ?? '')

/** Whether people have agreed, whatever has come of it since. */
const isAgreed = ({ state, startedAt }: Pick<Grant, 'state' | 'startedAt'>): boolean =>
  state === 'approved' || state === 'activating' || startedAt !== null

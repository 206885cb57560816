import type { Db, Ledger } from '../ledger/db.ts'
import { type GrantVote, grantVotes, insertVote, renewEvidence } from '../ledger/grant-votes.ts'
import { findGrant, type Grant } from '../ledger/grants.ts'
import { atMost } from '../lib/at-most.ts'
import { type BrokerError, messageOf } from '../lib/errors.ts'
import { matchesAny } from '../lib/glob.ts'
import type { Logger } from '../lib/log.ts'
import type { Actor } from './actor.ts'
import { deciding, won } from './deciding.ts'
import type { Moves } from './moves.ts'
import {
  type Evidence,
  evidenceOf,
  INCIDENT_VOTER,
  isAging,
  isOnCallVote,
  isRecent,
  type OnCallWord,
} from './on-call-evidence.ts'
import { pinnedPolicy } from './pinned.ts'
import { planIn } from './plan.ts'
import type { Policy } from './policies.ts'
import {
  applyLapse,
  approverSets,
  isApproved,
  lapseRefusal,
  losing,
  recheck,
  standingVotes,
} from './standing.ts'
import { type CheckTicket, checkTicketOf } from './ticket-check.ts'
import { approvedPatch } from './votes.ts'
import { nextActionAt } from './waiting.ts'

/** The vote of the incident system for a requester who is on call: one, of one set, for as long as its word is recent. */
export type OnCall = {
  /** The vote by what was said when the grant's ticket was checked, if that is enough for one. Never rejects. */
  cast(made: Grant, word: OnCallWord): Promise<void>
  /** Asks the incident system about a grant and does what follows; in its own time, and nobody has to wait for it. */
  ask(grantId: string): void
  /** The same of a vote that stands, at once. The refusal of who builds on a vote that has been lost by it. */
  renew(grant: Pick<Grant, 'id'>): Promise<BrokerError | undefined>
  /** Resolves when nothing that `ask` began is under way. */
  idle(): Promise<void>
  /** Lets what is being asked come to its end and asks nothing more. */
  stop(): Promise<void>
}

type OnCallParts = {
  ledger: Ledger
  moves: Moves
  checkTicket: CheckTicket
  log: Pick<Logger, 'warn'>
}

/** So many of one process ask at once; a system that hangs holds up its own requests only. */
const ASKING = 20

type Waiting = { grant: Grant; policy: Policy; votes: readonly GrantVote[] }

export function createOnCall(parts: OnCallParts): OnCall {
  const { ledger, log } = parts
  const asking = new Map<string, Promise<void>>()
  /** By the address of the system. */
  const turns = new Map<string, ReturnType<typeof atMost>>()
  let stopped = false

  const failed = (grantId: string) => (error: unknown) =>
    log.warn({ grantId, error: messageOf(error) }, 'who is on call could not be learnt; it is asked again')

  const inTurnAt = (url: string) => {
    const turn = turns.get(url) ?? atMost(ASKING)
    turns.set(url, turn)
    return turn
  }

  const askIf = async (grantId: string, isWanted: (waiting: Waiting) => boolean, inTurn = atOnce) => {
    const waiting = await waitingGrant(ledger, grantId)
    if (!waiting || !isWanted(waiting)) return undefined
    const { grant, policy } = waiting
    return inTurn(policy.spec.ticket_check_url)(async () => {
      const { onCall } = await checkTicketOf(parts.checkTicket, policy, grant)
      return onCall && settle(parts, grantId, { word: onCall, askedAt: grant.now })
    })
  }

  return {
    async cast(made, word) {
      if (!word?.vouches) return
      await settle(parts, made.id, { word, askedAt: made.requestedAt }).catch(failed(made.id))
    },
    ask(grantId) {
      if (stopped || asking.has(grantId)) return
      const asked = askIf(grantId, (waiting) => !stopped && wantsWord(waiting), inTurnAt)
      asking.set(
        grantId,
        asked.then(() => {}, failed(grantId)).finally(() => asking.delete(grantId)),
      )
    },
    async renew({ id }) {
      const refusal = await askIf(id, (waiting) => voteOf(waiting) !== undefined).catch(failed(id))
      return refusal ?? undefined
    },
    async idle() {
      while (asking.size > 0) await Promise.all(asking.values())
    },
    async stop() {
      stopped = true
      await Promise.all(asking.values())
    },
  }
}

/** For whoever waits at the door. */
const atOnce =
  (_url: string) =>
  <T>(work: () => Promise<T>): Promise<T> =>
    work()

/** Whether it is worth asking: there might be a vote, or the one there is will not count for long. */
export function wantsWord({ grant, policy, votes }: Waiting): boolean {
  if (!mayVouch(grant, policy)) return false
  const vote = voteOf({ grant, votes })
  return vote ? isAging(evidenceOf(vote), grant.now) : grant.state === 'pending'
}

const voteOf = (waiting: Pick<Waiting, 'grant' | 'votes'>): GrantVote | undefined =>
  standingVotes(waiting).find(isOnCallVote)

const LANES: ReadonlySet<string> = new Set(['standard', 'break_glass'])

/** Whether a policy takes the incident system's word at all, for this person and all of what is asked. */
function mayVouch(grant: Grant, policy: Policy): boolean {
  const { on_call, ticket_check_url } = policy.spec
  if (!on_call || ticket_check_url === '' || grant.ticket === '' || !LANES.has(grant.lane)) return false
  if ((grant.requester as Actor).kind !== 'human' || !approverSets(policy).includes(on_call.set)) return false
  return planIn(grant).roles.every(({ path }) => matchesAny(on_call.roles, path))
}

async function waitingGrant(db: Db, grantId: string): Promise<Waiting | undefined> {
  const grant = await findGrant(db, grantId)
  if (grant?.state !== 'pending' && grant?.state !== 'approved') return undefined
  return { grant, policy: await pinnedPolicy(db, grant), votes: await grantVotes(db, grantId) }
}

type Said = { word: NonNullable<OnCallWord>; askedAt: Date }

/** Casts the vote, keeps it, or takes it away; what is said of a grant that waits no more is for nobody. */
const settle = (
  { moves }: Pick<OnCallParts, 'moves'>,
  grantId: string,
  said: Said,
): Promise<BrokerError | undefined> =>
  deciding({ transaction: moves.byItself }, async (db) => {
    const waiting = await waitingGrant(db, grantId)
    if (!waiting || !mayVouch(waiting.grant, waiting.policy)) return undefined
    const vote = voteOf(waiting)
    if (said.word.vouches) {
      const evidence = evidenceFor(waiting.grant, { asOf: said.word.asOf, askedAt: said.askedAt })
      await (vote ? keep(db, vote, evidence, waiting) : castVote(db, moves, waiting, evidence))
      return undefined
    }
    // Somebody who asked later has heard otherwise.
    if (!vote || Date.parse(evidenceOf(vote).checked_at) > said.askedAt.getTime()) return undefined
    const lapse = losing(waiting, [vote.number], said.word.because)
    const moved = won(await applyLapse(db, moves, waiting, lapse))
    return moved.state === 'approved' ? undefined : lapseRefusal(lapse, moved)
  })

function evidenceFor(
  { ticket, requester }: Grant,
  { asOf, askedAt }: { asOf: Date; askedAt: Date },
): Evidence {
  const { subject, mount } = requester as Actor
  return {
    ticket,
    responder: { subject, mount },
    as_of: asOf.toISOString(),
    checked_at: askedAt.toISOString(),
  }
}

async function keep(db: Db, vote: GrantVote, evidence: Evidence, { grant }: Waiting): Promise<void> {
  const isNewer = Date.parse(evidence.checked_at) > Date.parse(evidenceOf(vote).checked_at)
  if (isNewer && isRecent(evidence, grant.now)) await renewEvidence(db, vote, evidence)
}

/** Rows 4a and 5a. A grant that has lapsed meanwhile is for whoever looks at it next. */
async function castVote(db: Db, moves: Moves, waiting: Waiting, evidence: Evidence): Promise<void> {
  const { grant, policy, votes } = waiting
  const set = policy.spec.on_call?.set
  if (set === undefined || grant.state !== 'pending' || !isRecent(evidence, grant.now)) return
  if (isOverruled(votes, evidence) || (await recheck(db, waiting))) return
  const mine = { voter: { ...INCIDENT_VOTER }, sets: [set] }
  const isEnough = isApproved({ grant, policy, votes: [...standingVotes(waiting), mine] })
  const to = isEnough ? 'approved' : 'pending'
  const patch = isEnough ? approvedPatch(waiting) : {}
  won(
    await moves.record(db, {
      grant,
      event: 'on_call_vote',
      to,
      who: 'incident',
      actor: INCIDENT_VOTER,
      set: { ...patch, nextActionAt: nextActionAt({ ...grant, ...patch, state: to }, policy.spec) },
      detail: { sets: [set], evidence },
    }),
  )
  await insertVote(db, {
    ...mine,
    evidence,
    grantId: grant.id,
    round: 0,
    voterId: INCIDENT_VOTER.id,
    decision: 'on_call',
    planHash: grant.planHash,
    comment: '',
  })
}

/** An earlier vote of its ended after this was asked: whoever ended it knew more. */
const isOverruled = (votes: readonly GrantVote[], { checked_at }: Evidence): boolean =>
  votes.some((vote) => isOnCallVote(vote) && vote.endedAt !== null && vote.endedAt >= new Date(checked_at))

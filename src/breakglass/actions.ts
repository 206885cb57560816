import { about } from '../audit/request.ts'
import type { Db, Ledger } from '../ledger/db.ts'
import type { GrantVote } from '../ledger/grant-votes.ts'
import { BrokerError } from '../lib/errors.ts'
import type { Actor } from './actor.ts'
import { deciding } from './deciding.ts'
import { stateRefusal } from './moves.ts'
import { maySee } from './sight.ts'
import { loadSituation, notParty, type Situation } from './situation.ts'
import { votesThatCount } from './standing.ts'
import type { GrantState } from './states.ts'

/** What may be done to a grant, as data: what a page offers and what the server lets pass are judged by one function. */
export type GrantAction = {
  name: string
  /** Several may have one name, for different states. */
  states: readonly GrantState[]
  /** Why the actor may not, undefined when they may. Asked in one of its states only. */
  verdict(situation: Situation): BrokerError | undefined
}

/** What an act must say that is given by its caller; `version`, if they say which they have seen. */
export type Act = {
  actor: Actor
  grantId: string
  version?: number | undefined
  /** Somebody who may look at everything hears why not, of a grant that is not theirs to see. */
  seesAll?: boolean
}

/** What the actor may do now, and why not what they could otherwise: nothing of what is not for them at all. */
export function judged(
  actions: readonly GrantAction[],
  situation: Situation,
): { allowed: string[]; refused: Record<string, string> } {
  const allowed: string[] = []
  const refused: Record<string, string> = {}
  for (const action of actions) {
    if (!action.states.includes(situation.grant.state as GrantState)) continue
    const refusal = action.verdict(situation)
    if (!refusal) allowed.push(action.name)
    else if (!isNobody(refusal)) refused[action.name] = refusal.message
  }
  return { allowed, refused }
}

const isNobody = ({ message }: BrokerError): boolean => message === notParty().message

/**
 * Reads a grant as the actor finds it and throws unless they may do this to it now. Who may not see it hears that there
 * is none. What it was about is on the record of the request either way.
 */
export async function situationFor(
  db: Db,
  { actor, grantId, version, seesAll = false }: Act,
  action: GrantAction,
): Promise<Situation> {
  const situation = await loadSituation(db, grantId, actor)
  if (!situation || !(seesAll || maySee(actor, situation.grant, situation.policy))) {
    throw new BrokerError('not_found', '')
  }
  about({ details: { grant_id: grantId, action: action.name } })
  const { grant } = situation
  if (!action.states.includes(grant.state as GrantState)) throw stateRefusal(grant)
  const refusal = action.verdict(situation)
  if (refusal) throw refusal
  if (version !== undefined && version !== grant.version) {
    throw new BrokerError('conflict', 'the request has changed since you looked at it', {
      data: { state: grant.state, version: grant.version },
    })
  }
  return { ...situation, votes: await votesFor(db, situation) }
}

/** Yeses to the grant itself are looked at again with everything else it rests on; the others are here. */
async function votesFor(db: Db, { policy, votes }: Situation): Promise<GrantVote[]> {
  const isOther = ({ round, decision, endedAt }: GrantVote) =>
    endedAt === null && (round > 0 || OTHERS.has(decision))
  const counting = await votesThatCount(db, policy, votes.filter(isOther))
  return votes.filter((vote) => !isOther(vote) || counting.includes(vote))
}

const OTHERS: ReadonlySet<string> = new Set(['resume', 'abandon', 'ratify'])

/** Does something to a grant in one transaction, decided by it as it is then. `refusal` is thrown after its commit. */
export async function act(
  ledger: Ledger,
  ask: Act,
  action: GrantAction,
  work: (db: Db, situation: Situation) => Promise<{ refusal?: BrokerError } | undefined>,
): Promise<void> {
  const done = await deciding(ledger, async (db) => work(db, await situationFor(db, ask, action)))
  if (done?.refusal) throw done.refusal
}

/** Throws unless the plan is the one that somebody has seen. */
export function mustHaveSeen({ grant }: Pick<Situation, 'grant'>, planHash: string): void {
  if (planHash === grant.planHash) return
  throw new BrokerError('conflict', 'the plan has changed', {
    data: { state: grant.state, version: grant.version, plan_hash: grant.planHash },
  })
}

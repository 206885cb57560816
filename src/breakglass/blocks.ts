import { about } from '../audit/request.ts'
import type { Db, Ledger } from '../ledger/db.ts'
import { blocksOf, type GrantBlock, grantBlocks, removeBlocks } from '../ledger/grant-reviews.ts'
import { findGrant } from '../ledger/grants.ts'
import { BrokerError } from '../lib/errors.ts'
import { partiesIn } from './access-actions.ts'
import type { Actor } from './actor.ts'
import { loginFault } from './eligibility.ts'
import { notParty, refusedBecause, type Situation, situationsOf } from './situation.ts'

/** People who may not ask for access until somebody settles what was found, in each of their requests. */
export type Blocks = {
  /** Those that the caller may settle; all of them with `all`. */
  list(actor: Actor, options: { all: boolean }): Promise<GrantBlock[]>
  /**
   * Settles what was found in one request, or in all of somebody's: each by an officer of the policy under which it was
   * found, and never by whom it is about. All that is meant, or nothing.
   */
  settle(
    actor: Actor,
    which: { requesterId: string; grantId: string | undefined },
    options: { all: boolean },
  ): Promise<void>
}

export function createBlocks(ledger: Ledger): Blocks {
  return {
    async list(actor, { all }) {
      const blocks = await grantBlocks(ledger)
      if (all) return blocks
      const mine = (await situationsAt(ledger, blocks, actor)).filter(isOfficer).map(({ grant }) => grant.id)
      return blocks.filter(({ grantId }) => mine.includes(grantId))
    },
    async settle(actor, { requesterId, grantId }, { all }) {
      const theirs = await blocksOf(ledger, requesterId)
      const blocks = grantId === undefined ? theirs : theirs.filter((block) => block.grantId === grantId)
      const [first] = blocks
      if (!first) throw new BrokerError('not_found', '')
      const ids = blocks.map((block) => block.grantId)
      about({
        details: { grant_id: first.grantId, block: first.reason, ...(ids.length > 1 && { settled: ids }) },
      })
      const situations = await situationsAt(ledger, blocks, actor)
      if (!all && situations.some(isOfficer) && !situations.every(isOfficer)) throw forOthersToo()
      for (const situation of situations) {
        const refusal = refusalOf(situation, { all })
        if (refusal) throw refusal
      }
      await removeBlocks(ledger, requesterId, ids)
    },
  }
}

async function situationsAt(db: Db, blocks: readonly GrantBlock[], actor: Actor): Promise<Situation[]> {
  const grants = await Promise.all(blocks.map(({ grantId }) => findGrant(db, grantId)))
  return situationsOf(
    db,
    grants.filter((grant) => grant !== undefined),
    actor,
  )
}

const isOfficer = (situation: Situation): boolean => partiesIn(situation).has('officer')

/** It lets somebody have access again, and so takes what a vote takes; only root and machines have no login to show. */
function refusalOf(situation: Situation, { all }: { all: boolean }): BrokerError | undefined {
  const { actor, blocked, policy, now } = situation
  if (partiesIn(situation).has('requester') || !(all || isOfficer(situation))) return notParty()
  if (blocked) return refusedBecause('you are blocked until your own use of access has been settled')
  const fault = all && actor.kind === 'workload' ? undefined : loginFault(actor, policy.spec, now)
  return fault === undefined ? undefined : refusedBecause(fault)
}

const forOthersToo = (): BrokerError =>
  refusedBecause('others have to settle what was found in other requests: say which is meant with "grant_id"')

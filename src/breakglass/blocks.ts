import { about } from '../audit/request.ts'
import type { Ledger } from '../ledger/db.ts'
import { findBlock, type GrantBlock, grantBlocks, removeBlock } from '../ledger/grant-reviews.ts'
import { findGrant } from '../ledger/grants.ts'
import { BrokerError } from '../lib/errors.ts'
import { type Actor, isSamePerson } from './actor.ts'
import { partiesOf } from './parties.ts'
import { pinnedPolicy } from './pinned.ts'

/** People who may not ask for access until somebody settles what was found. */
export type Blocks = {
  /** Those that the caller may settle; all of them with `all`. */
  list(actor: Actor, options: { all: boolean }): Promise<GrantBlock[]>
  /** Settles it: by an officer of the policy under which it was found, and never by whom it is about. */
  settle(actor: Actor, requesterId: string, options: { all: boolean }): Promise<void>
}

export function createBlocks(ledger: Ledger): Blocks {
  const maySettle = async (actor: Actor, block: GrantBlock): Promise<boolean> => {
    const grant = await findGrant(ledger, block.grantId)
    if (!grant) return false
    return partiesOf(actor, grant, await pinnedPolicy(ledger, grant)).has('officer')
  }

  return {
    async list(actor, { all }) {
      const blocks = await grantBlocks(ledger)
      if (all) return blocks
      const mine = await Promise.all(blocks.map((block) => maySettle(actor, block)))
      return blocks.filter((_, i) => mine[i])
    },
    async settle(actor, requesterId, { all }) {
      const block = await findBlock(ledger, requesterId)
      if (!block) throw new BrokerError('not_found', '')
      about({ details: { grant_id: block.grantId, block: block.reason } })
      const isOwn = isSamePerson(actor, block.requester as unknown as Actor)
      if (isOwn || !(all || (await maySettle(actor, block)))) {
        throw new BrokerError('permission_denied', 'permission denied')
      }
      await removeBlock(ledger, requesterId)
    },
  }
}

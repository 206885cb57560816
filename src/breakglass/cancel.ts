import type { Ledger } from '../ledger/db.ts'
import { endVotes } from '../ledger/grant-votes.ts'
import { type Act, act, type GrantAction } from './actions.ts'
import { type Actor, isSamePerson } from './actor.ts'
import { won } from './deciding.ts'
import type { Moves } from './moves.ts'
import { notParty } from './situation.ts'

/** Rows 9 and 13: before there is any access. */
export const CANCEL: GrantAction = {
  name: 'cancel',
  states: ['pending', 'approved'],
  verdict: ({ actor, grant }) => (isSamePerson(actor, grant.requester as Actor) ? undefined : notParty()),
}

export type Cancel = (ask: Act) => Promise<void>

export const createCancel =
  ({ ledger, moves }: { ledger: Ledger; moves: Moves }): Cancel =>
  (ask) =>
    act(ledger, ask, CANCEL, async (db, { grant, actor }) => {
      won(await moves.record(db, { grant, event: 'cancel', to: 'cancelled', who: 'requester', actor }))
      await endVotes(db, { grantId: grant.id, round: 0, because: 'cancelled' })
      return undefined
    })

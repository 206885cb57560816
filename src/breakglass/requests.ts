import type { CheckRoleFields } from '../lease/role-fields.ts'
import type { Ledger } from '../ledger/db.ts'
import { findGrantLeases } from '../ledger/grant-leases.ts'
import { grantEvents } from '../ledger/grants.ts'
import { listNotifications } from '../ledger/notifications.ts'
import type { Logger } from '../lib/log.ts'
import type { GrantAction } from './actions.ts'
import type { Actor } from './actor.ts'
import { CANCEL, type Cancel, createCancel } from './cancel.ts'
import { eligibleFor } from './eligible.ts'
import { type ListAsk, listRequests } from './listing.ts'
import { createLookAtWaiting, type LookAtWaiting } from './look.ts'
import type { Moves } from './moves.ts'
import { createOnCall, type OnCall } from './on-call.ts'
import { createSealed, type Sealed, WITNESS } from './sealed.ts'
import { maySee } from './sight.ts'
import { loadSituation } from './situation.ts'
import { createSubmit, type Submit } from './submit.ts'
import type { CheckTicket } from './ticket-check.ts'
import { wholeRequest } from './view.ts'
import { APPROVE, createVotes, DENY, type Votes, WITHDRAW } from './votes.ts'

/** Who looks: a person, and whether policy lets them see what is none of theirs. */
export type Viewer = { actor: Actor; seesAll: boolean }

export type WholeRequest = ReturnType<typeof wholeRequest>
export type RequestPage = Awaited<ReturnType<typeof listRequests>>

/** Requests for access up to the point where people have said yes or no, and the sight of them all the way. */
export type Requests = Votes &
  Sealed & {
    submit: Submit
    cancel: Cancel
    /** Undefined when there is none that they may see. */
    view(id: string, viewer: Viewer): Promise<WholeRequest | undefined>
    list(viewer: Viewer, ask: ListAsk): Promise<RequestPage>
    eligible(actor: Actor): ReturnType<typeof eligibleFor>
    lookAtWaiting: LookAtWaiting
    onCall: OnCall
  }

const DELIVERIES_SHOWN = 100

/** What may be done before there is any access. */
const BEFORE_ACCESS: readonly GrantAction[] = [APPROVE, DENY, WITHDRAW, WITNESS, CANCEL]

/** `accessActions`: what may be done from there on, for what is offered. */
export function createRequests(parts: {
  ledger: Ledger
  moves: Moves
  checkTicket: CheckTicket
  checkFields: CheckRoleFields
  accessActions: readonly GrantAction[]
  log: Pick<Logger, 'warn'>
}): Requests {
  const { ledger } = parts
  const onCall = createOnCall(parts)
  const actions = [...BEFORE_ACCESS, ...parts.accessActions]
  return {
    submit: createSubmit({ ...parts, onCall }),
    ...createVotes(parts),
    ...createSealed(parts),
    cancel: createCancel(parts),
    async view(id, { actor, seesAll }) {
      const situation = await loadSituation(ledger, id, actor)
      if (!situation || !(seesAll || maySee(actor, situation.grant, situation.policy))) return undefined
      const [events, leases, deliveries] = await Promise.all([
        grantEvents(ledger, id),
        findGrantLeases(ledger, id),
        listNotifications(ledger, { grantId: id, state: null, limit: DELIVERIES_SHOWN }),
      ])
      return wholeRequest(situation, { events, leases, deliveries }, actions)
    },
    list: (viewer, ask) => listRequests(ledger, viewer, ask, actions),
    eligible: (actor) => eligibleFor(ledger, actor),
    lookAtWaiting: createLookAtWaiting({ ...parts, onCall }),
    onCall,
  }
}

import { type Access, createAccess } from '../breakglass/access.ts'
import { ACCESS_ACTIONS } from '../breakglass/access-actions.ts'
import { GRANTS_WAKEUP } from '../breakglass/due.ts'
import { createMoves, type Moves } from '../breakglass/moves.ts'
import { DELIVERIES_WAKEUP } from '../breakglass/notify/deliverer.ts'
import { ticketCheckSecret } from '../breakglass/notify/destinations.ts'
import { tellingSoon } from '../breakglass/notify/telling.ts'
import { createPolicyBook, type PolicyBook } from '../breakglass/policy-book.ts'
import { createRequests, type Requests } from '../breakglass/requests.ts'
import { type CheckTicket, checkTicket } from '../breakglass/ticket-check.ts'
import { createGrantLeases } from '../lease/grant-leases.ts'
import { checkingRoleFields } from '../lease/role-fields.ts'
import type { Ledger } from '../ledger/db.ts'
import { findGrant } from '../ledger/grants.ts'
import { messageOf } from '../lib/errors.ts'
import { createRounds } from '../lib/rounds.ts'
import type { Base } from './base.ts'
import { connectFacts } from './connect-facts.ts'
import { type LeaseSide, processName, wakingAt } from './leases.ts'

export type BreakGlassSide = {
  moves: Moves
  policyBook: PolicyBook
  requests: Requests
  grantAccess: Access
  /** Rounds of its own, for a process that does nothing else; a worker's sweep goes round for all. */
  startGrants(): void
  stopGrants(): Promise<void>
}

/** Asking for access past what one has, who lets one, and what becomes of it. */
export function composeBreakGlass(
  { ledger: quiet, ...rest }: Base,
  leases: LeaseSide,
  intervalMs: number,
): BreakGlassSide {
  const { ledger, tell } = tellingSoon(quiet, () => rest.wakeups.wake(DELIVERIES_WAKEUP))
  const base = { ...rest, ledger }
  const { secrets, log } = base
  const moves = createMoves({ ledger, tell })
  const checkByPolicy: CheckTicket = async ({ id, name, spec }, ask) => {
    const key = await secrets.get(ticketCheckSecret(id))
    return checkTicket({ url: spec.ticket_check_url, key: key?.text }, { policy: name, ...ask })
  }
  const requests = createRequests({
    ledger,
    moves,
    checkTicket: checkByPolicy,
    checkFields: checkingRoleFields(leases.engineTypes),
    accessActions: ACCESS_ACTIONS,
    log,
  })
  const grantAccess = composeGrantAccess(base, leases, { moves, requests, checkTicket: checkByPolicy })
  const { due } = grantAccess
  const rounds = createRounds(
    () =>
      due.sweep().catch((error) => {
        log.error({ error: messageOf(error) }, 'the sweep of grants could not read the ledger')
      }),
    intervalMs,
  )
  return {
    moves,
    policyBook: createPolicyBook({ ledger, secrets }),
    requests: { ...requests, cancel: cancelAnywhere(ledger, requests, grantAccess) },
    grantAccess,
    startGrants: rounds.start,
    async stopGrants() {
      await rounds.stop()
      await due.stop()
      await requests.onCall.stop()
    },
  }
}

/** Before there is any access nothing has to be ended; while it is being made, something may. */
const cancelAnywhere =
  (ledger: Ledger, before: Pick<Requests, 'cancel'>, during: Pick<Access, 'cancel'>): Requests['cancel'] =>
  async (ask) => {
    const grant = await findGrant(ledger, ask.grantId)
    return grant?.state === 'activating' ? during.cancel(ask) : before.cancel(ask)
  }

function composeGrantAccess(
  { ledger, signer, wakeups, log }: Base,
  { issue, ender, mounts, targets, engineTypes }: LeaseSide,
  {
    moves,
    requests: { lookAtWaiting, onCall },
    checkTicket,
  }: Pick<BreakGlassSide, 'moves' | 'requests'> & { checkTicket: CheckTicket },
): Access {
  const wakeAt = wakingAt(wakeups)
  return createAccess({
    ...{ ledger, signer, moves, issue, ender, lookAtWaiting, onCall, checkTicket, connectFacts, log },
    grantLeases: createGrantLeases({ ledger, targets, engineTypes, log }),
    findMount: mounts.find,
    wake: wakeups.wake,
    wakeAt,
    wakeLook: (at, now) => at && wakeAt(GRANTS_WAKEUP, at, at.getTime() - now.getTime()),
    worker: processName(),
  })
}

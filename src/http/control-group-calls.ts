import type { Caller } from '../breakglass/access-parts.ts'
import { actorOf } from '../breakglass/actor.ts'
import type { ControlGroups, GuardedRead } from '../breakglass/control-group.ts'
import type { Wrapping } from '../identity/wrapping.ts'
import { BrokerError } from '../lib/errors.ts'
import { sensitive } from '../lib/sensitive.ts'
import type { Principal } from '../policy/principal.ts'
import { decidingOn } from './break-glass-caller.ts'
import type { Reply } from './envelope.ts'
import type { text } from './fields.ts'
import { leased } from './lease-answers.ts'
import type { Call, OpenCall } from './route.ts'

/** A read of a role's path, as those who guard it see it. */
export const guardedRead = (call: Call<{ reason: typeof text; ticket: typeof text }>): GuardedRead => ({
  principal: call.principal,
  source: call.source,
  revision: call.reading.revision,
  path: call.path,
  reason: call.fields.reason,
  ticket: call.fields.ticket,
  idempotencyKey: call.idempotencyKey,
  onUndelivered: call.onUndelivered,
})

/**
 * What the wrapping token of a control group opens: made now, and answered as the read itself would have been.
 * Undefined for every other token.
 */
export async function collected(
  { wrapping, controlGroups }: { wrapping: Pick<Wrapping, 'find'>; controlGroups: ControlGroups },
  call: OpenCall,
  token: string,
): Promise<Reply | undefined> {
  const facts = await wrapping.find(token)
  const grant = facts && (await controlGroups.find(facts.accessor))
  if (!grant) return undefined
  const issued = await controlGroups.collect(
    { grant, token: sensitive(token) },
    call.principal,
    (principal) => callerOf(call, principal),
  )
  return leased(issued)
}

/** People have been told of a request by its accessor, and another token has another one. */
export async function refuseControlled(
  { wrapping, controlGroups }: { wrapping: Pick<Wrapping, 'find'>; controlGroups: ControlGroups },
  token: string,
): Promise<void> {
  const facts = await wrapping.find(token)
  if (!facts || !(await controlGroups.find(facts.accessor))) return
  throw new BrokerError(
    'invalid_request',
    'the token of a control group request cannot be changed for another',
  )
}

function callerOf(call: OpenCall, principal: Principal): Caller {
  const { reading } = call
  if (!reading) throw new BrokerError('unavailable', 'the ledger does not answer')
  return {
    actor: actorOf(principal, call.source),
    principal,
    reading,
    decide: decidingOn(call.policy, principal),
    onUndelivered: call.onUndelivered,
  }
}

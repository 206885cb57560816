import type { Grant } from '../ledger/grants.ts'
import { post } from '../lib/post.ts'
import type { Sensitive } from '../lib/sensitive.ts'
import type { Actor } from './actor.ts'
import { urlFault } from './notify/destinations.ts'
import { signedHeaders } from './notify/sign.ts'
import { type OnCallWord, onCallWord } from './on-call-evidence.ts'
import { planIn } from './plan.ts'
import type { Policy } from './policies.ts'
import type { Lane } from './states.ts'

/** verified: the incident system knows it. refused: it does not. unverified: it could not be asked. */
export type TicketState = 'verified' | 'unverified' | 'refused'

/** With what it says of the requester, if they are on call for it. `isOver`: of the incident, which it does know. */
export type TicketAnswer = { state: TicketState; onCall: OnCallWord; isOver?: boolean }

/** Asks the incident system of a policy about a ticket; never throws. */
export type CheckTicket = (
  policy: Policy,
  ask: { ticket: string; requester: Actor; roles: readonly string[]; lane: Lane },
) => Promise<TicketAnswer>

/** The same of what somebody has asked for. */
export const checkTicketOf = (
  checkTicket: CheckTicket,
  policy: Policy,
  grant: Pick<Grant, 'ticket' | 'requester' | 'plan' | 'lane'>,
): Promise<TicketAnswer> =>
  checkTicket(policy, {
    ticket: grant.ticket,
    requester: grant.requester as Actor,
    roles: planIn(grant).roles.map(({ path }) => path),
    lane: grant.lane as Lane,
  })

export type TicketAsk = {
  policy: string
  ticket: string
  requester: Pick<Actor, 'display_name' | 'subject' | 'mount' | 'home'>
  roles: readonly string[]
  lane: string
}

/** Somebody waits for it, at three at night. */
const TIMEOUT_MS = 5_000
const ANSWER_BYTES = 16 * 1_024
/** The incident system knows of no such ticket. */
const UNKNOWN_STATUS = new Set([404, 410])
const UNVERIFIED: TicketAnswer = { state: 'unverified', onCall: null }
const REFUSED: TicketAnswer = {
  state: 'refused',
  onCall: { vouches: false, because: 'the incident system knows no such ticket' },
}

/**
 * Asks the incident system whether a ticket is one that may be worked on by this person. Never rejects: an incident
 * system that is down must not lock people out of an incident, and what was not verified is for the review. Only an
 * answer that says `{"valid": true}` verifies, so that a login page with status 200 does not; and nothing else that it
 * says, or says badly, makes it more or less verified.
 */
export async function checkTicket(
  { url, key }: { url: string; key: Sensitive | undefined },
  { requester: { display_name, subject, mount, home }, ...ask }: TicketAsk,
  timeoutMs = TIMEOUT_MS,
): Promise<TicketAnswer> {
  if (urlFault(url)) return UNVERIFIED
  const body = Buffer.from(JSON.stringify({ ...ask, requester: { display_name, subject, mount, home } }))
  const headers = {
    'Content-Type': 'application/json',
    Accept: 'application/json',
    'User-Agent': 'leasehold',
    ...signedHeaders(key, body),
  }
  const signal = AbortSignal.timeout(timeoutMs)
  try {
    const answer = await post(new URL(url), { headers, signal }, body, ANSWER_BYTES)
    if (UNKNOWN_STATUS.has(answer.status)) return REFUSED
    if (answer.status !== 200) return UNVERIFIED
    const said: unknown = JSON.parse(answer.body.toString('utf8'))
    const { valid, open } = said as { valid?: unknown; open?: unknown }
    if (valid === true)
      return {
        state: 'verified',
        isOver: open === false,
        onCall: onCallWord(said, { subject, mount, ...(home !== undefined && { home }) }),
      }
    return valid === false ? REFUSED : UNVERIFIED
  } catch {
    return UNVERIFIED
  }
}

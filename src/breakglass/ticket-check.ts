import { post } from '../lib/post.ts'
import type { Sensitive } from '../lib/sensitive.ts'
import type { Actor } from './actor.ts'
import { urlFault } from './notify/destinations.ts'
import { signedHeaders } from './notify/sign.ts'

/** verified: the incident system knows it. refused: it does not. unverified: it could not be asked. */
export type TicketState = 'verified' | 'unverified' | 'refused'

export type TicketAsk = {
  policy: string
  ticket: string
  requester: Pick<Actor, 'display_name' | 'subject' | 'mount'>
  roles: readonly string[]
  lane: string
}

/** Somebody waits for it, at three at night. */
const TIMEOUT_MS = 5_000
const ANSWER_BYTES = 16 * 1_024
/** The incident system knows of no such ticket. */
const UNKNOWN_STATUS = new Set([404, 410])

/**
 * Asks the incident system whether a ticket is one that may be worked on by this person. Never rejects: an incident
 * system that is down must not lock people out of an incident, and what was not verified is for the review. Only an
 * answer that says `{"valid": true}` verifies, so that a login page with status 200 does not.
 */
export async function checkTicket(
  { url, key }: { url: string; key: Sensitive | undefined },
  { requester: { display_name, subject, mount }, ...ask }: TicketAsk,
  timeoutMs = TIMEOUT_MS,
): Promise<TicketState> {
  if (urlFault(url)) return 'unverified'
  const body = Buffer.from(JSON.stringify({ ...ask, requester: { display_name, subject, mount } }))
  const headers = {
    'Content-Type': 'application/json',
    Accept: 'application/json',
    'User-Agent': 'leasehold',
    ...signedHeaders(key, body),
  }
  const signal = AbortSignal.timeout(timeoutMs)
  try {
    const answer = await post(new URL(url), { headers, signal }, body, ANSWER_BYTES)
    if (UNKNOWN_STATUS.has(answer.status)) return 'refused'
    if (answer.status !== 200) return 'unverified'
    const { valid } = JSON.parse(answer.body.toString('utf8')) as { valid?: unknown }
    if (valid === true) return 'verified'
    return valid === false ? 'refused' : 'unverified'
  } catch {
    return 'unverified'
  }
}

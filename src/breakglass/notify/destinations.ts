import { isLoopbackHost } from '../../lib/loopback.ts'
import type { GrantEvent } from '../states.ts'

/** Where a policy wants to have things told. Its key is in the secret store. */
export type Destination = {
  name: string
  type: 'webhook' | 'slack'
  url: string
  /** Absent: all. */
  events?: readonly GrantEvent[]
  /** Asked to decide when one of these sets is, and not before. Absent: from the first. */
  sets?: readonly string[]
}

/** As a policy keeps them; empty where it names none. */
export function destinationsOf({ notify }: Readonly<Record<string, unknown>>): readonly Destination[] {
  return Array.isArray(notify) ? (notify as Destination[]) : []
}

/** Which sets a policy has asked first, and which after them. */
export const stepsOf = ({
  approver_sets_escalation: steps,
}: Readonly<Record<string, unknown>>): readonly (readonly string[])[] =>
  Array.isArray(steps) ? (steps as string[][]) : []

/** The name in the built-in store of the key that messages to a destination of this policy version are signed with. */
export const destinationSecret = (policyId: string, destination: string): string =>
  `break-glass/${policyId}/${destination}`

/** No destination has it: their names have no slash. */
export const ticketCheckSecret = (policyId: string): string => `break-glass/${policyId}/ticket/check`

/**
 * Why we would not send anything there; undefined for a URL that is fine. What is sent names people and systems, so it
 * goes over TLS or stays on this machine; who may write policies may not make us ask anything else in the clear.
 */
export function urlFault(text: string): string | undefined {
  const url = URL.canParse(text) ? new URL(text) : undefined
  if (!url) return 'must be a URL'
  if (url.username !== '' || url.password !== '') return 'must not hold a user name or a password'
  if (url.hash !== '') return 'must not have a fragment'
  if (url.protocol === 'https:') return undefined
  if (url.protocol === 'http:' && isLoopbackHost(url.hostname)) return undefined
  return 'must begin with https://'
}

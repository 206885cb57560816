import { z } from 'zod'
import type { GrantVote } from '../ledger/grant-votes.ts'
import { isObject } from '../lib/objects.ts'
import type { Actor } from './actor.ts'
import { isKnownBy } from './eligibility.ts'

/** What the incident system's word for a requester is, and for how long it counts. */

type Named = Pick<Actor, 'subject' | 'mount' | 'home'>

/**
 * That the incident is open and the requester one of those who have taken it on, as things were at `asOf`; or that it is
 * not so, which takes less to believe. `null`: it has said neither.
 */
export type OnCallWord = { vouches: true; asOf: Date } | { vouches: false; because: string } | null

/** As the ledger keeps it with the vote. */
export type Evidence = {
  ticket: string
  responder: { subject: string; mount: string }
  /** How old what it goes by is, by its own word; RFC 3339, as `checked_at`, which is the ledger's time of asking. */
  as_of: string
  checked_at: string
}

/** Older than this, who is on call may be somebody else. */
const MAX_AGE_MS = 5 * 60_000
/** Its clock may be ahead of the ledger's by so much. */
const MAX_AHEAD_MS = 60_000
/** From this age on it is asked again, several times before what it said counts no more. */
const RENEWED_FROM_MS = 2 * 60_000

const RESPONDERS = z.array(
  z.union([
    z.string().transform((subject) => ({ subject, mount: undefined })),
    z.object({ subject: z.string(), mount: z.string().optional() }),
  ]),
)
const AS_OF = z.iso.datetime({ offset: true })

/** Reads an answer about a ticket that is valid. What is malformed says nothing, and never anything in favour. */
export function onCallWord(answer: unknown, requester: Named): OnCallWord {
  if (!isObject(answer)) return null
  if (answer.open === false) return { vouches: false, because: 'the incident is not open' }
  const responders = RESPONDERS.safeParse(answer.responders)
  if (!responders.success) return null
  if (!responders.data.some((one) => isNamed(requester, one))) {
    return { vouches: false, because: 'the requester is not one of its responders' }
  }
  const asOf = AS_OF.safeParse(answer.as_of)
  return answer.open === true && asOf.success ? { vouches: true, asOf: new Date(asOf.data) } : null
}

/** A subject alone is one by whichever mount they come; with a mount it is nobody of another one. */
function isNamed(requester: Named, named: { subject: string; mount?: string | undefined }): boolean {
  if (requester.subject === '' || requester.subject !== named.subject) return false
  const { mount } = named
  return mount === undefined || isKnownBy(requester, mount)
}

/** Whether it counts by `now`, the ledger's time. Nothing dated ahead of when it was said counts for longer by that. */
export const isRecent = (evidence: Evidence, now: Date): boolean =>
  Date.parse(evidence.as_of) - Date.parse(evidence.checked_at) <= MAX_AHEAD_MS &&
  ageMs(evidence, now) <= MAX_AGE_MS

/** Whether it is time to ask again. */
export const isAging = (evidence: Evidence, now: Date): boolean => !(ageMs(evidence, now) < RENEWED_FROM_MS)

const ageMs = ({ as_of, checked_at }: Evidence, now: Date): number =>
  now.getTime() - Math.min(Date.parse(as_of), Date.parse(checked_at))

export const isOnCallVote = ({ decision }: Pick<GrantVote, 'decision'>): boolean => decision === 'on_call'

export const evidenceOf = ({ evidence }: Pick<GrantVote, 'evidence'>): Evidence =>
  evidence as unknown as Evidence

/** The incident system as one who votes: nobody's voice but its own, in no group, and no person. */
export const INCIDENT_VOTER: Actor = {
  id: 'incident system',
  display_name: 'incident system',
  subject: '',
  mount: '',
  kind: 'workload',
  groups: [],
  person: '',
  amr: [],
  acr: '',
  auth_time: null,
  accessor: '',
  source_address: '',
}

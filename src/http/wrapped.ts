import { type Audited, about, onBehalfOf } from '../audit/request.ts'
import type { WrapInfo, WrappedTrace, Wrapping } from '../identity/wrapping.ts'
import { principalId } from '../policy/principal.ts'
import type { Found, Request } from './access.ts'
import type { Delivery } from './delivery.ts'
import { type Reply, type WireReply, wireReply } from './envelope.ts'
import type { Answer } from './route.ts'
import { toldPath } from './told-path.ts'

export type AnswerWrapping = Pick<Wrapping, 'wrap' | 'drop'>

type Answered = {
  wire: WireReply
  reply: Answer
  request: Request
  found: Found
  delivery: Delivery
  audited: Audited
}

/**
 * The reply, or the token under which it waits when that was asked. What the reply made stays as it is meanwhile: a
 * lease whose wrapped credential nobody fetches ends at its own time. Only when the wrapping token does not reach its
 * caller is all of it undone. Under which accessor it waits is in the request's event, or, when that is written already
 * with what the request changed, in one more.
 */
export async function wrapped(wrapping: AnswerWrapping, answered: Answered): Promise<WireReply> {
  const { wire, reply, request, found, delivery, audited } = answered
  const { wrapTtlSeconds: ttlSeconds } = request
  if (ttlSeconds === undefined || wire.body === undefined || !isWrappable(answered)) return wire
  const { body } = wire
  const creationPath = found.path
  const onRecord = audited.closed ? wrappingAlone(audited) : audited
  const info = await onBehalfOf(onRecord, () =>
    wrapping.wrap(body, { ttlSeconds, creationPath, principalId: keptFor(answered) }, (token, accessor) => {
      delivery.onUndelivered(() => wrapping.drop(token))
      about({ details: { ...onRecord.facts.details, ...wrappingDetails({ accessor, creationPath }) } })
    }),
  )
  const accessor = reply?.auth?.accessor || undefined
  return wireReply(
    { wrapInfo: { ...shownWrapInfo(info), ...(accessor !== undefined && { wrapped_accessor: accessor }) } },
    { requestId: '', operation: found.operation, mountType: found.mount?.type ?? '', warnings: [] },
  )
}

/** Whose room it takes: the caller's, or the login's; with a wrapping token alone that of whoever had it wrapped. */
function keptFor({ reply, request: { principal } }: Answered): string {
  if (principal) return principalId(principal)
  return reply?.keptFor ?? String(reply?.auth?.entity_id ?? '')
}

/** What the request did is on record; that its answer was wrapped is an event of its own. */
const wrappingAlone = (audited: Audited): Audited => ({
  ...audited,
  facts: { ...audited.facts },
  closed: false,
  event(result, facts) {
    const event = audited.event(result, facts)
    return event && { ...event, type: 'request', what: { operation: 'wrap', path: event.what.path } }
  },
})

/** By which an answer can be followed through the audit log, from its wrapping to whoever opens it. */
export const wrappingDetails = ({ accessor, creationPath }: WrappedTrace) => ({
  wrapping_accessor: accessor,
  creation_path: toldPath(creationPath),
})

/**
 * Not errors, not what is wrapped already, not text (what is unwrapped is JSON), and not what anyone may read without
 * a token: that is no secret, and keeping it would let anyone fill the ledger. What a login gives is one.
 */
function isWrappable({ wire, reply, request, found: { endpoint } }: Answered): boolean {
  if (!reply || reply.wrapInfo || reply.text || wire.status >= 300) return false
  return endpoint?.proof === 'token' || request.principal !== undefined || reply.auth !== undefined
}

/** As the dialect shows it. The text of the token is revealed here and nowhere else. */
export const shownWrapInfo = (info: WrapInfo): NonNullable<Reply['wrapInfo']> => ({
  token: info.token.reveal(),
  accessor: info.accessor,
  ttl: info.ttlSeconds,
  creation_time: info.createdAt.toISOString(),
  creation_path: info.creationPath,
})

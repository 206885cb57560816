import type { WrapInfo, Wrapping } from '../identity/wrapping.ts'
import type { Found, Request } from './access.ts'
import type { Delivery } from './delivery.ts'
import { type Reply, type WireReply, wireReply } from './envelope.ts'
import type { Answer } from './route.ts'

export type AnswerWrapping = Pick<Wrapping, 'wrap' | 'drop'>

type Answered = { wire: WireReply; reply: Answer; request: Request; found: Found; delivery: Delivery }

/**
 * The reply, or the token under which it waits when that was asked. What the reply made stays as it is meanwhile: a
 * lease whose wrapped credential nobody fetches ends at its own time. Only when the wrapping token does not reach its
 * caller is all of it undone.
 */
export async function wrapped(wrapping: AnswerWrapping, answered: Answered): Promise<WireReply> {
  const { wire, reply, request, found, delivery } = answered
  const { wrapTtlSeconds: ttlSeconds } = request
  if (ttlSeconds === undefined || wire.body === undefined || !isWrappable(answered)) return wire
  const info = await wrapping.wrap(wire.body, { ttlSeconds, creationPath: found.path }, (token) =>
    delivery.onUndelivered(() => wrapping.drop(token)),
  )
  const accessor = reply?.auth?.accessor || undefined
  return wireReply(
    { wrapInfo: { ...shownWrapInfo(info), ...(accessor !== undefined && { wrapped_accessor: accessor }) } },
    { requestId: '', operation: found.operation, mountType: found.mount?.type ?? '', warnings: [] },
  )
}

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

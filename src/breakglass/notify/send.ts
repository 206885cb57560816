import { messageOf as errorText } from '../../lib/errors.ts'
import { post } from '../../lib/post.ts'
import type { Sensitive } from '../../lib/sensitive.ts'
import { type Destination, urlFault } from './destinations.ts'
import { failureWords } from './failure.ts'
import type { Message } from './message.ts'
import { signedHeaders } from './sign.ts'
import { slackBody } from './slack.ts'

/**
 * `status` null: there was no answer. `error` says what kind of failure it was, for the record; `cause` is all that is
 * known of it, for the log.
 */
export type Sent =
  | { delivered: true; status: number }
  | { delivered: false; status: number | null; error: string; cause?: string }

export type Send = (
  to: Pick<Destination, 'type' | 'url'>,
  message: Message,
  key: Sensitive | undefined,
  stopping: AbortSignal,
) => Promise<Sent>

const TIMEOUT_MS = 10_000
const CAUSE_CHARACTERS = 300

/** Never rejects. Any 2xx says that it was taken; a redirect is followed nowhere, and what the answer says is not read. */
export const send: Send = async ({ type, url }, message, key, stopping) => {
  const fault = urlFault(url)
  if (fault) return { delivered: false, status: null, error: `url ${fault}` }
  const body = Buffer.from(JSON.stringify(type === 'slack' ? slackBody(message) : message))
  const timeout = AbortSignal.timeout(TIMEOUT_MS)
  const headers = {
    'Content-Type': 'application/json',
    'User-Agent': 'leasehold',
    'Leasehold-Delivery': message.id,
    ...signedHeaders(key, body),
  }
  try {
    const { status } = await post(
      new URL(url),
      { headers, signal: AbortSignal.any([timeout, stopping]) },
      body,
    )
    if (status >= 200 && status <= 299) return { delivered: true, status }
    return { delivered: false, status, error: `the answer was HTTP ${status}` }
  } catch (error) {
    const words = timeout.aborted ? `no answer within ${TIMEOUT_MS / 1_000} s` : failureWords(error)
    const cause = errorText(error).slice(0, CAUSE_CHARACTERS)
    return { delivered: false, status: null, error: words, cause }
  }
}

import type { DeliveryLog } from '../breakglass/notify/log.ts'
import type { Requests } from '../breakglass/requests.ts'
import { BrokerError } from '../lib/errors.ts'
import { viewerOf } from './break-glass-caller.ts'
import { type Fields, int, oneOf, text } from './fields.ts'
import { type Answer, type Call, handle, type Route } from './route.ts'

const FIELDS = { request: text, state: oneOf('waiting', 'delivered', 'failed'), limit: int } satisfies Fields

const MOST = 200
const SHOWN = 50

type Parts = { requests: Pick<Requests, 'view'>; deliveries: DeliveryLog }

/** What was told of requests, and to whom; relative to `break-glass/`. */
export const breakGlassDeliveryRoutes = (parts: Parts): Route[] => [
  { path: 'deliveries', on: { read: handle(FIELDS, (call) => list(parts, call)) } },
]

/** Of one request to whoever may see that one; of all to who may see them all. */
async function list({ requests, deliveries }: Parts, call: Call<typeof FIELDS>): Promise<Answer> {
  const { request, state, limit = SHOWN } = call.fields
  if (limit < 1 || limit > MOST) {
    throw new BrokerError(
      'invalid_request',
      `Field validation failed: field "limit" must be from 1 to ${MOST}`,
    )
  }
  const viewer = await viewerOf(call)
  if (!request && !viewer.seesAll) {
    throw new BrokerError('invalid_request', 'Field validation failed: field "request" is required')
  }
  if (request && !viewer.seesAll && !(await requests.view(request, viewer))) {
    throw new BrokerError('not_found', '')
  }
  const rows = await deliveries({ grantId: request, state, limit })
  return {
    data: {
      deliveries: rows.map((row) => ({
        id: row.id,
        request: row.grantId,
        policy: row.policy,
        destination: row.destination,
        event: row.event,
        state: row.state,
        attempts: row.attempts,
        created_at: row.createdAt.toISOString(),
        next_attempt_at: row.nextAttemptAt?.toISOString() ?? null,
        last_status: row.lastStatus,
        last_error: row.lastError,
        settled_at: row.settledAt?.toISOString() ?? null,
      })),
    },
  }
}

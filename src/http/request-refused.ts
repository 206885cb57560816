import type { AuditEvent, Detail } from '../audit/event.ts'
import { refusalOf } from '../identity/refusal.ts'
import { limitReached } from '../lease/rate-limits.ts'
import { BrokerError } from '../lib/errors.ts'
import type { Request } from './access.ts'
import { unprovenPath } from './request-unproven.ts'
import { toldPath } from './told-path.ts'

/** What the audit log has of the answer to a request. */
export function told(
  request: Request,
  { status, error }: { status: number; error?: unknown },
): AuditEvent['outcome'] {
  if (error === undefined) return { status }
  if (!(error instanceof BrokerError)) return { status, error: 'internal', message: 'internal error' }
  return { status, error: error.code, message: toldMessage(request, error.message) }
}

/** Some texts repeat the path, and some of them in quotes. */
function toldMessage({ found, principal }: Request, message: string): string {
  const path = found?.path.replace(/\/$/, '') ?? ''
  const shown = principal ? toldPath(path) : unprovenPath(toldPath(path))
  return message.replaceAll(JSON.stringify(path), () => JSON.stringify(shown)).replaceAll(path, () => shown)
}

/** Why, as far as there is more to say than the caller hears. */
export function whyRefused(error: unknown): { [name: string]: Detail } {
  const { reason, detail } = refusalOf(error) ?? {}
  return { ...(reason && { reason }), ...(detail && { detail }), ...whichLimit(error) }
}

/** By whom requests are counted together tells of whom this one was. */
function whichLimit(error: unknown): { limited_by?: Detail } {
  const reached = limitReached(error)
  if (!reached) return {}
  const { limit, quota, countedBy, max, windowSeconds } = reached
  return {
    limited_by: {
      limit,
      ...(quota !== undefined && { quota }),
      counted_by: countedBy,
      max,
      window_seconds: windowSeconds,
    },
  }
}

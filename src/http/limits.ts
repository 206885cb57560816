import { LoginRefused, type RefusalReason } from '../identity/jwt/refusal.ts'
import type { LoginAttempts } from '../lease/login-attempts.ts'
import type { Quotas, RateQuota } from '../lease/quotas.ts'
import { sourceKey, type TakeRate, tooMany } from '../lease/rate-limits.ts'
import { BrokerError, httpStatus } from '../lib/errors.ts'
import { principalId } from '../policy/principal.ts'
import { type AccessParts, type Found, identified, prove, type Request } from './access.ts'
import type { Parameters, Reading } from './ports.ts'
import type { Answer } from './route.ts'

/** How much may be asked. */
export type Limits = { rateAt: Quotas['rateAt']; takeRate: TakeRate; attempts: LoginAttempts }

type Parts = AccessParts & { limits: Limits }

/**
 * Proves the caller unless the rate limit of the path has been passed. A limit on principals counts who is not proven
 * by source address, so that guessing tokens is limited too.
 */
export async function proveWithinRate(
  parts: Parts,
  request: Request,
  found: Found,
  parameters: Parameters,
): Promise<void> {
  const proving = () => prove(parts, request, found.endpoint, parameters)
  if (EXEMPT.has(found.path)) return proving()
  const { reading } = await identified(parts, request)
  const path = found.path.replace(/\/$/, '')
  const quota = await parts.limits.rateAt(reading.revision, path)
  if (!quota) return proving()

  const take = () => takeOne(parts, { quota, key: keyOf(quota, request), path, reading })
  if (quota.by !== 'principal') {
    await take()
    return proving()
  }
  await proving().catch(async (error) => {
    await take()
    throw error
  })
  await take()
}

/** What tells anyone how this server is, or how to check a receipt, also when the ledger is away. */
const EXEMPT = new Set(['sys/health', 'sys/seal-status', 'sys/init', 'sys/leader', 'sys/leasehold/jwks'])

function keyOf({ by }: RateQuota, { source, principal }: Request): string {
  if (by === 'none') return ''
  return by === 'principal' && principal ? principalId(principal) : sourceKey(source)
}

async function takeOne(
  { limits }: Parts,
  { quota, key, path, reading }: { quota: RateQuota; key: string; path: string; reading: Reading },
): Promise<void> {
  const { id: counter, max, windowSeconds, blockSeconds } = quota
  const waitSeconds = await limits.takeRate({ counter, key, max, windowSeconds, blockSeconds }, reading)
  if (waitSeconds === undefined) return
  throw tooMany(`request path ${JSON.stringify(path)}: rate limit quota exceeded`, waitSeconds)
}

const NOT_THEIRS: readonly RefusalReason[] = ['issuer_unreachable', 'provider_unreachable']

/** An issuer that cannot be reached is told with the dialect's 400. */
function isCallersFault(error: unknown): boolean {
  if (!(error instanceof BrokerError) || httpStatus(error) >= 500) return false
  return !(error instanceof LoginRefused && NOT_THEIRS.includes(error.reason))
}

/** Runs a handler; one that is a login only while few enough have failed. */
export async function runLimited(
  parts: Parts,
  request: Request,
  { mount, endpoint }: Found,
  parameters: Parameters,
  run: () => Promise<Answer>,
): Promise<Answer> {
  if (!endpoint?.login || !mount) return run()
  const { reading } = await identified(parts, request)
  const named = typeof parameters.role === 'string' ? parameters.role : ''
  const roleName = 'role' in endpoint.fields ? named : undefined
  const attempt = { source: request.source, mountId: mount.id, roleName, reading, isCallersFault }
  return parts.limits.attempts(attempt, run)
}

import { refusalOf } from '../identity/refusal.ts'
import type { LoginAttempts } from '../lease/login-attempts.ts'
import type { Quotas, RateQuota } from '../lease/quotas.ts'
import { sourceKey, type TakeRate, tooMany } from '../lease/rate-limits.ts'
import { BrokerError, httpStatus } from '../lib/errors.ts'
import { checkGranting, type MayGrant } from '../lib/granting.ts'
import { principalId } from '../policy/principal.ts'
import { type AccessParts, type Found, identified, prove, type Request, roleOf } from './access.ts'
import { decode } from './fields.ts'
import type { Parameters, Reading } from './ports.ts'
import type { Answer, Endpoint } from './route.ts'

/** How much may be asked. */
export type Limits = {
  rateAt: Quotas['rateAt']
  rateOfTarget: Quotas['rateOfTarget']
  takeRate: TakeRate
  attempts: LoginAttempts
  mayGrant?: MayGrant
}

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
  const proving = () => proveOrCount(parts, request, found, parameters)
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
    if (isUnproven(error)) await take()
    throw error
  })
  await take()
}

/** So many requests that nobody proves to be theirs are answered, of one source, on all servers together. */
export const UNPROVEN = { max: 600, windowSeconds: 60 }

const isUnproven = (error: unknown): boolean =>
  error instanceof BrokerError && error.code === 'permission_denied'

/** Without any quota: each of these would be an event of the audit log, and costs whoever sends it nothing. */
async function proveOrCount(
  parts: Parts,
  request: Request,
  { endpoint }: Found,
  parameters: Parameters,
): Promise<void> {
  await prove(parts, request, endpoint, parameters).catch(async (error) => {
    if (isUnproven(error)) await countUnproven(parts, request)
    throw error
  })
  // Such a login is refused before it is one, and so is no failed login.
  if (endpoint && provesItself(endpoint) && !isDecodable(endpoint, parameters)) {
    await countUnproven(parts, request)
  }
}

/** A login, or anything else whose proof is in what is sent. */
export const provesItself = ({ login, signed }: Endpoint): boolean => login === true || signed === true

/** Throws 429 once there were too many of the source. A proven caller is never asked. */
export async function countUnproven(parts: Parts, request: Request): Promise<void> {
  const { reading } = await identified(parts, request)
  const rate = { counter: 'unproven-requests', key: sourceKey(request.source), ...UNPROVEN, blockSeconds: 0 }
  const full = await parts.limits.takeRate(rate, reading)
  if (!full) return
  throw tooMany('too many requests without a good token; try again later', full.waitSeconds, {
    limit: rate.counter,
    countedBy: 'ip',
    ...UNPROVEN,
    first: full.first,
  })
}

function isDecodable({ fields }: Endpoint, sent: Parameters): boolean {
  try {
    decode(fields, sent)
    return true
  } catch {
    return false
  }
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
  const { id, name, by, max, windowSeconds, blockSeconds } = quota
  // One that is written anew with another maximum counts anew: the first refusal is told by the maximum.
  const counter = `${id} ${max}`
  const full = await limits.takeRate({ counter, key, max, windowSeconds, blockSeconds }, reading)
  if (!full) return
  throw tooMany(`request path ${JSON.stringify(path)}: rate limit quota exceeded`, full.waitSeconds, {
    limit: 'rate-limit',
    quota: name,
    countedBy: by,
    max,
    windowSeconds,
    first: full.first,
  })
}

/** After policy, so that nobody uses up what a connection may be asked for who has nothing to ask of it. */
async function takeOfTarget(parts: Parts, request: Request, found: Found): Promise<void> {
  const { role } = roleOf(found, found.endpoint)
  if (!role) return
  const { reading } = await identified(parts, request)
  const ask = { path: found.path, mountId: role.mountId, roleName: role.name }
  const quota = await parts.limits.rateOfTarget(reading.revision, ask)
  if (quota) await takeOne(parts, { quota, key: keyOf(quota, request), path: found.path, reading })
}

const NOT_THEIRS = new Set<string | undefined>([
  'issuer_unreachable',
  'provider_unreachable',
  'selector_needs_reviewer',
])

/** An issuer that cannot be reached is told with the dialect's 400, a cluster that cannot be asked mostly with 500. */
function isCallersFault(error: unknown): boolean {
  if (error instanceof RefusedByAnswer) return isCallersFault(error.cause)
  if (!(error instanceof BrokerError) || httpStatus(error) >= 500) return false
  return !NOT_THEIRS.has(refusalOf(error)?.reason)
}

/**
 * Runs a handler; one that grants only while anything may be granted, one that asks something of a connection only
 * within its rate, a login only while few enough have failed. A wrapping token is proven by the handler alone, so a bad
 * one is counted when the handler has refused it.
 */
export async function runLimited(
  parts: Parts,
  request: Request,
  found: Found,
  parameters: Parameters,
  run: () => Promise<Answer>,
): Promise<Answer> {
  const { mount, endpoint } = found
  if (endpoint?.login || endpoint?.grants) checkGranting(parts.limits.mayGrant)
  await takeOfTarget(parts, request, found)
  if (endpoint?.byWrappingToken && !request.principal) {
    return run().catch(async (error) => {
      if (isCallersFault(error)) await countUnproven(parts, request)
      throw error
    })
  }
  if (!endpoint || !provesItself(endpoint) || !mount) return run()
  const { reading } = await identified(parts, request)
  const roleName = roleNamed(endpoint, parameters)
  const attempt = { source: request.source, mountId: mount.id, roleName, reading, isCallersFault }
  try {
    return await parts.limits.attempts(attempt, async () => orThrown(await run()))
  } catch (error) {
    request.failedLogin = isCallersFault(error) ? 'refused' : 'failed'
    if (error instanceof RefusedByAnswer) return error.answer
    throw error
  }
}

/** As the handler has it: a name that is sent as a number is that name. */
function roleNamed(
  { login, loginField: field = login ? 'role' : null, fields }: Endpoint,
  sent: Parameters,
): string | undefined {
  const named = field === null ? undefined : fields[field]
  if (field === null || !named) return undefined
  const decoded: Record<string, unknown> = decode({ [field]: named }, sent)
  return String(decoded[field] ?? '')
}

class RefusedByAnswer extends Error {
  readonly answer: Answer

  constructor(answer: Answer) {
    super('refused by an answer', { cause: answer?.refusal })
    this.answer = answer
  }
}

function orThrown(answer: Answer): Answer {
  if (answer?.refusal !== undefined) throw new RefusedByAnswer(answer)
  return answer
}

import { BrokerError } from '../lib/errors.ts'
import { BAD_TOKEN } from './envelope.ts'
import { spellingsOf } from './fields.ts'
import type {
  AclOperation,
  Authorizer,
  Decision,
  Identified,
  Mount,
  Operation,
  Parameters,
  Principal,
  Question,
  Reading,
} from './ports.ts'
import type { Target } from './request-line.ts'
import { type Captures, type Endpoint, matchRoute, type Route } from './route.ts'

/** What a request's way to its handler needs: who is calling, what is meant, and whether policy lets it be. */
export type AccessParts = {
  /** Reads the ledger for a request, and whose token it carries, if it carries one. */
  identify(token: string | undefined): Promise<Identified>
  authorizer: Authorizer
  /** The live mount that `path` lies in. Not asked about `sys/` and `break-glass/`. */
  findMount(path: string, reading: Reading): Promise<Mount | undefined>
  /** The table of a mount's type, at its path; `system` is `sys/`. Empty for a type without one. */
  routesOf(mountType: string, path: string): readonly Route[]
}

/** What is known of a request so far; each check adds to it, and the log line and the error reply read it. */
export type Request = {
  id: string
  /** What the caller calls it. */
  clientRequestId?: string | undefined
  source: string
  tls: boolean
  token: string | undefined
  /** Asked for when first needed: what needs neither token nor mount, such as health, needs no ledger. */
  identified?: Promise<Identified>
  operation?: Operation
  parameters?: Parameters
  found?: Found
  principal?: Principal
  decision?: Decision
  /** For how long its answer shall wait wrapped, if it shall. */
  wrapTtlSeconds?: number
  /** Of a login that was not let in: refused to its caller, or failed by a ledger, an issuer or a cluster. */
  failedLogin?: 'refused' | 'failed'
}

const SYSTEM: Mount = {
  id: 'sys',
  accessor: 'system_sys',
  path: 'sys/',
  type: 'system',
  description: '',
  config: {},
  options: null,
}

const BREAK_GLASS: Mount = {
  ...SYSTEM,
  id: 'break-glass',
  accessor: 'break-glass_break-glass',
  path: 'break-glass/',
  type: 'break-glass',
}

/** Always there, and in no ledger. */
const BUILT_IN = [SYSTEM, BREAK_GLASS]

export type Found = {
  operation: Operation
  /** The path as policy judges it and handlers see it. */
  path: string
  mount: Mount | undefined
  route: Route | undefined
  endpoint: Endpoint | undefined
  captures: Captures
}

/** Looks up what the request means, and says nothing yet about what is missing: that is for callers with rights. */
export async function find(
  parts: AccessParts,
  request: Request,
  target: Pick<Target, 'path'>,
  operation: Operation,
): Promise<Found> {
  const mount =
    BUILT_IN.find(({ path }) => `${target.path}/`.startsWith(path)) ??
    (await parts.findMount(target.path, (await identified(parts, request)).reading))
  const rest = mount ? target.path.slice(mount.path.length) : ''
  const match = mount && matchRoute(parts.routesOf(mount.type, mount.path), rest)
  const path = match?.route.caseless ? `${mount?.path}${rest.toLowerCase()}` : target.path
  return {
    operation,
    path: operation === 'list' ? `${path}/` : path,
    mount,
    route: match?.route,
    endpoint: match?.route.on[operation],
    captures: match?.captures ?? {},
  }
}

export const identified = (parts: AccessParts, request: Request): Promise<Identified> =>
  (request.identified ??= parts.identify(request.token))

const badToken = () => new BrokerError('permission_denied', BAD_TOKEN)
const denied = () => new BrokerError('permission_denied', 'permission denied')

export async function prove(
  parts: AccessParts,
  request: Request,
  endpoint: Endpoint | undefined,
  parameters: Parameters,
): Promise<void> {
  const proof = endpoint?.proof ?? 'token'
  if (standsForItself(endpoint, request.token, parameters)) return
  if (proof === 'none' || (proof === 'optional' && request.token === undefined)) return
  if (request.token === undefined) throw badToken()
  const { prove } = await identified(parts, request)
  request.principal = await prove(request.source).catch((error) => {
    throw error instanceof BrokerError && error.code === 'permission_denied' ? badToken() : error
  })
}

/**
 * A wrapping token as the client token is all the right it takes to use it, and the handler tells whether it is good.
 * To use one as somebody with a token of their own takes proof and policy as anything does.
 */
const standsForItself = (
  endpoint: Endpoint | undefined,
  token: string | undefined,
  parameters: Parameters,
): boolean =>
  endpoint?.byWrappingToken === true && token !== undefined && (parameters.token || token) === token

/** Policy comes before any 404 or 405, so that no one learns what exists where they have no rights. */
export async function allow(
  parts: AccessParts,
  request: Request,
  found: Found,
  parameters: Parameters,
): Promise<void> {
  if (!isJudged(found, request.token, parameters)) return
  const { principal, wrapTtlSeconds } = request
  if (!principal) throw badToken()
  const { reading } = await identified(parts, request)
  const circumstances = {
    ...circumstancesOf(request, reading),
    principal,
    parameters,
    ...(wrapTtlSeconds !== undefined && { wrapTtlSeconds }),
  }
  request.decision = await parts.authorizer.decide(await questionOf(found, circumstances))
  if (!request.decision.allowed) throw denied()
}

/** Whether policy is asked at all, of a request in hand and of one that somebody only asks about. */
export const isJudged = ({ endpoint }: Found, token: string | undefined, parameters: Parameters): boolean =>
  (!endpoint || endpoint.proof === 'token') && !standsForItself(endpoint, token, parameters)

type Circumstances = Omit<Question, 'operation' | 'path' | 'sudo' | 'role'>

export const circumstancesOf = ({ source, tls }: Request, { revision, now }: Reading) => ({
  sourceAddress: source,
  tls,
  namespace: '',
  revision,
  now,
})

/** What policy is asked, of a request in hand and of one that somebody only asks about. */
export async function questionOf(found: Found, circumstances: Circumstances): Promise<Question> {
  return {
    ...circumstances,
    ...roleOf(found, found.endpoint),
    ...(found.endpoint && { spellings: spellingsOf(found.endpoint.fields) }),
    operation: await operationOf(found),
    path: found.path,
    sudo: found.endpoint?.sudo ?? false,
  }
}

export function roleOf({ mount, captures }: Found, endpoint: Endpoint | undefined): Pick<Question, 'role'> {
  const name = endpoint?.role === undefined ? undefined : captures[endpoint.role]
  return mount && name !== undefined ? { role: { mountId: mount.id, mountPath: mount.path, name } } : {}
}

/** As policy names it. */
async function operationOf({ operation, mount, endpoint, captures }: Found): Promise<AclOperation> {
  if (operation !== 'update' || !mount || !endpoint?.exists) return operation
  return (await endpoint.exists({ mount, capture: capturing(captures) })) ? 'update' : 'create'
}

export const capturing =
  (captures: Captures) =>
  (name: string): string => {
    const value = captures[name]
    if (value === undefined) throw new Error(`the route captures nothing under ${name}`)
    return value
  }

import type { Sensitive } from '../lib/sensitive.ts'
import type { Reply } from './envelope.ts'
import type { Decoded, Fields } from './fields.ts'
import type {
  Decision,
  Explained,
  GrantedPattern,
  Mount,
  Operation,
  Parameters,
  Principal,
  Question,
  Reading,
} from './ports.ts'

/**
 * A route is data. `path` is relative to its mount. Captures: `:name` takes a name as the dialect allows them
 * (letters, digits, `_`, and `-` or `.` inside), `:rest*` takes anything, slashes included, but not nothing.
 * The first route of a table that matches wins, so the one for `tune` under a mount stands before the mount's own.
 */
export type Route = {
  path: string
  /** Names in it have no case. They are in lower case from here on, for policy first of all: one thing has one path. */
  caseless?: true
  on: { readonly [O in Operation]?: Endpoint }
}

/** undefined says "nothing": 204 after a write or delete, 404 with no text for a read or a list. */
export type Answer = Reply | undefined

export type OpenCall<F extends Fields = Fields> = {
  requestId: string
  operation: Operation
  mount: Mount
  /** Decoded, without `/v1/`: `database/creds/app`. Ends in a slash only for `list`. */
  path: string
  fields: Decoded<F>
  /** Every field as it was sent, for endpoints that take names nobody can list (a template's, a plug-in's). */
  parameters: Parameters
  /** What the route's path captured under this name. */
  capture(name: string): string
  /** The address the request came from. */
  source: string
  /** The client token, for the few endpoints that answer with it or act on it. */
  token?: Sensitive
  principal?: Principal
  /** The ledger as this request found it. */
  reading?: Reading
  decision?: Decision
  policy: PolicyFace
  /** The formats that the caller says it takes; empty when it does not say. */
  accept: string
  /** `Leasehold-Idempotency-Key`, checked. */
  idempotencyKey?: string
  /** For how long the answer will wait wrapped, if it will. */
  wrapTtlSeconds?: number
  /** Aborted when the request's deadline has passed: nobody is waiting any more. */
  signal: AbortSignal
  /** Runs `undo` after the handler has answered, once, if that answer could not be handed over in full. */
  onUndelivered(undo: () => Promise<void>): void
}

/** A request that somebody might make, now and from here unless said otherwise. */
export type PolicyAsk = {
  principal: Principal
  operation: Operation
  path: string
  parameters?: Parameters
  sourceAddress?: string
  tls?: boolean
  now?: Date
  wrapTtlSeconds?: number
  /** As a `Question` has them. */
  again?: boolean
  leasesHeld?: number
  approvedAs?: NonNullable<Question['approvedAs']>
}

/** Policy as a handler may ask it: in the circumstances of the request in hand. */
export type PolicyFace = {
  /** What one may do at a path, in the dialect's words; nothing for a caller without a token. */
  capabilities(path: string, as?: Principal): Promise<string[]>
  /** Every pattern of the caller's policies whose conditions hold, and what it grants; undefined for root. */
  patterns(): Promise<GrantedPattern[] | undefined>
  decide(ask: PolicyAsk): Promise<Decision>
  /** What a request from outside would come to, for a path as its caller writes it; undefined when that is empty. */
  simulate(ask: PolicyAsk): Promise<Simulated | undefined>
}

export type Simulated = {
  /** Undefined where policy is not asked, as for a login. */
  explained: Explained | undefined
  /** What there is not at the path: a caller whom policy lets in is told so. */
  missing: 'mount' | 'path' | 'operation' | undefined
}

export type Call<F extends Fields = Fields> = OpenCall<F> & {
  principal: Principal
  token: Sensitive
  reading: Reading
  /** By what policy let the call be. */
  decision: Decision
}

/** token: proven and allowed by policy. optional: a token that is sent must be good, and policy is the handler's. */
type Proof = 'token' | 'optional' | 'none'

/** Of the mount the request is for, and what its path captured. */
export type Place = { mount: Mount; capture(name: string): string }

type Options = {
  sudo?: boolean
  /** The capture that names the role being asked for: policy may go by what is known of it. */
  role?: string
  /** Writing what is not there yet takes `create` instead of `update`. */
  exists?(place: Place): Promise<boolean>
  /** Its field `token` is a wrapping token, or else the client token is. */
  byWrappingToken?: true
  /** Takes fields of any name, so none is unrecognized. */
  anyFields?: true
  /** A login, of the role that the field `role` names: not run when too many have failed lately. */
  login?: true
  /** The field that names it instead; null where nobody can guess anything about a role, only keep others out of it. */
  loginField?: string | null
  /** The first half of a login: nobody has logged in when it succeeds. */
  begins?: true
  /** What is sent proves itself, and nobody logs in by it: bad ones count as failed logins do. */
  signed?: true
  /** Gives or prolongs access, as a login does too; ending must not need it. */
  grants?: true
}

export type Endpoint = Options & {
  fields: Fields
  proof: Proof
  sudo: boolean
  run(call: OpenCall): Promise<Answer>
}

/** An endpoint for callers with a token that policy lets do this. */
export const handle = <F extends Fields>(
  fields: F,
  run: (call: Call<F>) => Promise<Answer>,
  options: Options = {},
): Endpoint => ({
  sudo: false,
  ...options,
  fields,
  proof: 'token',
  // The dispatcher has decoded by this very table and proved the token before it comes here.
  run: (call) => run(call as unknown as Call<F>),
})

/** An endpoint that needs no token, such as a login. With `readToken`, one that is sent must be good. */
export const handleOpen = <F extends Fields>(
  fields: F,
  run: (call: OpenCall<F>) => Promise<Answer>,
  {
    readToken = false,
    ...options
  }: { readToken?: boolean } & Pick<Options, 'login' | 'loginField' | 'begins' | 'signed'> = {},
): Endpoint => ({
  ...options,
  fields,
  proof: readToken ? 'optional' : 'none',
  sudo: false,
  run: (call) => run(call as unknown as OpenCall<F>),
})

export type Captures = Readonly<Record<string, string>>

const NAME = String.raw`\w(?:[\w.-]*\w)?`
const compiled = new WeakMap<Route, RegExp>()

function patternOf(route: Route): RegExp {
  const known = compiled.get(route)
  if (known) return known
  const source = route.path
    .split('/')
    .map((part) => {
      const capture = /^:(\w+)(\*?)$/.exec(part)
      if (!capture) return part.replace(/[^\w-]/g, String.raw`\$&`)
      return `(?<${capture[1]}>${capture[2] ? '.+' : NAME})`
    })
    .join('/')
  const pattern = new RegExp(`^${source}$`)
  compiled.set(route, pattern)
  return pattern
}

/** The first route of the table that takes `path`, which has no slash at either end. */
export function matchRoute(
  routes: readonly Route[],
  path: string,
): { route: Route; captures: Captures } | undefined {
  for (const route of routes) {
    const match = patternOf(route).exec(path)
    if (match) return { route, captures: capturesOf(route, match.groups ?? {}) }
  }
  return undefined
}

const capturesOf = ({ caseless }: Route, groups: Captures): Captures =>
  caseless
    ? Object.fromEntries(Object.entries(groups).map(([name, value]) => [name, value?.toLowerCase()]))
    : { ...groups }

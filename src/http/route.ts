import type { Sensitive } from '../lib/sensitive.ts'
import type { Reply } from './envelope.ts'
import type { Decoded, Fields } from './fields.ts'
import type { Mount, Operation, Parameters, Principal, Reading } from './ports.ts'

/**
 * A route is data. `path` is relative to its mount. Captures: `:name` takes a name as the dialect allows them
 * (letters, digits, `_`, and `-` or `.` inside), `:rest*` takes anything, slashes included, but not nothing.
 * The first route of a table that matches wins, so the one for `tune` under a mount stands before the mount's own.
 */
export type Route = {
  path: string
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
  /** `Leasehold-Idempotency-Key`, checked. */
  idempotencyKey?: string
  /** Aborted when the request's deadline has passed: nobody is waiting any more. */
  signal: AbortSignal
  /** Runs `undo` after the handler has answered, once, if that answer could not be handed over in full. */
  onUndelivered(undo: () => Promise<void>): void
}

export type Call<F extends Fields = Fields> = OpenCall<F> & {
  principal: Principal
  token: Sensitive
  reading: Reading
}

/** token: proven and allowed by policy. optional: a token that is sent must be good, and policy is the handler's. */
type Proof = 'token' | 'optional' | 'none'

export type Endpoint = {
  fields: Fields
  proof: Proof
  sudo: boolean
  run(call: OpenCall): Promise<Answer>
}

/** An endpoint for callers with a token that policy lets do this. */
export const handle = <F extends Fields>(
  fields: F,
  run: (call: Call<F>) => Promise<Answer>,
  { sudo = false }: { sudo?: boolean } = {},
): Endpoint => ({
  fields,
  proof: 'token',
  sudo,
  // The dispatcher has decoded by this very table and proved the token before it comes here.
  run: (call) => run(call as unknown as Call<F>),
})

/** An endpoint that needs no token, such as a login. With `readToken`, one that is sent must be good. */
export const handleOpen = <F extends Fields>(
  fields: F,
  run: (call: OpenCall<F>) => Promise<Answer>,
  { readToken = false }: { readToken?: boolean } = {},
): Endpoint => ({
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
    if (match) return { route, captures: { ...match.groups } }
  }
  return undefined
}

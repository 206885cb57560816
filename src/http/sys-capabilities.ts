import type { TokenStore } from '../identity/tokens.ts'
import { BrokerError } from '../lib/errors.ts'
import { capabilities, type Holder } from '../policy/decide.ts'
import { alias, commaList, type Fields, required, text } from './fields.ts'
import { type Answer, handle, type Route } from './route.ts'

const PATHS = required(alias(commaList, 'path'), 'paths must be supplied')

// Clients send their own token along; whose it is has been proven by the header.
const SELF_FIELDS = { paths: PATHS, token: text } satisfies Fields
const TOKEN_FIELDS = { paths: PATHS, token: required(text, 'missing token') } satisfies Fields
const ACCESSOR_FIELDS = { paths: PATHS, accessor: required(text, 'missing accessor') } satisfies Fields

/** What a token may do at given paths, relative to `sys/`. */
export const sysCapabilitiesRoutes = (tokens: Pick<TokenStore, 'lookup' | 'lookupAccessor'>): Route[] => [
  {
    path: 'capabilities-self',
    on: { update: handle(SELF_FIELDS, async ({ principal, fields }) => answer(principal, fields.paths)) },
  },
  {
    path: 'capabilities',
    on: {
      update: handle(TOKEN_FIELDS, async ({ fields }) =>
        answer(await tokens.lookup(fields.token).catch(asInvalid), fields.paths),
      ),
    },
  },
  {
    path: 'capabilities-accessor',
    on: {
      update: handle(ACCESSOR_FIELDS, async ({ fields }) =>
        answer(await tokens.lookupAccessor(fields.accessor), fields.paths),
      ),
    },
  },
]

function answer(holder: Holder, paths: readonly string[]): Answer {
  const found = paths.map((path): [string, string[]] => [
    path,
    capabilities(holder, path.replace(/^\/+/, '')),
  ])
  const only = found.length === 1 ? found[0]?.[1] : undefined
  return { data: { ...Object.fromEntries(found), ...(only && { capabilities: only }) }, injected: true }
}

/** The caller's own token is good: a 403 would send its agent to log in again. */
function asInvalid(error: unknown): never {
  if (error instanceof BrokerError && error.code === 'permission_denied') {
    throw new BrokerError('invalid_request', 'invalid token')
  }
  throw error
}

import type { TokenStore } from '../identity/tokens.ts'
import { BrokerError } from '../lib/errors.ts'
import type { Principal } from '../policy/principal.ts'
import { alias, commaList, type Fields, required, text } from './fields.ts'
import { type Answer, type Call, handle, type Route } from './route.ts'

const PATHS = required(alias(commaList, 'path'), 'paths must be supplied')

// Clients send their own token along; whose it is has been proven by the header.
const SELF_FIELDS = { paths: PATHS, token: text } satisfies Fields
const TOKEN_FIELDS = { paths: PATHS, token: required(text, 'missing token') } satisfies Fields
const ACCESSOR_FIELDS = { paths: PATHS, accessor: required(text, 'missing accessor') } satisfies Fields

type Holders = Pick<TokenStore, 'holder' | 'holderOf'>

/** What a token may do at given paths, relative to `sys/`. */
export const sysCapabilitiesRoutes = (tokens: Holders): Route[] => [
  {
    path: 'capabilities-self',
    on: { update: handle(SELF_FIELDS, (call) => answer(call, call.principal, call.fields.paths)) },
  },
  {
    path: 'capabilities',
    on: {
      update: handle(TOKEN_FIELDS, async (call) =>
        answer(call, await tokens.holder(call.fields.token).catch(asInvalid), call.fields.paths),
      ),
    },
  },
  {
    path: 'capabilities-accessor',
    on: {
      update: handle(ACCESSOR_FIELDS, async (call) =>
        answer(call, await tokens.holderOf(call.fields.accessor), call.fields.paths),
      ),
    },
  },
]

async function answer(
  { policy }: Pick<Call, 'policy'>,
  holder: Principal,
  paths: readonly string[],
): Promise<Answer> {
  const found = await Promise.all(
    paths.map(
      async (path): Promise<[string, string[]]> => [
        path,
        await policy.capabilities(path.replace(/^\/+/, ''), holder),
      ],
    ),
  )
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

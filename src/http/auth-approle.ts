import type { AppRoleMethod } from '../identity/approle/method.ts'
import type { MadeSecretId, SecretIds } from '../identity/approle/secret-ids.ts'
import type { TokenStore } from '../identity/tokens.ts'
import { BrokerError } from '../lib/errors.ts'
import { authRoleRoutes, loggedIn, loginContext, TOKEN_FIELDS } from './auth-roles.ts'
import {
  alias,
  bool,
  commaList,
  defaulted,
  duration,
  type Fields,
  int,
  json,
  required,
  text,
} from './fields.ts'
import { type Answer, handle, handleOpen, type OpenCall, type Route } from './route.ts'

const ROLE_FIELDS = {
  role_id: text,
  bind_secret_id: bool,
  local_secret_ids: bool,
  secret_id_bound_cidrs: alias(commaList, 'bound_cidr_list'),
  secret_id_num_uses: int,
  secret_id_ttl: duration,
  ...TOKEN_FIELDS,
} satisfies Fields

const SECRET_ID_FIELDS = {
  // Vault documents a text that holds JSON; people send the object itself too.
  metadata: json,
  cidr_list: commaList,
  token_bound_cidrs: commaList,
  num_uses: int,
  ttl: duration,
} satisfies Fields

const SECRET_ID = { secret_id: required(text, 'missing secret_id') } satisfies Fields
const ACCESSOR = { secret_id_accessor: required(text, 'missing secret_id_accessor') } satisfies Fields

const LOGIN_FIELDS = {
  role_id: required(text, 'missing role_id'),
  // Whether one is needed is the role's to say.
  secret_id: defaulted(text, ''),
} satisfies Fields

type Parts = { tokens: TokenStore; approle: AppRoleMethod }

/** Logins with a role_id and a secret id, relative to the mount. */
export function authAppRoleRoutes({ tokens, approle }: Parts): Route[] {
  return [
    ...authRoleRoutes(approle.roles, {
      fields: ROLE_FIELDS,
      caseless: true,
      write: (mountId, name, fields) => approle.writeRole(mountId, name, fields),
    }),
    roleIdRoute(approle),
    ...makingRoutes(approle.secretIds),
    ...knownRoutes(approle.secretIds),
    {
      path: 'login',
      on: {
        update: handleOpen(
          LOGIN_FIELDS,
          async (call) => {
            const { role_id: roleId, secret_id: secretId } = call.fields
            return loggedIn(tokens, call, await approle.logIn({ ...loginContext(call), roleId, secretId }))
          },
          { login: true, loginField: 'role_id' },
        ),
      },
    },
  ]
}

type Named = Pick<OpenCall, 'mount' | 'capture'>

const nameIn = ({ capture }: Named): string => capture('role_name')
const roleIn = (call: Named) => ({ mountId: call.mount.id, name: nameIn(call) })

const roleIdRoute = (approle: AppRoleMethod): Route => ({
  path: 'role/:role_name/role-id',
  caseless: true,
  on: {
    read: handle({}, async (call) => {
      const roleId = await approle.roleId(call.mount.id, nameIn(call))
      return roleId === undefined ? undefined : { data: { role_id: roleId } }
    }),
    update: handle({ role_id: required(text, 'missing role_id') }, async (call) => {
      await approle.writeRoleId(call.mount.id, nameIn(call), call.fields.role_id)
      return undefined
    }),
  },
})

function makingRoutes(secretIds: SecretIds): Route[] {
  return [
    {
      path: 'role/:role_name/secret-id',
      caseless: true,
      on: {
        list: handle({}, async (call) => ({ data: { keys: await secretIds.list(roleIn(call)) } })),
        update: handle(
          SECRET_ID_FIELDS,
          async (call) => {
            const made = await secretIds.make({ mount: call.mount, name: nameIn(call) }, call.fields)
            return handedOut(secretIds, call, made)
          },
          { grants: true },
        ),
      },
    },
    {
      path: 'role/:role_name/custom-secret-id',
      caseless: true,
      on: {
        update: handle(
          { ...SECRET_ID, ...SECRET_ID_FIELDS },
          async (call) => {
            const { secret_id: chosen, ...fields } = call.fields
            const made = await secretIds.make({ mount: call.mount, name: nameIn(call) }, fields, chosen)
            return handedOut(secretIds, call, made)
          },
          { grants: true },
        ),
      },
    },
  ]
}

/** One that nobody received would be good for a login until its end, which it may not have. */
function handedOut(secretIds: SecretIds, call: OpenCall, made: MadeSecretId): Answer {
  const { secretId, accessor, uses, ttlSeconds, warnings } = made
  call.onUndelivered(async () => {
    await secretIds.destroy(roleIn(call), { accessor })
  })
  return {
    data: {
      secret_id: secretId.reveal(),
      secret_id_accessor: accessor,
      secret_id_num_uses: uses,
      secret_id_ttl: ttlSeconds,
    },
    warnings,
  }
}

function knownRoutes(secretIds: SecretIds): Route[] {
  return [
    {
      path: 'role/:role_name/secret-id/lookup',
      caseless: true,
      on: {
        update: handle(SECRET_ID, async (call) =>
          shown(await secretIds.find(roleIn(call), { text: call.fields.secret_id })),
        ),
      },
    },
    {
      path: 'role/:role_name/secret-id/destroy',
      caseless: true,
      on: {
        update: handle(SECRET_ID, async (call) => {
          await secretIds.destroy(roleIn(call), { text: call.fields.secret_id })
          return undefined
        }),
      },
    },
    {
      path: 'role/:role_name/secret-id-accessor/lookup',
      caseless: true,
      on: {
        update: handle(ACCESSOR, async (call) => {
          const accessor = call.fields.secret_id_accessor
          const found = shown(await secretIds.find(roleIn(call), { accessor }))
          if (!found) throw noAccessor(accessor)
          return found
        }),
      },
    },
    {
      path: 'role/:role_name/secret-id-accessor/destroy',
      caseless: true,
      on: {
        update: handle(ACCESSOR, async (call) => {
          const accessor = call.fields.secret_id_accessor
          if (!(await secretIds.destroy(roleIn(call), { accessor }))) throw noAccessor(accessor)
          return undefined
        }),
      },
    },
    {
      path: 'tidy/secret-id',
      on: {
        update: handle({}, async () => {
          await secretIds.dropExpired()
          return { status: 202, warnings: [TIDYING] }
        }),
      },
    },
  ]
}

const TIDYING =
  'Tidy operation successfully started. Any information from the operation will be printed to the server logs.'

const noAccessor = (accessor: string): BrokerError =>
  new BrokerError(
    'not_found',
    `failed to find accessor entry for secret_id_accessor: ${JSON.stringify(accessor.slice(0, 64))}`,
  )

/** As Go writes a time that there is not. */
const NEVER = '0001-01-01T00:00:00Z'

function shown(found: Awaited<ReturnType<SecretIds['find']>>): Answer {
  return (
    found && {
      data: {
        secret_id_accessor: found.accessor,
        secret_id_num_uses: found.usesLeft ?? 0,
        secret_id_ttl: found.ttlSeconds,
        creation_time: found.createdAt.toISOString(),
        expiration_time: found.expiresAt?.toISOString() ?? NEVER,
        last_updated_time: found.updatedAt.toISOString(),
        metadata: found.metadata,
        cidr_list: found.cidrs,
        token_bound_cidrs: found.tokenCidrs,
      },
    }
  )
}

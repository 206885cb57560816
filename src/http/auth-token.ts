import type { TokenStore } from '../identity/tokens.ts'
import {
  alias,
  bool,
  commaList,
  defaulted,
  duration,
  type Fields,
  int,
  keyValues,
  required,
  text,
} from './fields.ts'
import { type Answer, type Call, handle, type Route } from './route.ts'
import { renewedAuth, shownToken, tokenAuth } from './token-answers.ts'
import { tokenRoleRoutes } from './token-roles.ts'

const CREATE_FIELDS = {
  id: defaulted(text, ''),
  policies: defaulted(commaList, []),
  meta: keyValues,
  no_parent: defaulted(bool, false),
  no_default_policy: defaulted(bool, false),
  renewable: defaulted(bool, true),
  ttl: defaulted(alias(duration, 'lease'), 0),
  explicit_max_ttl: defaulted(duration, 0),
  period: defaulted(duration, 0),
  type: defaulted(text, ''),
  display_name: defaulted(text, ''),
  num_uses: defaulted(int, 0),
  entity_alias: defaulted(text, ''),
} satisfies Fields

const TOKEN = required(text, 'missing token ID')
const ACCESSOR = required(text, 'missing accessor')
const GRANTS = { grants: true } as const

/** The token store, relative to `auth/token/`. */
export const authTokenRoutes = (tokens: TokenStore): Route[] => [
  ...createRoutes(tokens),
  ...lookupRoutes(tokens),
  ...renewRoutes(tokens),
  ...revokeRoutes(tokens),
  ...tokenRoleRoutes(tokens.roles),
  {
    path: 'accessors',
    on: { list: handle({}, async () => ({ data: { keys: await tokens.listAccessors() } }), { sudo: true }) },
  },
  { path: 'tidy', on: { update: handle({}, () => tidy(tokens)) } },
]

function createRoutes(tokens: TokenStore): Route[] {
  return [
    { path: 'create', on: { update: handle(CREATE_FIELDS, (call) => create(tokens, call), GRANTS) } },
    {
      path: 'create-orphan',
      on: { update: handle(CREATE_FIELDS, (call) => create(tokens, call, { orphan: true }), GRANTS) },
    },
    {
      path: 'create/:role_name',
      on: {
        update: handle(
          CREATE_FIELDS,
          (call) => create(tokens, call, { roleName: call.capture('role_name') }),
          GRANTS,
        ),
      },
    },
  ]
}

async function create(
  tokens: TokenStore,
  call: Call<typeof CREATE_FIELDS>,
  { orphan = false, roleName }: { orphan?: boolean; roleName?: string } = {},
): Promise<Answer> {
  const { principal, path, fields, onUndelivered } = call
  const capabilities = await call.policy.capabilities(path)
  const { token, entry, warnings } = await tokens.create(principal, {
    path,
    sudo: capabilities.includes('sudo') || capabilities.includes('root'),
    orphan,
    ...(roleName !== undefined && { roleName }),
    id: fields.id,
    policies: fields.policies,
    metadata: fields.meta ?? null,
    noParent: fields.no_parent,
    noDefaultPolicy: fields.no_default_policy,
    renewable: fields.renewable,
    ttlSeconds: fields.ttl,
    explicitMaxTtlSeconds: fields.explicit_max_ttl,
    periodSeconds: fields.period,
    type: fields.type,
    displayName: fields.display_name,
    numUses: fields.num_uses,
    entityAlias: fields.entity_alias,
  })
  // A token that nobody received is a login that nobody would ever end.
  onUndelivered(() => tokens.revoke(token.reveal()))
  return { auth: tokenAuth(entry, { clientToken: token.reveal(), ttlSeconds: entry.ttlSeconds }), warnings }
}

function lookupRoutes(tokens: TokenStore): Route[] {
  const self = handle({}, async ({ principal, token }) => ({
    data: shownToken(await tokens.lookupSelf(principal), token.reveal()),
  }))
  const any = handle({ token: text }, async ({ principal, token, fields }) => {
    const asked = fields.token || token.reveal()
    const entry = asked === token.reveal() ? tokens.lookupSelf(principal) : tokens.lookup(asked)
    return { data: shownToken(await entry, asked) }
  })
  return [
    { path: 'lookup-self', on: { read: self, update: self } },
    { path: 'lookup', on: { read: any, update: any } },
    {
      path: 'lookup-accessor',
      on: {
        update: handle({ accessor: ACCESSOR }, async ({ fields }) => ({
          data: shownToken(await tokens.lookupAccessor(fields.accessor), ''),
        })),
      },
    },
  ]
}

function renewRoutes(tokens: TokenStore): Route[] {
  return [
    {
      path: 'renew-self',
      on: {
        update: handle(
          { increment: duration },
          async ({ principal, token, fields }) =>
            renewedAuth(await tokens.renewSelf(principal, fields.increment), token.reveal()),
          GRANTS,
        ),
      },
    },
    {
      path: 'renew',
      on: {
        update: handle(
          { token: TOKEN, increment: duration },
          async ({ fields }) => renewedAuth(await tokens.renew(fields.token, fields.increment), fields.token),
          GRANTS,
        ),
      },
    },
    {
      path: 'renew-accessor',
      on: {
        update: handle(
          { accessor: ACCESSOR, increment: duration },
          async ({ fields }) =>
            renewedAuth(await tokens.renewAccessor(fields.accessor, fields.increment), ''),
          GRANTS,
        ),
      },
    },
  ]
}

function revokeRoutes(tokens: TokenStore): Route[] {
  return [
    {
      path: 'revoke-self',
      on: {
        update: handle({}, async ({ principal }) => {
          await tokens.revokeSelf(principal)
          return undefined
        }),
      },
    },
    {
      path: 'revoke',
      on: {
        update: handle({ token: TOKEN }, async ({ fields, principal }) => {
          await tokens.revoke(fields.token, principal)
          return undefined
        }),
      },
    },
    {
      path: 'revoke-accessor',
      on: {
        update: handle({ accessor: ACCESSOR }, async ({ fields, principal }) => {
          const found = await tokens.revokeAccessor(fields.accessor, principal)
          return found ? undefined : { warnings: ['No token found with this accessor'] }
        }),
      },
    },
    {
      path: 'revoke-orphan',
      on: {
        update: handle(
          { token: TOKEN },
          async ({ fields, principal }) => {
            await tokens.revokeOrphan(fields.token, principal)
            return undefined
          },
          { sudo: true },
        ),
      },
    },
  ]
}

/** All there is to tidy: tokens whose time is over and that no sweep has come to yet. */
async function tidy(tokens: TokenStore): Promise<Answer> {
  await tokens.endExpiredTokens()
  const started = 'Tidy operation successfully started.'
  return {
    status: 202,
    warnings: [`${started} Any information from the operation will be printed to the server logs.`],
  }
}

import type { AuthMounts } from '../identity/auth-mounts.ts'
import type { CreatedToken, TokenStore } from '../identity/tokens.ts'
import { alias, bool, commaList, type Decoded, duration, type Fields, int, text } from './fields.ts'
import { type Answer, handle, type OpenCall, type Route } from './route.ts'
import { tokenAuth } from './token-answers.ts'

/** What every role of every auth method says of its tokens, with the names older clients send. */
export const TOKEN_FIELDS = {
  token_ttl: alias(duration, 'ttl'),
  token_max_ttl: alias(duration, 'max_ttl'),
  token_period: alias(duration, 'period'),
  token_explicit_max_ttl: duration,
  token_policies: alias(commaList, 'policies'),
  token_bound_cidrs: alias(commaList, 'bound_cidrs'),
  token_num_uses: alias(int, 'num_uses'),
  token_no_default_policy: bool,
  token_type: text,
} satisfies Fields

/** A method's roles, relative to its mount. `nameOf`: some methods take names in lower case only. */
export function authRoleRoutes<F extends Fields>(
  mounts: Pick<AuthMounts, 'role' | 'roleNames' | 'removeRole'>,
  method: {
    fields: F
    /** Whether the names of its roles have no case. */
    caseless?: true
    write(mountId: string, name: string, fields: Decoded<F>): Promise<void>
    /** What the writer of a role should hear of it, as it is now. */
    warnings?(role: Readonly<Record<string, unknown>>): string[]
  },
): Route[] {
  return [
    {
      path: 'role',
      on: { list: handle({}, async ({ mount }) => ({ data: { keys: await mounts.roleNames(mount.id) } })) },
    },
    {
      path: 'role/:name',
      ...(method.caseless && { caseless: method.caseless }),
      on: {
        read: handle({}, async (call) => {
          const role = await mounts.role(call.mount.id, call.capture('name'))
          return role && { data: role }
        }),
        update: handle(
          method.fields,
          async (call) => {
            await method.write(call.mount.id, call.capture('name'), call.fields)
            if (!method.warnings) return undefined
            const warnings = method.warnings((await mounts.role(call.mount.id, call.capture('name'))) ?? {})
            return warnings.length > 0 ? { warnings } : undefined
          },
          {
            exists: async ({ mount, capture }) =>
              (await mounts.role(mount.id, capture('name'))) !== undefined,
          },
        ),
        delete: handle({}, async (call) => {
          await mounts.removeRole(call.mount.id, call.capture('name'))
          return undefined
        }),
      },
    },
  ]
}

/** What a login rests on besides what is shown. Every path outside `sys/` has been looked up in the ledger. */
export function loginContext({ mount, source, reading }: OpenCall) {
  if (!reading) throw new Error('a login came in without a look at the ledger')
  return { mount, sourceAddress: source, reading }
}

/** The answer to a login. A token that nobody received is a login that nobody would ever end. */
export function loggedIn(tokens: TokenStore, call: OpenCall, created: CreatedToken): Answer {
  const { token, entry, warnings } = created
  call.onUndelivered(() => tokens.revoke(token.reveal()))
  return { auth: tokenAuth(entry, { clientToken: token.reveal(), ttlSeconds: entry.ttlSeconds }), warnings }
}

import type { CreatedToken, TokenStore } from '../identity/tokens.ts'
import { loggedIn, loginContext } from './auth-roles.ts'
import { type Decoded, defaulted, type Fields, text } from './fields.ts'
import { handle, handleOpen, type Route } from './route.ts'

/** The configuration of a method, relative to its mount. A write replaces the whole. */
export const authConfigRoute = <F extends Fields>(
  fields: F,
  config: {
    read(mountId: string): Promise<object | undefined>
    write(mountId: string, fields: Decoded<F>): Promise<void>
  },
): Route => ({
  path: 'config',
  on: {
    read: handle({}, async ({ mount }) => {
      const data = await config.read(mount.id)
      return data && { data: { ...data } }
    }),
    update: handle(fields, async ({ mount, fields }) => {
      await config.write(mount.id, fields)
      return undefined
    }),
  },
})

const LOGIN_FIELDS = { role: defaulted(text, ''), jwt: defaulted(text, '') } satisfies Fields

/** The login of a method whose callers show a token of their platform, relative to its mount. */
export const jwtLoginRoute = (
  tokens: TokenStore,
  logIn: (ask: ReturnType<typeof loginContext> & { roleName: string; jwt: string }) => Promise<CreatedToken>,
): Route => ({
  path: 'login',
  on: {
    update: handleOpen(
      LOGIN_FIELDS,
      async (call) => {
        const { role: roleName, jwt } = call.fields
        return loggedIn(tokens, call, await logIn({ ...loginContext(call), roleName, jwt }))
      },
      { login: true },
    ),
  },
})

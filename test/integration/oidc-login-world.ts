import { expect } from 'vitest'
import { LoginRefused } from '../../src/identity/jwt/refusal.ts'
import { checkJwtRole, type JwtRole } from '../../src/identity/jwt/role.ts'
import { checkOidcConfig } from '../../src/identity/oidc/config.ts'
import { createOidcLogin, type OidcCallback } from '../../src/identity/oidc/login.ts'
import type { Sealed } from '../../src/identity/oidc/pending.ts'
import { openOidcProvider } from '../../src/identity/oidc/provider.ts'
import type { Sensitive } from '../../src/lib/sensitive.ts'
import { PEOPLE_CLIENT } from '../support/oidc-issuer.ts'

export const REDIRECT = 'http://localhost:8250/oidc/callback'
export const CLIENT_NONCE = 'only the one who began it knows'

type WorldOptions = {
  config?: Record<string, unknown>
  role?: Record<string, unknown>
  mount?: string
  /** The store of another world, as servers share one. */
  rows?: Map<string, Sealed>
  provider?: Parameters<typeof openOidcProvider>[2]
}

/** One mount with one role, on a server with a clock of its own. */
export function brokerWorld(issuer: string, options: WorldOptions = {}) {
  const { config, clientSecret } = checkOidcConfig({
    oidc_discovery_url: issuer,
    oidc_client_id: PEOPLE_CLIENT.id,
    oidc_client_secret: PEOPLE_CLIENT.secret,
    ...options.config,
  })
  const rows = options.rows ?? new Map<string, Sealed>()
  const roles = new Map<string, JwtRole>()
  const role = checkJwtRole(
    { user_claim: 'sub', allowed_redirect_uris: [REDIRECT], ...options.role },
    { mountType: 'oidc' },
  )
  roles.set('engineering', role)
  let aheadMs = 0
  const login = createOidcLogin({
    mount: options.mount ?? 'auth_oidc_1',
    provider: openOidcProvider(config, clientSecret as Sensitive, options.provider),
    states: {
      async put(idHash, value, expiresAt) {
        expect(expiresAt.getTime()).toBeGreaterThan(Date.now() + aheadMs)
        rows.set(idHash, JSON.parse(JSON.stringify(value)))
      },
      async take(idHash) {
        const value = rows.get(idHash)
        rows.delete(idHash)
        return value
      },
    },
    findRole: async (name) => roles.get(name),
    now: () => new Date(Date.now() + aheadMs),
  })
  return {
    config,
    role,
    roles,
    rows,
    login,
    pass(seconds: number) {
      aheadMs += seconds * 1_000
    },
    async begin(changes: { redirectUri?: string; role?: JwtRole } = {}): Promise<string> {
      const request = { roleName: 'engineering', role, redirectUri: REDIRECT, clientNonce: CLIENT_NONCE }
      const { authUrl, refused } = await login.authUrl({ ...request, ...changes })
      if (refused) throw refused
      return authUrl
    },
    finish: (back: URL, changes: Partial<OidcCallback> = {}) =>
      login.finish({ ...callbackOf(back), ...changes }),
    refusal: (back: URL, changes: Partial<OidcCallback> = {}) =>
      refusalOf(login.finish({ ...callbackOf(back), ...changes })),
  }
}

/** What the dialect's clients pass on of the address the person came back to. */
function callbackOf({ searchParams }: URL): OidcCallback {
  const [state, code, error] = ['state', 'code', 'error'].map((name) => searchParams.get(name) ?? '')
  return { state: state as string, code: code as string, error: error as string, clientNonce: CLIENT_NONCE }
}

export async function refusalOf(attempt: Promise<unknown>): Promise<LoginRefused> {
  const error = await attempt.then(
    (value) => new Error(`was let in: ${JSON.stringify(value)}`),
    (thrown: unknown) => thrown,
  )
  if (!(error instanceof LoginRefused)) throw error
  expect(error.code).toBe('invalid_request')
  return error
}

/** The same address with one parameter changed on the way, or taken out. */
export function tampered(authUrl: string, name: string, value?: string): string {
  const url = new URL(authUrl)
  expect(url.searchParams.has(name)).toBe(true)
  url.searchParams.delete(name)
  if (value !== undefined) url.searchParams.set(name, value)
  return url.href
}

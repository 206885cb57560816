import { timingSafeEqual } from 'node:crypto'
import {
  buildAuthorizationUrl,
  calculatePKCECodeChallenge,
  randomNonce,
  randomPKCECodeVerifier,
} from 'openid-client'
import { type Claims, type Identity, identityOf } from '../jwt/claims.ts'
import { readClaims } from '../jwt/payload.ts'
import { LoginRefused } from '../jwt/refusal.ts'
import type { JwtRole } from '../jwt/role.ts'
import { checkParties, verifiedPayload } from '../jwt/verify.ts'
import { errorCode, exchangeCode } from './code-exchange.ts'
import {
  hashOfClientNonce,
  idHashOf,
  isState,
  newState,
  open,
  type Pending,
  type PendingStates,
  seal,
} from './pending.ts'
import { type OidcProvider, TOLERANCE_SECONDS } from './provider.ts'
import { redirectAllowed } from './redirect.ts'
import { userinfoClaims } from './userinfo.ts'

type OidcLoginParts = {
  /** What the mount is called for ever, such as its accessor: a login begun under one mount cannot end under another. */
  mount: string
  provider: OidcProvider
  states: PendingStates
  /** The role as it is now. May throw, for instance when the role does not serve the caller's address. */
  findRole(name: string): Promise<JwtRole | undefined>
  now(): Date
}

export type AuthUrlRequest = { roleName: string; role: JwtRole; redirectUri: string; clientNonce?: string }
/** What the provider sent the person back with, and the client's own nonce. Absent fields are empty. */
export type OidcCallback = { state: string; code: string; clientNonce: string; error?: string; iss?: string }

export type OidcLogin = {
  /**
   * Begins a login: where to send the person. Empty where the dialect says no more than that, and `refused` then says
   * why, for logs only. Throws `LoginRefused` where the dialect has a text.
   */
  authUrl(request: AuthUrlRequest): Promise<{ authUrl: string; refused: LoginRefused | undefined }>
  /** Ends it: who signed in, once everything is proved. Throws `LoginRefused`; the state is spent either way. */
  finish(callback: OidcCallback): Promise<Identity & { roleName: string }>
}

/** How long a person may take at the provider. */
const PENDING_SECONDS = 600

const MAX_CLIENT_NONCE_BYTES = 256
const MAX_CODE_BYTES = 8 * 1_024
const MAX_CLAIMS_BYTES = 64 * 1_024

/** The authorization code flow with PKCE on one mount. Keeps nothing itself: any server may end what another began. */
export function createOidcLogin(parts: OidcLoginParts): OidcLogin {
  const { mount, provider, states, findRole, now } = parts
  const { config, keys } = provider

  async function begin({ roleName, role, redirectUri, clientNonce = '' }: AuthUrlRequest): Promise<string> {
    const client = await provider.client({ redirectUri, now: now() })
    const [state, nonce, codeVerifier] = [newState(), randomNonce(), randomPKCECodeVerifier()]
    const expiresAt = new Date(now().getTime() + PENDING_SECONDS * 1_000)
    const sealed = seal(mount, state, {
      roleName,
      redirectUri,
      clientNonceHash: hashOfClientNonce(state, clientNonce),
      nonce,
      codeVerifier,
      issuer: config.oidc_discovery_url,
      clientId: config.oidc_client_id,
      expiresAtMs: expiresAt.getTime(),
    })
    await states.put(idHashOf(mount, state), sealed, expiresAt)
    const url = buildAuthorizationUrl(client, {
      redirect_uri: redirectUri,
      scope: [...new Set(['openid', ...role.oidc_scopes])].join(' '),
      state,
      nonce,
      code_challenge: await calculatePKCECodeChallenge(codeVerifier),
      code_challenge_method: 'S256',
      ...(role.max_age > 0 ? { max_age: String(role.max_age) } : {}),
    })
    return url.href
  }

  async function takePending(state: string): Promise<Pending> {
    const sealed = isState(state) ? await states.take(idHashOf(mount, state)) : undefined
    if ((sealed ?? undefined) === undefined) throw new LoginRefused('state_unknown')
    const pending = open(mount, state, sealed)
    if (!pending) throw new LoginRefused('state_unreadable')
    if (now().getTime() >= pending.expiresAtMs) throw new LoginRefused('state_expired')
    const isSameProvider =
      pending.issuer === config.oidc_discovery_url && pending.clientId === config.oidc_client_id
    if (!isSameProvider) throw new LoginRefused('provider_changed')
    return pending
  }

  async function roleOf({ roleName, redirectUri }: Pending): Promise<JwtRole> {
    const role = await findRole(roleName)
    if (!role) throw new LoginRefused('role_gone')
    checkRole(role, redirectUri)
    return role
  }

  return {
    async authUrl(request) {
      const { role, redirectUri, clientNonce = '' } = request
      if (redirectUri === '') throw new LoginRefused('missing_redirect_uri')
      if (Buffer.byteLength(clientNonce) > MAX_CLIENT_NONCE_BYTES) {
        throw new LoginRefused('client_nonce_too_long')
      }
      try {
        checkRole(role, redirectUri)
      } catch (refused) {
        if (refused instanceof LoginRefused) return { authUrl: '', refused }
        throw refused
      }
      return { authUrl: await begin(request), refused: undefined }
    },

    async finish(callback) {
      const pending = await takePending(callback.state)
      checkClientNonce(callback, pending)
      checkAnswer(callback, pending)
      const role = await roleOf(pending)
      const client = await provider.client({ redirectUri: pending.redirectUri, now: now() })
      const { idToken, accessToken } = await exchangeCode(client, callback.code, pending)
      const signed = readClaims(await verifiedPayload(idToken, keys, config.jwt_supported_algs))
      checkParties(signed, config, role)
      checkAuthenticationAge(signed, role, now())
      const claims = { ...(await userinfoClaims(client, accessToken, subjectOf(signed))), ...signed }
      checkSize(claims)
      return { ...identityOf(claims, role, pending.roleName), roleName: pending.roleName }
    },
  }
}

/** Whoever has no name cannot be asked about either. */
function subjectOf({ sub }: Claims): string {
  if (typeof sub !== 'string' || sub === '') throw new LoginRefused('malformed_token', 'sub')
  return sub
}

function checkRole(role: JwtRole, redirectUri: string): void {
  if (role.role_type !== 'oidc') throw new LoginRefused('jwt_role')
  if (!redirectAllowed(redirectUri, role.allowed_redirect_uris)) {
    throw new LoginRefused('redirect_not_allowed', JSON.stringify(redirectUri.slice(0, 200)))
  }
}

/** Whoever began the login with a nonce is the only one who can end it: not someone who saw the browser's address. */
function checkClientNonce({ state, clientNonce }: OidcCallback, { clientNonceHash }: Pending): void {
  if (clientNonceHash === '') return
  const [given, right] = [hashOfClientNonce(state, clientNonce), clientNonceHash].map((text) =>
    Buffer.from(text),
  )
  if (!given || !right || given.length !== right.length || !timingSafeEqual(given, right)) {
    throw new LoginRefused('wrong_client_nonce')
  }
}

function checkAnswer({ error = '', iss = '', code }: OidcCallback, { issuer }: Pending): void {
  if (error === 'access_denied') throw new LoginRefused('provider_denied')
  if (error !== '') throw new LoginRefused('provider_error', errorCode(error))
  if (iss !== '' && iss !== issuer) throw new LoginRefused('wrong_issuer', 'iss parameter')
  if (code === '') throw new LoginRefused('missing_code')
  if (Buffer.byteLength(code) > MAX_CODE_BYTES) throw new LoginRefused('code_refused', 'too long')
}

/** The provider was asked for it with `max_age`, but anyone can take that out of the address on the way there. */
function checkAuthenticationAge({ auth_time: authTime }: Claims, role: JwtRole, now: Date): void {
  if (role.max_age === 0) return
  const age = typeof authTime === 'number' ? now.getTime() / 1_000 - authTime : Number.NaN
  if (!(age >= -TOLERANCE_SECONDS)) throw new LoginRefused('auth_time_unusable', 'auth_time')
  if (age > role.max_age + TOLERANCE_SECONDS) throw new LoginRefused('authenticated_too_long_ago')
}

function checkSize(claims: Claims): void {
  if (Buffer.byteLength(JSON.stringify(claims)) > MAX_CLAIMS_BYTES) throw new LoginRefused('claims_too_large')
}

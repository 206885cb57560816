import { randomBytes } from 'node:crypto'
import { exportJWK, generateKeyPair } from 'jose'
import type { Configuration, Provider } from 'oidc-provider'
import type { Logger } from '../lib/log.ts'
import { type Sensitive, sensitive } from '../lib/sensitive.ts'
import { PEOPLE, PROOFS } from './people-known.ts'
import { contentSecurity, problemPage } from './people-pages.ts'

/** Says in a mount's configuration that the mount is ours to write again. */
export const CLIENT_ID = 'leasehold-sample-people'

/** What a client asks for besides `openid`, to be told all there is. */
export const SCOPES = ['profile', 'email', 'groups']

const ALGORITHM = 'ES256'
const MINUTE_SECONDS = 60
const HOUR_SECONDS = 60 * MINUTE_SECONDS

/**
 * An OpenID provider with one client. Its keys and the client's secret are made here and are in this process alone, as
 * is all it remembers.
 */
export async function openProvider(
  { issuer, redirectUris }: { issuer: string; redirectUris: readonly string[] },
  log: Logger,
): Promise<{ provider: Provider; clientSecret: Sensitive }> {
  const secret = randomBytes(32).toString('base64url')
  const { privateKey } = await generateKeyPair(ALGORITHM, { extractable: true })
  const key = { ...(await exportJWK(privateKey)), kid: 'people', alg: ALGORITHM, use: 'sig' }
  const client = {
    client_id: CLIENT_ID,
    client_secret: secret,
    redirect_uris: [...redirectUris],
    grant_types: ['authorization_code'],
    response_types: ['code'] as ['code'],
    id_token_signed_response_alg: ALGORITHM,
    require_auth_time: true,
  } satisfies NonNullable<Configuration['clients']>[number]
  const provider = await withoutGreeting(log, async () => {
    const { Provider } = await import('oidc-provider')
    return new Provider(issuer, { ...settings(), clients: [client], jwks: { keys: [key as never] } })
  })
  return { provider, clientSecret: sensitive(secret) }
}

/**
 * The library greets on the console: with Node 20, and with a memory for its store. Both are on purpose here, and what
 * `leasehold dev` prints is for newcomers.
 */
async function withoutGreeting<T>(log: Logger, work: () => Promise<T>): Promise<T> {
  const { warn } = console
  console.warn = (text) => log.debug({ text: String(text) }, 'the OpenID provider greets')
  try {
    return await work()
  } finally {
    console.warn = warn
  }
}

const settings = (): Configuration => ({
  claims: {
    openid: ['sub', 'amr', 'acr'],
    profile: ['name'],
    email: ['email'],
    groups: ['groups'],
  },
  conformIdTokenClaims: false,
  acrValues: PROOFS.map(({ acr }) => acr),
  findAccount: (_, sub) => {
    const person = PEOPLE.find((one) => one.sub === sub)
    if (!person) return undefined
    const { name, email, groups } = person
    return { accountId: sub, claims: () => ({ sub, name, email, groups: [...groups] }) }
  },
  cookies: {
    keys: [randomBytes(32).toString('base64url')],
    names: {
      session: 'leasehold_people_session',
      interaction: 'leasehold_people_question',
      resume: 'leasehold_people_answer',
    },
    // Browsers never send it back: everybody who comes is asked who they are, and how they prove it, each time.
    long: { httpOnly: true, sameSite: 'strict', path: '/never' },
    short: { httpOnly: true, sameSite: 'lax' },
  },
  ttl: {
    AccessToken: 5 * MINUTE_SECONDS,
    AuthorizationCode: MINUTE_SECONDS,
    Grant: HOUR_SECONDS,
    IdToken: 5 * MINUTE_SECONDS,
    Interaction: HOUR_SECONDS,
    Session: HOUR_SECONDS,
  },
  pkce: { required: () => true },
  features: { devInteractions: { enabled: false }, rpInitiatedLogout: { enabled: false } },
  // The one client is Leasehold itself: nobody is asked whether it may know.
  async loadExistingGrant({ oidc }) {
    const grant = new oidc.provider.Grant({
      accountId: String(oidc.session?.accountId),
      clientId: CLIENT_ID,
    })
    grant.addOIDCScope(['openid', ...SCOPES].join(' '))
    await grant.save()
    return grant
  },
  renderError(ctx, { error, error_description: description }) {
    ctx.set('content-security-policy', contentSecurity())
    ctx.type = 'html'
    ctx.body = problemPage(description ?? error)
  },
})

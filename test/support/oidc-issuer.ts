import { once } from 'node:events'
import {
  createServer,
  type IncomingMessage,
  type RequestListener,
  type Server,
  type ServerResponse,
} from 'node:http'
import { createServer as createTlsServer } from 'node:https'
import type { AddressInfo } from 'node:net'
import { exportJWK, generateKeyPair, type JWK, type JWTPayload, SignJWT } from 'jose'
import type { ClientMetadata, Configuration, Provider } from 'oidc-provider'

/** A key pair an issuer signs with: `jwk` is what it publishes, `secretJwk` what `oidc-provider` is given. */
export type SigningKey = {
  alg: string
  jwk: JWK & { kid: string }
  secretJwk: JWK & { kid: string }
  /** Signs the claims as they are, with this key's id in the header unless another header is given. */
  sign(claims: JWTPayload, header?: Record<string, unknown>): Promise<string>
}

export async function newSigningKey(kid: string, alg = 'ES256'): Promise<SigningKey> {
  const { publicKey, privateKey } = await generateKeyPair(alg, { extractable: true })
  const labels = { kid, alg, use: 'sig' }
  return {
    alg,
    jwk: { ...(await exportJWK(publicKey)), ...labels },
    secretJwk: { ...(await exportJWK(privateKey)), ...labels },
    sign: (claims, header: { crit?: string[]; kid?: string } = { kid }) =>
      new SignJWT(claims)
        .setProtectedHeader({ alg, ...header })
        // Whatever the header calls critical, the signer is to take it.
        .sign(privateKey, { crit: Object.fromEntries((header.crit ?? []).map((name) => [name, true])) }),
  }
}

export type JwksServer = {
  url: string
  /** How many requests arrived. */
  fetches(): number
  /** What `/jwks` answers from now on. */
  publish(...keys: { jwk: JWK }[]): void
  /** What every request is answered from now on. */
  behave(how: RequestListener): void
  stop(): Promise<void>
}

/** The ways in which a key server goes wrong. */
export const faults = {
  redirects: (to: string) => (_: IncomingMessage, res: ServerResponse) =>
    void res.writeHead(302, { location: to }).end(),
  fails: (_: IncomingMessage, res: ServerResponse) => void res.writeHead(500).end('{"keys":[]}'),
  hangs: () => {},
  hangsHalfway: (_: IncomingMessage, res: ServerResponse) => void res.writeHead(200).write('{"keys":['),
  isNotJson: (_: IncomingMessage, res: ServerResponse) => void res.end('<html>busy</html>'),
  isEndless: (_: IncomingMessage, res: ServerResponse) => {
    const chunk = Buffer.alloc(64 * 1_024, 0x20)
    let left = 160
    const more = () => {
      while (left-- > 0) if (!res.write(chunk)) return void res.once('drain', more)
      res.end('{"keys":[]}')
    }
    more()
  },
  answers: (document: unknown) => (_: IncomingMessage, res: ServerResponse) =>
    void res.setHeader('content-type', 'application/json').end(JSON.stringify(document)),
}

/** Serves the public keys of whatever keys it is given, on a free loopback port. */
export async function startJwksServer(
  first: readonly { jwk: JWK }[],
  tls?: { cert: string; key: string },
): Promise<JwksServer> {
  let fetches = 0
  let how: RequestListener = () => {}
  const publish = (...keys: { jwk: JWK }[]) => {
    how = faults.answers({ keys: keys.map(({ jwk }) => jwk) })
  }
  publish(...first)
  const listener: RequestListener = (req, res) => {
    fetches += 1
    how(req, res)
  }
  const server = tls ? createTlsServer(tls, listener) : createServer(listener)
  const port = await listen(server)
  return {
    url: `${tls ? 'https' : 'http'}://127.0.0.1:${port}/jwks`,
    fetches: () => fetches,
    publish,
    behave(next) {
      how = next
    },
    stop: () => stop(server),
  }
}

export type OidcIssuer = {
  issuer: string
  /** A JWT access token for the audience, by the client credentials grant. */
  token(audience: string): Promise<string>
  /** What `oidc-provider` says of its keys from now on, by starting it again under the same name with other keys. */
  rotate(keys: readonly SigningKey[]): void
  /**
   * Follows an authorization URL the way a person with a browser would, and answers the provider's questions. Returns
   * where the provider sends them in the end.
   */
  signIn(authUrl: string, person: Person): Promise<URL>
  stop(): Promise<void>
}

/** Who follows an authorization URL. `signedInAt` in seconds since 1970, for a sign-in that is old already. */
export type Person = { name: string; denies?: boolean; signedInAt?: number }

/** What the provider knows of people: their claims by name. Those of a scope of the same name as the claim. */
export type People = {
  claims: Record<string, Record<string, unknown>>
  /** Whether the id token holds them too, and not only the userinfo endpoint. */
  inIdToken?: boolean
  client?: Partial<ClientMetadata>
  settings?: Configuration
}

/** The client of a broker where people log in. */
export const PEOPLE_CLIENT = { id: 'leasehold', secret: 'also known: to the test/only' }

const CLIENT = { id: 'nightly-build', secret: 'known-to-the-test-only' }

/** A real OpenID provider on a free loopback port. It signs with the first of the keys. */
export async function startOidcIssuer(
  keys: readonly SigningKey[],
  extraClaims: JWTPayload = {},
  people?: People,
): Promise<OidcIssuer> {
  let handle: RequestListener = () => {}
  const server = createServer((req, res) => handle(req, res))
  const issuer = `http://127.0.0.1:${await listen(server)}`
  // Loaded here, since it greets every process that loads it with a warning about Node 20.
  const { Provider } = await import('oidc-provider')
  const rotate = (signing: readonly SigningKey[]) => {
    const provider = new Provider(issuer, settings(signing, extraClaims, people))
    const callback = provider.callback()
    handle = (req, res) =>
      void (req.url?.startsWith('/interaction/') ? answerQuestion(provider, req, res) : callback(req, res))
  }
  rotate(keys)
  return {
    issuer,
    rotate,
    async token(audience) {
      const answer = await fetch(`${issuer}/token`, {
        method: 'POST',
        body: new URLSearchParams({
          grant_type: 'client_credentials',
          client_id: CLIENT.id,
          client_secret: CLIENT.secret,
          resource: audience,
        }),
      })
      const { access_token: token } = (await answer.json()) as { access_token?: string }
      if (token === undefined) throw new Error(`the provider answered ${answer.status}`)
      return token
    },
    signIn: (authUrl, person) => browse(issuer, authUrl, person),
    stop: () => stop(server),
  }
}

const PERSON_HEADER = 'x-test-person'

/** What a person fills in: who they are, then whether the client may know. */
async function answerQuestion(provider: Provider, req: IncomingMessage, res: ServerResponse): Promise<void> {
  const { prompt, params, session } = await provider.interactionDetails(req, res)
  const person = JSON.parse(String(req.headers[PERSON_HEADER])) as Person
  if (prompt.name === 'login') {
    const at = person.signedInAt === undefined ? {} : { ts: person.signedInAt }
    const login = { accountId: person.name, amr: ['pwd'], acr: 'silver', ...at }
    return provider.interactionFinished(req, res, { login })
  }
  if (person.denies) return provider.interactionFinished(req, res, { error: 'access_denied' })
  const grant = new provider.Grant({
    accountId: String(session?.accountId),
    clientId: String(params.client_id),
  })
  grant.addOIDCScope(String(params.scope))
  const consent = { grantId: await grant.save() }
  return provider.interactionFinished(req, res, { consent }, { mergeWithLastSubmission: true })
}

async function browse(issuer: string, authUrl: string, person: Person): Promise<URL> {
  const cookies = new Map<string, string>()
  let at = new URL(authUrl)
  while (at.href.startsWith(`${issuer}/`)) {
    const cookie = [...cookies].map(([name, value]) => `${name}=${value}`).join('; ')
    const headers = { cookie, [PERSON_HEADER]: JSON.stringify(person) }
    const answer = await fetch(at, { redirect: 'manual', headers })
    for (const line of answer.headers.getSetCookie()) {
      const [, name = '', value = ''] = /^([^=]+)=([^;]*)/.exec(line) ?? []
      cookies.set(name, value)
    }
    const to = answer.headers.get('location')
    if (to === null) throw new Error(`the provider answered ${answer.status}: ${await answer.text()}`)
    at = new URL(to, at)
  }
  return at
}

const forPeople = (alg: 'ES256', { claims, inIdToken = false, client, settings }: People) => ({
  client: {
    client_id: PEOPLE_CLIENT.id,
    client_secret: PEOPLE_CLIENT.secret,
    application_type: 'native',
    grant_types: ['authorization_code'],
    response_types: ['code'],
    redirect_uris: [
      'http://localhost/oidc/callback',
      'http://127.0.0.1/ui/oidc/callback',
      'https://console.example/oidc/callback?tenant=a',
    ],
    id_token_signed_response_alg: alg,
    require_auth_time: true,
    ...client,
  } satisfies ClientMetadata,
  settings: {
    claims: {
      openid: ['sub', 'amr', 'acr'],
      ...Object.fromEntries(
        Object.values(claims).flatMap((of) => Object.keys(of).map((name) => [name, [name]])),
      ),
    },
    conformIdTokenClaims: !inIdToken,
    findAccount: (_, sub) => ({ accountId: sub, claims: () => ({ ...claims[sub], sub }) }),
    ...settings,
  } satisfies Configuration,
})

function settings(
  keys: readonly SigningKey[],
  extraClaims: JWTPayload,
  people: People = { claims: {} },
): Configuration {
  const alg = keys[0]?.alg as 'ES256'
  const persons = forPeople(alg, people)
  return {
    ...persons.settings,
    jwks: { keys: keys.map(({ secretJwk }) => secretJwk) as never },
    clients: [
      {
        client_id: CLIENT.id,
        client_secret: CLIENT.secret,
        grant_types: ['client_credentials'],
        response_types: [],
        redirect_uris: [],
        token_endpoint_auth_method: 'client_secret_post',
        id_token_signed_response_alg: alg,
      },
      persons.client,
    ],
    enabledJWA: { idTokenSigningAlgValues: ['RS256', 'PS256', 'ES256', 'EdDSA'] },
    cookies: { keys: ['known-to-the-test-only'] },
    ttl: {
      AccessToken: 300,
      ClientCredentials: 300,
      AuthorizationCode: 60,
      Grant: 600,
      IdToken: 3_600,
      Interaction: 600,
      Session: 600,
    },
    extraTokenClaims: () => extraClaims,
    features: {
      devInteractions: { enabled: false },
      clientCredentials: { enabled: true },
      resourceIndicators: {
        enabled: true,
        getResourceServerInfo: (_, audience) => ({
          scope: '',
          audience,
          accessTokenFormat: 'jwt',
          accessTokenTTL: 300,
          jwt: { sign: { alg } },
        }),
      },
    },
  }
}

async function listen(server: Server): Promise<number> {
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return (server.address() as AddressInfo).port
}

async function stop(server: Server): Promise<void> {
  const closed = once(server, 'close')
  server.close()
  server.closeAllConnections()
  await closed
}

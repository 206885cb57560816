import type { JWTPayload } from 'jose'
import { openTestBroker, type TestBroker } from '../support/broker.ts'
import { type JwksServer, newSigningKey, type SigningKey, startJwksServer } from '../support/oidc-issuer.ts'

export const AUDIENCE = 'https://broker.example'
export const ISSUER = 'https://ci.example'

/** A broker with the mount `auth/jwt/`, which takes the tokens of an issuer of the test's own. */
export type JwtWorld = {
  at: TestBroker
  key: SigningKey
  issuer: JwksServer
  /** A token of the issuer for the broker: of the subject `build`, five minutes long by the ledger's clock, unless told otherwise. */
  token(claims?: JWTPayload, by?: SigningKey): Promise<string>
  /** A role on `auth/jwt/` for the audience; with other fields, or in place of these. */
  role(name: string, fields?: Record<string, unknown>): Promise<void>
  /** `data` is what is sent besides the role: a token of the issuer unless it has one. */
  login(role: string, data?: Record<string, unknown>, mount?: string): ReturnType<TestBroker['api']>
  /** The `auth` of a login that has to succeed. */
  // biome-ignore lint/suspicious/noExplicitAny: what a test expects of it is the test's to say
  auth(role: string, claims?: JWTPayload, mount?: string): Promise<any>
  /** A request with the bearer of another token. */
  as(auth: { client_token: string }): TestBroker['api']
  /** How much is in the ledger, by table, and its revision. */
  census(): Promise<Record<string, number>>
  close(): Promise<void>
}

const COUNTED = ['token', 'entity', 'auth_config', 'auth_role', 'mount', 'policy', 'lease']

export async function openJwtWorld(): Promise<JwtWorld> {
  const [at, key] = await Promise.all([openTestBroker(), newSigningKey('first')])
  const issuer = await startJwksServer([key])
  await at.api('POST', 'sys/auth/jwt', { type: 'jwt' })
  await at.api('POST', 'auth/jwt/config', { jwks_url: issuer.url, bound_issuer: ISSUER })

  const token: JwtWorld['token'] = async (claims = {}, by = key) => {
    const iat = Math.floor((await at.ledger.now()).getTime() / 1_000)
    return by.sign({ iss: ISSUER, aud: AUDIENCE, sub: 'build', iat, exp: iat + 300, ...claims })
  }
  const login: JwtWorld['login'] = async (role, data = {}, mount = 'jwt') =>
    at.api(
      'POST',
      `auth/${mount}/login`,
      { role, ...('jwt' in data ? {} : { jwt: await token() }), ...data },
      { 'X-Vault-Token': '' },
    )
  return {
    at,
    key,
    issuer,
    token,
    async role(name, fields = {}) {
      const answer = await at.api('POST', `auth/jwt/role/${name}`, {
        user_claim: 'sub',
        bound_audiences: AUDIENCE,
        ...fields,
      })
      if (answer.status !== 204) throw new Error(answer.text)
    },
    login,
    async auth(role, claims, mount) {
      const answer = await login(role, { jwt: await token(claims) }, mount)
      if (answer.status !== 200) throw new Error(answer.text)
      return answer.json.auth
    },
    as: (auth) => (method, path, body, headers) =>
      at.api(method, path, body, { 'X-Vault-Token': auth.client_token, ...headers }),
    async census() {
      const counts = COUNTED.map((table) => `(select count(*)::int from leasehold.${table}) as ${table}`)
      const { rows } = await at.ledger.ledger.query<Record<string, number>>(
        `select ${counts.join(', ')}, (select number::int from leasehold.revision) as revision`,
      )
      return rows[0] as Record<string, number>
    },
    async close() {
      await at.close()
      await issuer.stop()
    },
  }
}

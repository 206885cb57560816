import { randomBytes } from 'node:crypto'
import { openTestBroker, type TestBroker } from '../support/broker.ts'
import {
  newSigningKey,
  type OidcIssuer,
  PEOPLE_CLIENT,
  type Person,
  type SigningKey,
  startOidcIssuer,
} from '../support/oidc-issuer.ts'

/** Where the command line of the dialect waits for the browser to come back. */
export const REDIRECT = 'http://localhost:8250/oidc/callback'

const PEOPLE = {
  alice: { groups: ['ops', 'dba'], email: 'alice@example.com' },
  bob: { groups: ['sales'], email: 'bob@example.com' },
}

type Answer = Awaited<ReturnType<TestBroker['api']>>

/** A login that was begun, as its client knows it. */
export type Begun = { authUrl: string; clientNonce: string }

/** A broker with the mount `auth/oidc/`, on which people log in who sign in at a real provider. */
export type OidcWorld = {
  at: TestBroker
  provider: OidcIssuer
  key: SigningKey
  /** A role on a mount; with other fields, or in place of these. */
  role(name: string, fields?: object, mount?: string): Promise<void>
  /** A mount of type `oidc` with the provider and a role `people`. */
  mount(path: string, config?: object): Promise<void>
  /** Begins a login as the command line does, without a token. */
  begin(fields?: object, mount?: string): Promise<Begun>
  askUrl(fields: object, mount?: string): Promise<Answer>
  /** What the client is called back with, once the person has signed in; as query fields. */
  signIn(begun: Begun, person?: Person): Promise<Record<string, string>>
  callback(fields: Record<string, string>, mount?: string): Promise<Answer>
  /** A whole login, which has to succeed. */
  // biome-ignore lint/suspicious/noExplicitAny: what a test expects of it is the test's to say
  logIn(name: string, role?: string, mount?: string): Promise<any>
  as(auth: { client_token: string }): TestBroker['api']
  /** How many logins wait, and how many failures were counted. */
  waiting(): Promise<{ states: number; counts: string[] }>
  close(): Promise<void>
}

const UNPROVEN = { 'X-Vault-Token': '' }

export async function openOidcWorld(): Promise<OidcWorld> {
  const [at, key] = await Promise.all([openTestBroker(), newSigningKey('first')])
  const provider = await startOidcIssuer([key], {}, { claims: PEOPLE })
  const must = async (path: string, fields: object) => {
    const { status, text } = await at.api('POST', path, fields)
    if (status !== 204) throw new Error(`${path}: ${status} ${text}`)
  }
  const role: OidcWorld['role'] = (name, fields = {}, mount = 'oidc') =>
    must(`auth/${mount}/role/${name}`, {
      user_claim: 'sub',
      groups_claim: 'groups',
      oidc_scopes: 'groups',
      allowed_redirect_uris: REDIRECT,
      ...fields,
    })
  const mount: OidcWorld['mount'] = async (path, config = {}) => {
    await must(`sys/auth/${path}`, { type: 'oidc' })
    await must(`auth/${path}/config`, {
      oidc_discovery_url: provider.issuer,
      oidc_client_id: PEOPLE_CLIENT.id,
      oidc_client_secret: PEOPLE_CLIENT.secret,
      default_role: 'people',
      ...config,
    })
    await role('people', {}, path)
  }
  const askUrl: OidcWorld['askUrl'] = (fields, mount = 'oidc') =>
    at.api('PUT', `auth/${mount}/oidc/auth_url`, { redirect_uri: REDIRECT, ...fields }, UNPROVEN)
  const begin: OidcWorld['begin'] = async (fields = {}, mount) => {
    const clientNonce = randomBytes(12).toString('hex')
    const { status, text, json } = await askUrl(
      { role: 'people', client_nonce: clientNonce, ...fields },
      mount,
    )
    if (status !== 200 || json.data.auth_url === '') throw new Error(`${status} ${text}`)
    return { authUrl: json.data.auth_url, clientNonce }
  }
  const signIn: OidcWorld['signIn'] = async ({ authUrl, clientNonce }, person = { name: 'alice' }) => {
    const { searchParams } = await provider.signIn(authUrl, person)
    const [state, code] = ['state', 'code'].map((name) => searchParams.get(name) ?? '') as [string, string]
    return { state, code, id_token: '', client_nonce: clientNonce }
  }
  const callback: OidcWorld['callback'] = (fields, mount = 'oidc') =>
    at.api('GET', `auth/${mount}/oidc/callback?${new URLSearchParams(fields)}`, undefined, UNPROVEN)

  await mount('oidc')
  return {
    at,
    provider,
    key,
    role,
    mount,
    begin,
    askUrl,
    signIn,
    callback,
    async logIn(name, role = 'people', mount) {
      const answer = await callback(await signIn(await begin({ role }, mount), { name }), mount)
      if (answer.status !== 200) throw new Error(answer.text)
      return answer.json.auth
    },
    as: (auth) => (method, path, body, headers) =>
      at.api(method, path, body, { 'X-Vault-Token': auth.client_token, ...headers }),
    async waiting() {
      const { rows: states } = await at.ledger.ledger.query('select from leasehold.oidc_state')
      const { rows: counts } = await at.ledger.ledger.query<{ counter: string }>(
        'select counter from leasehold.rate_count order by counter',
      )
      return { states: states.length, counts: counts.map(({ counter }) => counter) }
    },
    async close() {
      await at.close()
      await provider.stop()
    },
  }
}

/** The status and the texts of an answer that has to be an error. */
export async function refusal(answer: Promise<Answer>): Promise<unknown[]> {
  const { status, json } = await answer
  return [status, ...json.errors]
}

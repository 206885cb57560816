import { type Authenticator, openAuthenticator, type Twist } from '../support/authenticator.ts'
import type { TestBroker } from '../support/broker.ts'
import type { Person } from '../support/glass-people.ts'

export const ORIGIN = 'https://leasehold.example'
export const RP_ID = 'leasehold.example'

export const CONFIG = { rp_id: RP_ID, origins: ORIGIN, token_policies: 'glass,keys' }

const KEYS = `
  path "auth/webauthn/register/*" { capabilities = ["update"] }
  path "auth/webauthn/keys/*" { capabilities = ["read", "list", "update", "delete"] }`

/** The answer to an enrolment, and to a login. */
export type KeyWorld = {
  /** A key of a person's own, enrolled by the login that they have. */
  enrol(person: Person, key?: Authenticator, twist?: Twist): Promise<{ id: string; key: Authenticator }>
  tryEnrol(person: Person, key?: Authenticator, twist?: Twist): ReturnType<TestBroker['api']>
  /** What a browser is asked with. */
  // biome-ignore lint/suspicious/noExplicitAny: what a test expects of it is the test's to say
  begin(mount?: string): Promise<any>
  finish(credential: unknown, mount?: string): ReturnType<TestBroker['api']>
  tryLogIn(key: Authenticator, twist?: Parameters<Authenticator['get']>[1]): ReturnType<TestBroker['api']>
  /** By a key; has to succeed. */
  logIn(key: Authenticator, twist?: Parameters<Authenticator['get']>[1]): Promise<Person>
}

/** The mount `auth/webauthn/` beside that of the sample people, whose provider has never been there. */
export async function openKeyWorld(at: TestBroker, config: object = {}): Promise<KeyWorld> {
  const must = async (path: string, fields: object) => {
    const { status, text } = await at.api('POST', path, fields)
    if (status !== 204) throw new Error(`${path}: ${status} ${text}`)
  }
  await must('auth/oidc/config', {
    oidc_discovery_url: 'https://issuer.example',
    oidc_client_id: 'leasehold',
    oidc_client_secret: 'known to the test only',
    skip_jwks_validation: true,
  })
  await must('auth/oidc/role/people', {
    user_claim: 'sub',
    groups_claim: 'groups',
    claim_mappings: { name: 'name' },
    allowed_redirect_uris: `${ORIGIN}/ui/oidc/callback`,
  })
  await must('sys/policies/acl/keys', { policy: KEYS })
  await must('sys/auth/webauthn', { type: 'webauthn' })
  await must('auth/webauthn/config', { ...CONFIG, ...config })

  const UNPROVEN = { 'X-Vault-Token': '' }
  const finish: KeyWorld['finish'] = (credential, mount = 'webauthn') =>
    at.api('POST', `auth/${mount}/login/finish`, { credential }, UNPROVEN)
  const begin: KeyWorld['begin'] = async (mount = 'webauthn') => {
    const { status, text, json } = await at.api('POST', `auth/${mount}/login/begin`, {}, UNPROVEN)
    if (status !== 200) throw new Error(`${status} ${text}`)
    return json.data.options
  }
  const tryLogIn: KeyWorld['tryLogIn'] = async (key, twist) => finish(key.get(await begin(), twist))
  const tryEnrol: KeyWorld['tryEnrol'] = async (person, key = openAuthenticator(), twist = {}) => {
    const begun = await person.api('POST', 'auth/webauthn/register/begin')
    if (begun.status !== 200) return begun
    const credential = key.create(begun.json.data.options, twist)
    return person.api('POST', 'auth/webauthn/register/finish', { credential, name: 'blue one' })
  }
  return {
    begin,
    finish,
    tryLogIn,
    tryEnrol,
    async enrol(person, key = openAuthenticator(), twist) {
      const { status, text, json } = await tryEnrol(person, key, twist)
      if (status !== 200) throw new Error(`${status} ${text}`)
      return { id: json.data.id, key }
    },
    async logIn(key, twist) {
      const { status, text, json } = await tryLogIn(key, twist)
      if (status !== 200) throw new Error(`${status} ${text}`)
      const { client_token: token, accessor } = json.auth
      return {
        token,
        accessor,
        api: (method, path, body, headers) =>
          at.api(method, path, body, { 'X-Vault-Token': token, ...headers }),
      }
    },
  }
}

import { openTestBroker, type TestBroker } from '../support/broker.ts'
import { type KubernetesApiServer, startKubernetesApi, type TokenWish } from '../support/kubernetes-api.ts'

export const AUDIENCE = 'https://broker.example'

type Answered = ReturnType<TestBroker['api']>

/** A broker with the mount `auth/kubernetes/`, over a cluster of the test's own. */
export type KubernetesWorld = {
  at: TestBroker
  kubernetes: KubernetesApiServer
  /** The token of the account `broker/reviewer`, which may review tokens and read namespaces. */
  reviewer: string
  /** A token for the broker: of `shop/api`, ten minutes long, unless told otherwise. */
  token(wish?: Partial<TokenWish>): Promise<string>
  /** Configures a mount over the cluster, with the reviewer's token; with other fields, or in place of these. */
  configure(fields?: Record<string, unknown>, mount?: string): Answered
  /** A role for `shop/api` with tokens for the broker; with other fields, or in place of these. */
  role(name: string, fields?: Record<string, unknown>, mount?: string): Promise<void>
  /** `data` is what is sent besides the role: a good token unless it has one. */
  login(role: string, data?: Record<string, unknown>, mount?: string): Answered
  /** The `auth` of a login that has to succeed. */
  // biome-ignore lint/suspicious/noExplicitAny: what a test expects of it is the test's to say
  auth(role: string, data?: Record<string, unknown>, mount?: string): Promise<any>
  /** How much is in the ledger, by table, and its revision. */
  census(): Promise<Record<string, number>>
  /** The names of the secrets of auth mounts. */
  secrets(): Promise<string[]>
  close(): Promise<void>
}

const COUNTED = ['token', 'entity', 'auth_config', 'auth_role', 'mount', 'lease', 'sealed_secret']

export async function openKubernetesWorld(): Promise<KubernetesWorld> {
  const [at, kubernetes] = await Promise.all([openTestBroker(), startKubernetesApi()])
  kubernetes.addServiceAccount('broker', 'reviewer', 'create tokenreviews', 'get namespaces')
  kubernetes.addServiceAccount('shop', 'api')
  const reviewer = await kubernetes.token({ namespace: 'broker', name: 'reviewer' })

  const token: KubernetesWorld['token'] = (wish = {}) =>
    kubernetes.token({ namespace: 'shop', name: 'api', audiences: [AUDIENCE], ...wish })
  const login: KubernetesWorld['login'] = async (role, data = {}, mount = 'kubernetes') =>
    at.api(
      'POST',
      `auth/${mount}/login`,
      { role, ...('jwt' in data ? {} : { jwt: await token() }), ...data },
      { 'X-Vault-Token': '' },
    )
  const configure: KubernetesWorld['configure'] = (fields = {}, mount = 'kubernetes') =>
    at.api('POST', `auth/${mount}/config`, {
      kubernetes_host: kubernetes.url,
      kubernetes_ca_cert: kubernetes.caPem,
      token_reviewer_jwt: reviewer,
      ...fields,
    })
  await at.api('POST', 'sys/auth/kubernetes', { type: 'kubernetes' })
  await configure()

  return {
    at,
    kubernetes,
    reviewer,
    token,
    configure,
    async role(name, fields = {}, mount = 'kubernetes') {
      const { status, text } = await at.api('POST', `auth/${mount}/role/${name}`, {
        bound_service_account_names: 'api',
        bound_service_account_namespaces: 'shop',
        audience: AUDIENCE,
        ...fields,
      })
      if (status > 204) throw new Error(text)
    },
    login,
    async auth(role, data, mount) {
      const { status, text, json } = await login(role, data, mount)
      if (status !== 200) throw new Error(text)
      return json.auth
    },
    async census() {
      const counts = COUNTED.map((table) => `(select count(*)::int from leasehold.${table}) as ${table}`)
      const { rows } = await at.ledger.ledger.query<Record<string, number>>(
        `select ${counts.join(', ')}, (select number::int from leasehold.revision) as revision`,
      )
      return rows[0] as Record<string, number>
    },
    async secrets() {
      const { rows } = await at.ledger.ledger.query<{ name: string }>(
        `select name from leasehold.sealed_secret where name like 'auth/%' order by name`,
      )
      return rows.map(({ name }) => name)
    },
    async close() {
      await at.close()
      await kubernetes.stop()
    },
  }
}

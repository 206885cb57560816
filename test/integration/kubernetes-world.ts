import { type ApiAnswer, openTestBroker, type TestBroker } from '../support/broker.ts'
import { openTestCluster, type TestCluster } from '../support/kubernetes-cluster.ts'

/** A broker with a cluster mounted at `kubernetes/`, and a namespace with the account `default` in it. */
export type KubernetesWorld = {
  at: TestBroker
  cluster: TestCluster
  namespace: string
  writeRole(name: string, fields: object): Promise<ApiAnswer>
  take(role: string, fields?: object): Promise<ApiAnswer>
  /** What ends a lease, as its holder would. */
  revoke(leaseId: string): Promise<ApiAnswer>
  lookUp(leaseId: string): Promise<ApiAnswer>
  // biome-ignore lint/suspicious/noExplicitAny: what a test expects of it is the test's to say
  receipt(leaseId: string): Promise<any>
  /** What of ours is in the namespace or, of the cluster's own kinds, anywhere. */
  left(): Promise<string[]>
  close(): Promise<void>
}

const RBAC = '/apis/rbac.authorization.k8s.io/v1'

export async function openKubernetesWorld({ own = false, worker = false } = {}): Promise<KubernetesWorld> {
  const cluster = await openTestCluster({ own })
  const at = await openTestBroker({ worker })
  const namespace = await cluster.namespace({ team: 'shop' })
  await at.api('POST', 'sys/mounts/kubernetes', { type: 'kubernetes' })
  const enrolled = await at.api('POST', 'kubernetes/config', configOf(cluster))
  if (enrolled.status > 299) throw new Error(enrolled.text)
  const inNamespace = ['/api/v1', RBAC].flatMap((root) =>
    (root === RBAC ? ['roles', 'rolebindings'] : ['secrets', 'serviceaccounts']).map(
      (resource) => `${root}/namespaces/${namespace}/${resource}`,
    ),
  )
  return {
    at,
    cluster,
    namespace,
    writeRole: (name, fields) =>
      at.api('POST', `kubernetes/roles/${name}`, { allowed_kubernetes_namespaces: namespace, ...fields }),
    take: (role, fields = {}) => at.api('POST', `kubernetes/creds/${role}`, fields),
    revoke: (leaseId) => at.api('PUT', 'sys/leases/revoke', { lease_id: leaseId }),
    lookUp: (leaseId) => at.api('PUT', 'sys/leases/lookup', { lease_id: leaseId }),
    async receipt(leaseId) {
      const { json } = await at.api('GET', `sys/leasehold/receipts/${leaseId}`)
      return JSON.parse(Buffer.from(json.data.receipt.split('.')[1], 'base64url').toString())
    },
    async left() {
      const ours = '?labelSelector=app.kubernetes.io/managed-by%3Dleasehold'
      const paths = [...inNamespace, `${RBAC}/clusterroles`, `${RBAC}/clusterrolebindings`]
      const found = await Promise.all(
        paths.map(async (path) =>
          (await cluster.names(path + ours)).map((name) => `${path.split('/').at(-1)} ${name}`),
        ),
      )
      return found.flat()
    },
    async close() {
      await at.close()
      await cluster.close()
    },
  }
}

/** What enrols the cluster. */
export const configOf = (cluster: TestCluster): Record<string, unknown> => ({
  kubernetes_host: cluster.host,
  kubernetes_ca_cert: cluster.caPem,
  service_account_jwt: cluster.brokerToken,
  disable_local_ca_jwt: true,
  token_cache: Math.ceil(cluster.cacheMs / 1_000),
})

import { decodeJwt } from 'jose'
import { kubernetes } from '../../src/engine/kubernetes/kubernetes.ts'
import type { Rig } from './engines.ts'
import { openTestCluster, RBAC, type TestCluster } from './kubernetes-cluster.ts'

const RULES = JSON.stringify({
  rules: [{ apiGroups: [''], resources: ['configmaps'], verbs: ['get', 'list'] }],
})

/** The three kinds of role; each gives the right to list what `work` lists. */
const MODES: {
  name: string
  fields(cluster: TestCluster, namespace: string): Promise<Record<string, unknown>>
}[] = [
  { name: 'existing service account', fields: existingAccount },
  {
    name: 'existing role',
    fields: async () => ({ kubernetes_role_name: 'view', kubernetes_role_type: 'ClusterRole' }),
  },
  { name: 'generated role', fields: async () => ({ generated_role_rules: RULES }) },
]

async function existingAccount({ ask }: TestCluster, namespace: string) {
  await ask('POST', `${RBAC}/namespaces/${namespace}/rolebindings`, {
    metadata: { name: 'default-may-view' },
    roleRef: { apiGroup: 'rbac.authorization.k8s.io', kind: 'ClusterRole', name: 'view' },
    subjects: [{ kind: 'ServiceAccount', name: 'default', namespace }],
  })
  return { service_account_name: 'default' }
}

/** Nothing listens there. */
const NOWHERE = 'http://127.0.0.1:1'

/** Leases of every kind of role, on the cluster of `KUBECONFIG` or one of the test's own. */
export const KUBERNETES_RIGS = MODES.map(({ name, fields }) => ({
  name: `Kubernetes, ${name}`,
  start: async (): Promise<Rig> => {
    const cluster = await openTestCluster()
    const namespace = await cluster.namespace()
    const where = { allowed_kubernetes_namespaces: [namespace] }
    const role = await kubernetes.checkRole({ ...where, ...(await fields(cluster, namespace)) })
    const broken = await kubernetes.checkRole({ ...where, service_account_name: 'no-such-account' })
    const work = async (token: string) => {
      const { status } = await cluster.askAs(token, 'GET', `/api/v1/namespaces/${namespace}/configmaps`)
      if (status !== 200) throw new Error(`the API server answers ${status}`)
    }
    return {
      type: kubernetes,
      target: cluster.target,
      admin: cluster.admin,
      role: role.spec,
      brokenRole: broken.spec,
      deadTarget: kubernetes.checkTarget({ kubernetes_host: NOWHERE, disable_local_ca_jwt: true }).spec,
      nameIn: ({ service_account_token: secret }) => `${namespace}/${secretIn(revealed(secret))}`,
      async logIn({ service_account_token: secret }) {
        const token = revealed(secret)
        // It takes the API server a moment to hear of a binding that was just made.
        await settled(() => work(token))
        return { work: () => work(token), leave: async () => {} }
      },
      accountNames: async () => {
        const secrets = await cluster.names(`/api/v1/namespaces/${namespace}/secrets`)
        return secrets.filter((each) => each.startsWith('v-')).map((each) => `${namespace}/${each}`)
      },
      expiryOf: async () => null,
      stop: cluster.close,
    }
  },
}))

const revealed = (secret: unknown): string => (secret as { reveal(): string }).reveal()

/** What the token hangs on, as it says itself. */
const secretIn = (token: string): string =>
  (decodeJwt(token)['kubernetes.io'] as { secret: { name: string } }).secret.name

const ATTEMPTS = 20

async function settled(work: () => Promise<void>): Promise<void> {
  for (let attempt = 1; ; attempt += 1) {
    try {
      return await work()
    } catch (error) {
      if (attempt === ATTEMPTS) throw error
      await new Promise((resolve) => setTimeout(resolve, 50))
    }
  }
}

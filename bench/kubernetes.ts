import { randomBytes } from 'node:crypto'
import { kubernetes } from '../src/engine/kubernetes/kubernetes.ts'
import { newId } from '../src/lib/ids.ts'
import { openTestCluster, type TestCluster } from '../test/support/kubernetes-cluster.ts'
import { emptySample, join, loop } from './load.ts'
import { type Figure, rateFigure } from './report.ts'

/** How often and how long each side has its turn. */
export type KubernetesSize = { rounds: number; clients: readonly number[]; turnMs: number }

const SIDES = ['engine', 'token', 'secretAndToken'] as const
type Side = (typeof SIDES)[number]
type Sides = Record<Side, () => Promise<unknown>>

const TTL_S = 3_600

/**
 * A token of an account that is there already: the lease's Secret, and a token that hangs on it. The API server is
 * the tests' own, in this process and without a disk: what is measured is what we add, not what a cluster can do.
 */
export async function kubernetesFigures({ rounds, clients, turnMs }: KubernetesSize): Promise<Figure[]> {
  const cluster = await openTestCluster({ own: true })
  const namespace = await cluster.namespace()
  const engine = kubernetes.open(cluster.target, async () => cluster.admin)
  const sides = { engine: await byEngine(engine, cluster, namespace), ...byHand(cluster, namespace) }
  try {
    const figures: Figure[] = []
    for (const count of clients) figures.push(...(await measure(sides, { rounds, turnMs, count })))
    return figures
  } finally {
    await engine.close()
    await cluster.close()
  }
}

/** In turns, so that whatever else the machine does falls on all. The first round only warms up. */
async function measure(
  sides: Sides,
  { rounds, turnMs, count }: { rounds: number; turnMs: number; count: number },
): Promise<Figure[]> {
  const samples = { engine: emptySample(), token: emptySample(), secretAndToken: emptySample() }
  for (let round = 0; round <= rounds; round += 1) {
    for (const side of SIDES) {
      const sample = await loop(count, { forMs: turnMs }, sides[side])
      if (round > 0) join(samples[side], sample)
    }
  }
  const name = `Kubernetes token, the engine alone on the tests' API server, ${count} client${count === 1 ? '' : 's'}`
  return [
    rateFigure(name, samples.engine, 'raw TokenRequest, bound to nothing', samples.token),
    rateFigure(name, samples.engine, 'raw Secret and TokenRequest bound to it', samples.secretAndToken),
  ]
}

async function byEngine(
  engine: ReturnType<typeof kubernetes.open>,
  { target }: TestCluster,
  namespace: string,
): Promise<Sides['engine']> {
  const { spec: role } = await kubernetes.checkRole({
    allowed_kubernetes_namespaces: [namespace],
    service_account_name: 'default',
  })
  return async () => {
    const leaseId = newId()
    const asked = { kubernetes_namespace: namespace }
    const name = kubernetes.accountName({ target, role, asked, roleName: 'bench', leaseId, displayName: '' })
    const account = { leaseId, name, targetRef: null }
    const [result] = await engine.create([
      { account, role, asked, lifetimeMs: TTL_S * 1_000, createWithinMs: 20_000 },
    ])
    if (!result?.ok) throw result?.error ?? new Error('no answer')
  }
}

/** By the same account, which may do no more than the engine needs. */
function byHand({ askAs, brokerToken }: TestCluster, namespace: string): Omit<Sides, 'engine'> {
  const root = `/api/v1/namespaces/${namespace}`
  const post = async (path: string, body: object): Promise<Record<string, unknown>> => {
    const answer = await askAs(brokerToken, 'POST', `${root}/${path}`, body)
    if (answer.status > 299) throw new Error(`${path}: the API server answers ${answer.status}`)
    return answer.body
  }
  const token = (boundObjectRef?: object) =>
    post('serviceaccounts/default/token', {
      apiVersion: 'authentication.k8s.io/v1',
      kind: 'TokenRequest',
      spec: { audiences: [], expirationSeconds: TTL_S, ...(boundObjectRef && { boundObjectRef }) },
    })
  return {
    token: () => token(),
    async secretAndToken() {
      const name = `raw-${randomBytes(8).toString('hex')}`
      const secret = await post('secrets', { apiVersion: 'v1', kind: 'Secret', metadata: { name } })
      const { uid } = secret.metadata as { uid: string }
      await token({ apiVersion: 'v1', kind: 'Secret', name, uid })
    },
  }
}

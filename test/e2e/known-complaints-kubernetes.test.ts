import { afterAll, beforeAll, expect, test } from 'vitest'
import { configOf, type KubernetesWorld, openKubernetesWorld } from '../integration/kubernetes-world.ts'

/** What hurts the users of the peers, each a test named after its row of the collected complaints. */

let world: KubernetesWorld
beforeAll(async () => {
  world = await openKubernetesWorld({ worker: true })
  await world.writeRole('shared', { service_account_name: 'default' })
})
afterAll(async () => {
  await world?.close()
})

type Leased = { lease_id: string; data: { service_account_token: string } }
const take = async (fields: object = {}): Promise<Leased> => (await world.take('shared', fields)).json
const accepts = ({ data }: Leased) => world.cluster.accepts(data.service_account_token)

test('row 16: the token of an existing service account is revoked with its lease, and a TokenReview proves it', async () => {
  const [mine, other] = [await take({ ttl: '1h' }), await take({ ttl: '1h' })]
  expect(await accepts(mine)).toBe(true)
  expect((await world.lookUp(mine.lease_id)).json.data.revocability).toBe('immediate')
  expect((await world.revoke(mine.lease_id)).status).toBe(204)
  expect(await accepts(mine)).toBe(false)
  expect(await accepts(other)).toBe(true)
  const { steps } = await world.receipt(mine.lease_id)
  expect(steps).toContainEqual(
    expect.objectContaining({
      step: 'disconnect',
      evidence: expect.objectContaining({ token_refused: true }),
    }),
  )
  await world.revoke(other.lease_id)
})

test('row 16: a token that lives longer than its lease is taken back when the lease ends', async () => {
  const lease = await take({ ttl: '2m' })
  await world.at.ledger.advance(121)
  await expect
    .poll(async () => (await world.at.api('GET', `sys/leasehold/receipts/${lease.lease_id}`)).status, {
      timeout: 45_000,
    })
    .toBe(200)
  expect(await accepts(lease)).toBe(false)
})

test('row 21: a lease ends with the Job that holds it', async () => {
  const jobs = `/apis/batch/v1/namespaces/${world.namespace}/jobs`
  const container = { name: 'main', image: 'example.org/none' }
  const { body } = await world.cluster.ask('POST', jobs, {
    apiVersion: 'batch/v1',
    kind: 'Job',
    metadata: { name: 'nightly' },
    spec: { suspend: true, template: { spec: { containers: [container], restartPolicy: 'Never' } } },
  })
  const lease = await take({
    bound_object_kind: 'Job',
    bound_object_name: 'nightly',
    bound_object_uid: (body.metadata as { uid: string }).uid,
  })
  await world.cluster.ask('DELETE', `${jobs}/nightly`, { propagationPolicy: 'Background' })
  await expect.poll(() => accepts(lease), { timeout: 45_000 }).toBe(false)
})

test('row 37: how soon a kind can be revoked is known before and told after, and what cannot be is not enrolled', async () => {
  expect((await world.at.api('GET', 'kubernetes/config')).json.data.revocability).toBe('immediate')
  const lease = await take()
  await world.revoke(lease.lease_id)
  const { residual } = await world.receipt(lease.lease_id)
  expect(residual).toEqual([
    expect.stringMatching(/^for \d+ s after access ended/),
    expect.stringMatching(/a watch, a log or an exec/),
  ])

  const { role } = world.cluster.broker
  const path = `/apis/rbac.authorization.k8s.io/v1/clusterroles/${role}`
  const { rules } = (await world.cluster.ask('GET', path)).body as {
    rules: { resources: string[]; verbs: string[] }[]
  }
  const unable = rules.map((rule) =>
    rule.resources.includes('secrets')
      ? { ...rule, verbs: rule.verbs.filter((verb) => verb !== 'delete') }
      : rule,
  )
  await world.cluster.ask('PATCH', path, { rules: unable })
  try {
    await expect
      .poll(
        async () => (await world.at.api('POST', 'kubernetes/config', configOf(world.cluster))).json?.errors,
      )
      .toEqual([expect.stringContaining('the admin account lacks: delete secrets')])
  } finally {
    await world.cluster.ask('PATCH', path, { rules })
  }
})

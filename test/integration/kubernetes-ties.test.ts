import { afterAll, beforeAll, expect, test } from 'vitest'
import { type KubernetesWorld, openKubernetesWorld } from './kubernetes-world.ts'

/** On the cluster of `KUBECONFIG`, or one of the test's own; the worker runs. */

let world: KubernetesWorld
beforeAll(async () => {
  world = await openKubernetesWorld({ worker: true })
  await world.writeRole('existing', { service_account_name: 'default' })
})
afterAll(async () => {
  await world?.close()
})

const POD = {
  spec: { containers: [{ name: 'main', image: 'example.org/none' }], automountServiceAccountToken: false },
}
const JOB = {
  spec: { suspend: true, template: { spec: { ...POD.spec, restartPolicy: 'Never' } } },
}
type Holder = readonly [kind: string, root: string, resource: string, object: object]
const KINDS: readonly [Holder, Holder] = [
  ['Pod', '/api/v1', 'pods', POD],
  ['Job', '/apis/batch/v1', 'jobs', JOB],
]

let counter = 0
/** Makes a Pod or Job, and answers what ties a lease to it. */
async function tied([kind, root, resource, object]: Holder) {
  counter += 1
  const name = `holder-${counter}`
  const all = `${root}/namespaces/${world.namespace}/${resource}`
  const { body, status } = await world.cluster.ask('POST', all, {
    kind,
    apiVersion: kind === 'Job' ? 'batch/v1' : 'v1',
    metadata: { name },
    ...object,
  })
  if (status !== 201) throw new Error(JSON.stringify(body))
  const { uid } = body.metadata as { uid: string }
  return {
    path: `${all}/${name}`,
    fields: { bound_object_kind: kind, bound_object_name: name, bound_object_uid: uid },
  }
}
const remove = (path: string) =>
  world.cluster.ask('DELETE', path, { propagationPolicy: 'Background', gracePeriodSeconds: 0 })
const untilEnded = (leaseId: string) =>
  expect
    .poll(async () => (await world.at.api('GET', `sys/leasehold/receipts/${leaseId}`)).status, {
      timeout: 45_000,
    })
    .toBe(200)

test.each([...KINDS])('a lease that is tied to a %s ends with it, and no other does', async (...kind) => {
  const holder = await tied(kind)
  const other = await tied(kind)
  const [mine, others] = [
    await world.take('existing', holder.fields),
    await world.take('existing', other.fields),
  ]
  expect([mine.status, others.status]).toEqual([200, 200])
  await remove(holder.path)
  await untilEnded(mine.json.lease_id)
  expect((await world.receipt(mine.json.lease_id)).reason).toBe('tie_gone')
  expect(await world.cluster.accepts(mine.json.data.service_account_token)).toBe(false)
  expect(await world.cluster.accepts(others.json.data.service_account_token)).toBe(true)
  await world.revoke(others.json.lease_id)
})

test('what has run its course counts as gone', async () => {
  const holder = await tied(KINDS[0])
  const { json } = await world.take('existing', holder.fields)
  await world.cluster.ask('PATCH', `${holder.path}/status`, { status: { phase: 'Succeeded' } })
  await untilEnded(json.lease_id)
  expect((await world.take('existing', holder.fields)).status).toBe(400)
})

test.each([
  ['another UID', { bound_object_uid: '6b1ab4c8-0000-4000-8000-000000000000' }],
  ['another name', { bound_object_name: 'nobody' }],
  ['another kind', { bound_object_kind: 'Job' }],
  ['a kind nobody knows', { bound_object_kind: 'Deployment' }],
])('a lease is not tied to %s', async (_, fields) => {
  const holder = await tied(KINDS[0])
  const answer = await world.take('existing', { ...holder.fields, ...fields })
  expect(answer.status).toBe(400)
  await remove(holder.path)
  expect(await world.left()).toEqual([])
})

test('the token goes with what its lease is tied to even while no broker is there to see it', async () => {
  const holder = await tied(KINDS[0])
  const { json } = await world.take('existing', holder.fields)
  const secrets = await world.cluster.ask('GET', `/api/v1/namespaces/${world.namespace}/secrets`)
  const [secret] = (secrets.body.items as { metadata: { ownerReferences?: unknown } }[]).filter(
    ({ metadata }) => metadata.ownerReferences,
  )
  expect(secret?.metadata.ownerReferences).toEqual([
    {
      apiVersion: 'v1',
      kind: 'Pod',
      name: holder.fields.bound_object_name,
      uid: holder.fields.bound_object_uid,
    },
  ])
  await remove(holder.path)
  await untilEnded(json.lease_id)
})

import { afterEach, beforeEach, expect, test } from 'vitest'
import { openTestCluster, type TestCluster } from '../support/kubernetes-cluster.ts'
import {
  type AccessWorld,
  expectOnRecord,
  type GlassRequest,
  openAccessWorld,
} from './break-glass-access-world.ts'
import { configOf } from './kubernetes-world.ts'

/** Roles of a cluster, of which one more thing has to be said than of those of a database: where. */

let at: AccessWorld
let cluster: TestCluster
let namespaces: string[]
beforeEach(async () => {
  cluster = await openTestCluster()
  namespaces = [await cluster.namespace(), await cluster.namespace()]
  at = await openAccessWorld({ roles: ['database/creds/*', 'kubernetes/creds/*'] })
  await at.api('POST', 'sys/mounts/kubernetes', { type: 'kubernetes' })
  const enrolled = await at.api('POST', 'kubernetes/config', configOf(cluster))
  expect(enrolled.status, enrolled.text).toBeLessThan(300)
  const written = await at.api('POST', 'kubernetes/roles/viewer', {
    allowed_kubernetes_namespaces: namespaces,
    service_account_name: 'default',
  })
  expect(written.status, written.text).toBeLessThan(300)
})
afterEach(async () => {
  await at.close()
  await cluster.close()
})

const PATH = 'kubernetes/creds/viewer'
const refusal = async (roles: unknown) => {
  const ask = { policy: 'db', roles, reason: 'orders are stuck in the queue since 02:40' }
  const { status, json } = await at.rita.api('POST', 'break-glass/requests', ask)
  return [status, json.errors?.[0]]
}

test('where a role is to be had is asked for with it, agreed to with it, and nowhere else', async () => {
  const [, second = ''] = namespaces
  expect(await refusal([PATH])).toEqual([400, expect.stringContaining("'kubernetes_namespace' is required")])
  expect(await refusal([{ path: PATH, kubernetes_namespace: 'kube-system' }])).toEqual([
    400,
    expect.stringMatching(/field "roles".*'kube-system' is not present/),
  ])
  const wrong = [
    [{ path: 'database/creds/app', kubernetes_namespace: second }],
    [{ path: PATH, namespace: second }],
    [{ kubernetes_namespace: second }],
    namespaces.map((kubernetes_namespace) => ({ path: PATH, kubernetes_namespace })),
  ]
  for (const roles of wrong) {
    expect(await refusal(roles)).toEqual([400, expect.stringContaining('field "roles"')])
  }

  const role = { path: PATH, kubernetes_namespace: second }
  const there = await at.ask(at.rita, { roles: [role, 'database/creds/app'] })
  expect(there.plan.roles).toMatchObject([role, { path: 'database/creds/app' }])
  expect(there.plan.roles[0].privileges).toContain(`in the namespace ${second}`)
  expect(there.plan.roles[1]).not.toHaveProperty('kubernetes_namespace')
  const elsewhere = { path: PATH, kubernetes_namespace: namespaces[0] }
  const other = await at.ask(at.rita, { roles: [elsewhere, 'database/creds/app'] })
  expect(other.plan_hash).not.toBe(there.plan_hash)
  const { id } = there
  for (const voter of [at.ann, at.olga]) {
    expect((await at.act(voter, id, 'approve', { plan_hash: other.plan_hash })).status).toBe(409)
    await at.act(voter, id, 'approve', { plan_hash: there.plan_hash })
  }
  const given = (await at.act(at.rita, id, 'activate')).json.data.credentials
  const collected = (await at.act(at.rita, id, 'collect', { roles: PATH })).json.data.credentials
  for (const [{ data }] of [given, collected]) {
    expect(data).toMatchObject({ service_account_name: 'default', service_account_namespace: second })
  }
})

test('what is had at a guarded path under a grant in force ends with that grant', async () => {
  const [kubernetes_namespace] = namespaces
  const { name: _, version: __, ...like } = (await at.api('GET', 'break-glass/policies/db')).json.data
  await at.api('POST', 'break-glass/policies/db', { ...like, control_group: true })
  await at.api('PUT', 'sys/policies/acl/writes', { policy: `path "${PATH}" { capabilities = ["update"] }` })
  const rita = await at.people.person('rita', { policies: ['writes'] })
  const had = () => rita.api('POST', PATH, { kubernetes_namespace })
  expect((await had()).status).toBe(403)
  const { request } = await at.active({ roles: [{ path: PATH, kubernetes_namespace }] })
  const { status, json } = await had()
  expect(status).toBe(200)
  await at.act(rita, request.id, 'end')
  const lease = (await at.api('PUT', 'sys/leases/lookup', { lease_id: json.lease_id })).json
  expect(lease.data?.ttl ?? 0).toBe(0)
  expect((await at.leases(request.id)).map(({ state }) => state)).toEqual(['revoked', 'revoked'])
})

test('who may ask is told where a role may be had, of one of which it has to be said', async () => {
  const [first] = namespaces
  await at.api('POST', 'kubernetes/roles/one', {
    allowed_kubernetes_namespaces: first,
    service_account_name: 'default',
  })
  const { policies } = (await at.rita.api('GET', 'break-glass/eligible')).json.data
  const choices = policies[0].roles.map(({ path, kubernetes_namespaces }: GlassRequest) => [
    path,
    kubernetes_namespaces,
  ])
  expect(Object.fromEntries(choices)).toMatchObject({
    [PATH]: { listed: namespaces, any: false, selector: '' },
    'kubernetes/creds/one': null,
    'database/creds/app': null,
  })
})

test('policy and the condition of a role see where it is asked for, as by writing', async () => {
  const [first = ''] = namespaces
  await at.api('POST', 'kubernetes/roles/viewer', {
    allowed_kubernetes_namespaces: namespaces,
    service_account_name: 'default',
    condition: 'approval.live && request.operation == "update"',
  })
  const { request } = await at.active({ roles: [{ path: PATH, kubernetes_namespace: first }] })
  expect(request.state).toBe('active')
})

test('more time for what cannot be made longer: the access goes on, and says what to collect anew', async () => {
  const [first = ''] = namespaces
  const { request, credentials } = await at.active({
    roles: ['database/creds/app', { path: PATH, kubernetes_namespace: first }],
  })
  const { id } = request
  const fixed = credentials.find(({ path }) => path === PATH)?.lease_id
  await at.ledger.advance(21 * 60)
  const { rita, ann } = await at.logInAgain()
  const nina = await at.people.person('nina', { groups: ['owners'] })
  const asked = (await at.act(rita, id, 'extend', { duration: '10m', reason: 'still stuck' })).json.data
  const { plan_hash } = asked.extensions[0]
  await at.act(ann, id, 'approve-extension', { plan_hash })
  const extended = (await at.act(nina, id, 'approve-extension', { plan_hash })).json.data
  expect(extended.events.at(-1)).toMatchObject({ event: 'extend', detail: { collect_anew: [fixed] } })
  const anew = ({ leases }: GlassRequest) =>
    leases.map(({ path, state, collect_anew }: GlassRequest) => [path, state, collect_anew])
  expect(anew(extended).sort()).toEqual([
    ['database/creds/app', 'active', false],
    [PATH, 'active', true],
  ])
  const collected = await at.act(rita, id, 'collect', { roles: PATH })
  expect(collected.status, collected.text).toBe(200)
  const [{ leasehold }] = collected.json.data.credentials
  expect(new Date(leasehold.hard_expires_at).getTime()).toBeGreaterThan(
    new Date(request.expires_at).getTime(),
  )
  expect(anew(await at.look(id)).filter(([, , isAnew]: unknown[]) => isAnew)).toEqual([])
  await expectOnRecord(at, id)
})

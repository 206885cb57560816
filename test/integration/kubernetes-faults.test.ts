import { afterAll, afterEach, beforeAll, expect, test } from 'vitest'
import type { Follow, Tied } from '../../src/engine/engine.ts'
import { openApi } from '../../src/engine/kubernetes/api.ts'
import { kubernetes } from '../../src/engine/kubernetes/kubernetes.ts'
import { readTarget } from '../../src/engine/kubernetes/target.ts'
import { newId } from '../../src/lib/ids.ts'
import type { KubernetesServer } from '../support/kubernetes-server.ts'
import { type KubernetesWorld, openKubernetesWorld } from './kubernetes-world.ts'

/** What goes wrong on purpose, so always on a server of the test's own. */

let world: KubernetesWorld
let server: KubernetesServer
beforeAll(async () => {
  world = await openKubernetesWorld({ own: true })
  server = world.cluster.server as KubernetesServer
  await world.writeRole('viewer', { kubernetes_role_name: 'view', kubernetes_role_type: 'ClusterRole' })
  await world.writeRole('batch', { service_account_name: 'default', renewable: true })
})
afterEach(() => {
  server.plan(undefined)
  server.settings.maxSeconds = undefined
})
afterAll(async () => {
  await world?.close()
})

/** By the broker, of this kind, for as many times as told. */
const failing = (
  method: string,
  path: RegExp,
  fault: { status: number; retryAfter?: number } | 'cut' | 'late',
  times = 1,
) => {
  let left = times
  server.plan((seen) => {
    if (seen.user === 'admin' || seen.method !== method || !path.test(seen.path) || left === 0)
      return undefined
    left -= 1
    return fault
  })
}
const untilGone = (leaseId?: string) =>
  expect
    .poll(
      async () => {
        // What failed is tried again after a while.
        await world.at.ledger.advance(60)
        await world.at.broker.sweep.once()
        const ended =
          leaseId === undefined ||
          (await world.at.api('GET', `sys/leasehold/receipts/${leaseId}`)).status === 200
        return ended ? world.left() : 'still live'
      },
      { timeout: 45_000 },
    )
    .toEqual([])

test.each([
  ['Secret', /\/secrets$/],
  ['ServiceAccount', /\/serviceaccounts$/],
  ['RoleBinding', /\/rolebindings$/],
  ['token', /\/token$/],
])('a lease of which the %s is not made leaves nothing behind, however it fails', async (_, path) => {
  for (const [fault, code] of [
    [{ status: 500 }, 500],
    [{ status: 403 }, 400],
    [{ status: 409 }, 400],
    [{ status: 422 }, 400],
    ['cut', 500],
    ['late', 500],
  ] as const) {
    // Twice: what may be asked twice is, when its connection was an old one.
    failing('POST', path, fault, 2)
    expect((await world.take('viewer')).status).toBe(code)
    server.plan(undefined)
    await untilGone()
  }
})

test('a server that sheds load is waited for', async () => {
  failing('POST', /\/secrets$/, { status: 429, retryAfter: 0.1 }, 2)
  const { status, json } = await world.take('viewer')
  expect(status).toBe(200)
  await world.revoke(json.lease_id)
})

test.each([
  ['DELETE', /\/secrets\//, { status: 500 }],
  ['DELETE', /\/secrets\//, 'late'],
  ['DELETE', /\/rolebindings\//, { status: 429 }],
  ['DELETE', /\/serviceaccounts\//, 'cut'],
  ['POST', /\/token$/, { status: 500 }],
  ['POST', /\/token$/, { status: 403 }],
  ['POST', /\/tokenreviews$/, { status: 500 }],
  ['POST', /\/tokenreviews$/, { status: 403 }],
] as const)('a lease ends although %s %s fails once with %o', async (method, path, fault) => {
  const { json } = await world.take('viewer')
  failing(method, path, fault)
  await world.revoke(json.lease_id)
  await untilGone(json.lease_id)
  expect(await world.cluster.accepts(json.data.service_account_token)).toBe(false)
})

test('an object that something holds on to keeps its lease from counting as ended, until it goes', async () => {
  const { json } = await world.take('viewer')
  const { service_account_name: name, service_account_namespace: namespace } = json.data
  const path = `/api/v1/namespaces/${namespace}/serviceaccounts/${name}`
  await world.cluster.ask('PATCH', path, { metadata: { finalizers: ['example.org/held'] } })
  const refused = await world.revoke(json.lease_id)
  expect(refused.status).toBe(400)
  expect(refused.json.errors[0]).toMatch(/ServiceAccount ".*" was still there/)
  expect(await world.cluster.accepts(json.data.service_account_token)).toBe(false)
  expect((await world.lookUp(json.lease_id)).json.data.access_ended_at).not.toBeNull()
  await world.cluster.ask('PATCH', path, { metadata: { finalizers: null } })
  await untilGone(json.lease_id)
})

test('a Secret that something holds on to ends no access that nobody can see the end of', async () => {
  const { json } = await world.take('batch')
  const secrets = `/api/v1/namespaces/${world.namespace}/secrets`
  const [name = ''] = (await world.cluster.names(secrets)).filter((each) =>
    each.endsWith(json.lease_id.split('/').at(-1)),
  )
  await world.cluster.ask('PATCH', `${secrets}/${name}`, { metadata: { finalizers: ['example.org/held'] } })
  failing('POST', /\/token$/, { status: 403 }, Number.POSITIVE_INFINITY)
  const refused = await world.revoke(json.lease_id)
  expect(refused.json.errors[0]).toContain('something holds the Secret')
  expect((await world.lookUp(json.lease_id)).json.data.access_ended_at).toBeNull()
  await world.cluster.ask('PATCH', `${secrets}/${name}`, { metadata: { finalizers: null } })
  await untilGone(json.lease_id)
})

test('a cluster that cuts tokens short cuts their leases, in the words of the dialect', async () => {
  server.settings.maxSeconds = 1_200
  const { json } = await world.take('batch', { ttl: '1h' })
  expect(json.lease_duration).toBeLessThanOrEqual(1_200)
  expect(json.lease_duration).toBeGreaterThan(1_190)
  expect(json.warnings).toEqual([
    expect.stringMatching(
      /^the created Kubernetes service accout token TTL 20m is less than the Vault lease TTL (1h|1h0m1s); capping the lease TTL accordingly$/,
    ),
  ])
  const renewed = await world.at.api('POST', 'kubernetes/creds/batch/renew', {
    lease_id: json.lease_id,
    increment: '2h',
  })
  expect(renewed.json.lease_duration).toBeLessThanOrEqual(1_200)
  expect(renewed.json.warnings).toEqual([expect.stringContaining('is less than the Vault lease TTL')])
  await world.revoke(json.lease_id)
})

test('a proxy that no longer knows the cluster is no proof that anything is gone', async () => {
  const { json } = await world.take('viewer')
  server.plan(({ user }) => (user === 'admin' ? undefined : { status: 404 }))
  expect((await world.revoke(json.lease_id)).status).not.toBe(204)
  expect((await world.lookUp(json.lease_id)).json.data.access_ended_at).toBeNull()
  expect(await world.cluster.accepts(json.data.service_account_token)).toBe(true)
  server.plan(undefined)
  await untilGone(json.lease_id)
})

test('what waited for its turn until its time was over is not sent any more', async () => {
  const api = openApi(readTarget(world.cluster.target), async () => world.cluster.admin)
  server.plan(({ path }) => (path.endsWith('/held') ? 'silent' : undefined))
  const held = Array.from({ length: 32 }, () => api.ask('issuing', { path: '/held', withinMs: 600 }))
  const late = api.ask('issuing', { method: 'POST', path: '/late', withinMs: 300 })
  await expect(late).rejects.toMatchObject({ kind: 'late' })
  expect((await Promise.allSettled(held)).every(({ status }) => status === 'rejected')).toBe(true)
  expect(server.requests).not.toContain('POST /late')
  // Endings have places of their own.
  await expect(api.ask('ending', { path: '/version' })).resolves.toBeDefined()
  api.close()
})

test('the scan is not stopped by objects that somebody wrote a book on', async () => {
  const engine = kubernetes.open(world.cluster.target, async () => world.cluster.admin)
  const wanted = Array.from({ length: 12 }, () => newId()).sort()
  for (const leaseId of wanted) {
    server.store.create('secrets', world.namespace, {
      metadata: {
        name: `v-long-${leaseId}`,
        labels: { 'app.kubernetes.io/managed-by': 'leasehold', 'leasehold/lease-id': leaseId },
        annotations: { book: 'x'.repeat(256 * 1_024) },
      },
    } as never)
  }
  const seen: string[] = []
  for await (const { leaseId } of engine.accounts()) seen.push(leaseId)
  expect(seen.sort()).toEqual(wanted)
  for (const id of wanted) server.store.delete('secrets', world.namespace, `v-long-${id}`)
  await engine.close()
})

test('the scan goes on over many pages, and over one whose moment has passed', async () => {
  const engine = kubernetes.open(world.cluster.target, async () => world.cluster.admin)
  const wanted = Array.from({ length: 450 }, () => newId()).sort()
  for (const leaseId of wanted) {
    server.store.create('secrets', world.namespace, {
      metadata: {
        name: `v-many-${leaseId}`,
        labels: { 'app.kubernetes.io/managed-by': 'leasehold', 'leasehold/lease-id': leaseId },
      },
    } as never)
  }
  let pages = 0
  server.plan(({ method, path }) => {
    // A thing made between two pages, after which the server forgets the first one's moment.
    if (method === 'GET' && path === '/api/v1/secrets') pages += 1
    if (pages === 2) {
      server.store.create('configmaps', world.namespace, { metadata: { name: newId() } } as never)
      server.store.compact()
    }
    return undefined
  })
  const seen: string[] = []
  for await (const { leaseId } of engine.accounts()) seen.push(leaseId)
  expect(seen.sort()).toEqual(wanted)
  expect(pages).toBeGreaterThan(2)
  for (const id of wanted) server.store.delete('secrets', world.namespace, `v-many-${id}`)
  await engine.close()
})

test('the scan finds what is left of a lease whose Secret is gone', async () => {
  const engine = kubernetes.open(world.cluster.target, async () => world.cluster.admin)
  const { json } = await world.take('viewer', { cluster_role_binding: true })
  const { service_account_name: name } = json.data
  const leaseId = json.lease_id.split('/').at(-1)
  await world.cluster.ask('DELETE', `/api/v1/namespaces/${world.namespace}/secrets/${name}`)
  await world.cluster.ask('DELETE', `/api/v1/namespaces/${world.namespace}/serviceaccounts/${name}`)
  const seen = []
  for await (const account of engine.accounts()) seen.push(account)
  expect(seen).toEqual([{ leaseId, name: `${world.namespace}/${name}`, targetRef: null }])
  await world.revoke(json.lease_id)
  await engine.close()
})

/** The engine's own watch, without a broker: what it tells, and when. */
function follow(tied: Tied[], resyncMs = 60_000) {
  const engine = kubernetes.open(world.cluster.target, async () => world.cluster.admin)
  const gone: string[] = []
  const troubles: string[] = []
  const how: Follow = {
    onGone: (leaseId) => void gone.push(leaseId),
    onTrouble: (error) => void troubles.push(String(error)),
    resyncMs,
  }
  const following = engine.follow?.(how)
  following?.follow(tied)
  const close = async () => {
    await following?.stop()
    await engine.close()
  }
  return { gone, troubles, close }
}

const pod = (name: string): Tied => {
  const made = server.store.create('pods', world.namespace, { metadata: { name } } as never)
  return {
    account: { leaseId: `lease-of-${name}`, name: `${world.namespace}/v-${name}`, targetRef: null },
    asked: {
      bound_object_kind: 'Pod',
      bound_object_name: name,
      bound_object_uid: String(made?.metadata.uid),
    },
  }
}
const watches = () => server.requests.filter((line) => line.endsWith('/pods')).length

test('what went before its lease was known is told of at once', async () => {
  const [before, stays] = [pod('went-before'), pod('stays')]
  server.store.delete('pods', world.namespace, 'went-before')
  const { gone, close } = follow([before, stays])
  await expect.poll(() => gone).toContain('lease-of-went-before')
  expect(gone).not.toContain('lease-of-stays')
  await close()
})

test('a watch that cannot begin so far back begins afresh, with a look at everything', async () => {
  const tie = pod('compacted')
  let planned = false
  server.plan(({ path, query }) => {
    if (path.endsWith('/pods') && query.get('watch') === 'true' && !planned) {
      planned = true
      server.store.create('configmaps', world.namespace, { metadata: { name: newId() } } as never)
      server.store.delete('pods', world.namespace, 'compacted')
      server.store.compact()
    }
    return undefined
  })
  const { gone, troubles, close } = follow([tie])
  await expect.poll(() => gone, { timeout: 10_000 }).toContain('lease-of-compacted')
  expect(troubles).toEqual([])
  await close()
})

test('an event that went missing with a watch that was cut is made up for', async () => {
  const tie = pod('unseen')
  const { gone, troubles, close } = follow([tie])
  await expect.poll(() => server.store.events.listenerCount('event')).toBe(1)
  server.plan(({ path }) => (path.endsWith('/pods') ? 'cut' : undefined))
  server.cutWatches()
  await expect.poll(() => troubles.length, { timeout: 10_000 }).toBeGreaterThan(0)
  server.store.delete('pods', world.namespace, 'unseen')
  server.plan(undefined)
  await expect.poll(() => gone, { timeout: 30_000 }).toContain('lease-of-unseen')
  await close()
})

test('a watch that ends by itself is begun anew, and one that is stopped is not', async () => {
  const tie = pod('long-lived')
  const { close } = follow([tie], 1_000)
  const before = watches()
  await expect.poll(() => watches() - before, { timeout: 10_000 }).toBeGreaterThan(4)
  await close()
  await expect.poll(() => server.store.events.listenerCount('event')).toBe(0)
})

test('one that cannot be seen hides no other', async () => {
  const [unseen, gone] = [pod('unreadable'), pod('beside-it')]
  server.store.delete('pods', world.namespace, 'beside-it')
  server.plan(({ path }) => (path.endsWith('/pods/unreadable') ? { status: 500 } : undefined))
  const followed = follow([unseen, gone])
  await expect.poll(() => followed.gone).toContain('lease-of-beside-it')
  expect(followed.gone).not.toContain('lease-of-unreadable')
  await followed.close()
})

test('a server that ends every watch at once is given pauses', async () => {
  const tie = pod('hasty')
  let begun = 0
  server.plan(({ path, query }) => {
    if (path.endsWith('/pods') && query.get('watch') === 'true') {
      begun += 1
      server.store.create('configmaps', world.namespace, { metadata: { name: newId() } } as never)
      server.store.compact()
    }
    return undefined
  })
  const startedMs = performance.now()
  const { close } = follow([tie])
  await expect.poll(() => begun, { timeout: 15_000 }).toBeGreaterThan(2)
  // Of one second and of two, each less a quarter.
  expect(performance.now() - startedMs).toBeGreaterThan(2_200)
  await close()
})

test('looks at what leases are tied to leave room for endings', async () => {
  const ties = Array.from({ length: 40 }, (_, i) => pod(`many-${i}`))
  server.plan(({ path }) => (path.includes('/pods/many-') ? 'silent' : undefined))
  const before = server.requests.length
  const { close } = follow(ties)
  const looks = () => server.requests.slice(before).filter((line) => line.includes('/pods/many-')).length
  await expect.poll(looks).toBeGreaterThan(0)
  expect(looks()).toBeLessThanOrEqual(4)
  server.plan(undefined)
  await close()
})

import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { stringify } from 'yaml'
import { mountCluster } from '../../src/dev/cluster.ts'
import { readKubeconfig } from '../../src/dev/kubeconfig.ts'
import { createLogger } from '../../src/lib/log.ts'
import { openTestBroker, type TestBroker } from '../support/broker.ts'
import { type KubernetesServer, startKubernetesServer } from '../support/kubernetes-server.ts'

/** What `npm start` does with the kubeconfig it is given. */

const log = createLogger('silent', 'json')
let at: TestBroker
let server: KubernetesServer
let folder: string
beforeAll(async () => {
  at = await openTestBroker()
  server = await startKubernetesServer()
  folder = await mkdtemp(join(tmpdir(), 'leasehold-kubeconfig-'))
})
afterAll(async () => {
  await at?.close()
  await server?.stop()
  await rm(folder, { recursive: true, force: true })
})

const base64 = (text: string): string => Buffer.from(text).toString('base64')

async function kubeconfig(user: object, cluster: object = {}): Promise<string> {
  const path = join(folder, 'config')
  const ca = base64(server.caPem)
  const text = stringify({
    apiVersion: 'v1',
    kind: 'Config',
    clusters: [{ name: 'c', cluster: { server: server.url, 'certificate-authority-data': ca, ...cluster } }],
    users: [{ name: 'u', user }],
    contexts: [{ name: 'x', context: { cluster: 'c', user: 'u' } }],
    'current-context': 'x',
  })
  await writeFile(path, text)
  return path
}

const client = () => ({
  'client-certificate-data': base64(server.adminClient.cert),
  'client-key-data': base64(server.adminClient.key),
})

test('a cluster is mounted with a role to try, and again at the next start with what its kubeconfig says by then', async () => {
  expect(await mountCluster(at.broker, await kubeconfig({ token: server.adminToken }), log)).toBe(true)
  const take = () => at.api('POST', 'kubernetes/creds/demo-viewer')
  const first = await take()
  expect(first.json).toMatchObject({ renewable: true, data: { service_account_namespace: 'default' } })
  await at.api('POST', 'kubernetes/roles/demo-viewer', { token_max_ttl: '30m' })

  expect(await mountCluster(at.broker, await kubeconfig(client()), log)).toBe(true)
  expect((await at.api('GET', 'kubernetes/roles/demo-viewer')).json.data.token_max_ttl).toBe(1_800)
  const second = await take()
  expect(second.status).toBe(200)
  for (const { json } of [first, second]) {
    expect((await at.api('PUT', 'sys/leases/revoke', { lease_id: json.lease_id })).status).toBe(204)
  }
  expect((await at.api('GET', 'kubernetes/config')).text).not.toContain('PRIVATE KEY')
})

test('a cluster that cannot be used does not keep the broker from starting', async () => {
  const nowhere = await kubeconfig({ token: 'x' }, { server: 'https://127.0.0.1:1' })
  expect(await mountCluster(at.broker, nowhere, log)).toBe(false)
  expect(await mountCluster(at.broker, join(folder, 'none'), log)).toBe(false)
})

test('what is wrong with a kubeconfig is told without what it holds', async () => {
  const path = join(folder, 'broken')
  await writeFile(path, 'users:\n- user: { token: very-secret\n  password: "also-secret\n')
  const told = await readKubeconfig(path).catch(String)
  expect(told).toContain(`the kubeconfig ${path} cannot be read: it is not a kubeconfig`)
  expect(told).not.toMatch(/secret/)
})

test.each([
  ['no user that can log in', { user: {} }, 'holds neither a token nor a client certificate for "u"'],
  [
    'a program to run',
    { user: { exec: { command: 'sh' } } },
    'holds neither a token nor a client certificate',
  ],
])('a kubeconfig with %s is not taken', async (_, { user }, text) => {
  await expect(readKubeconfig(await kubeconfig(user))).rejects.toThrow(text)
})

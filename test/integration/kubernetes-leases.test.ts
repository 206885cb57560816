import { decodeJwt } from 'jose'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { RBAC } from '../support/kubernetes-cluster.ts'
import { configOf, type KubernetesWorld, openKubernetesWorld } from './kubernetes-world.ts'

/** On the cluster of `KUBECONFIG`, or one of the test's own. */

let world: KubernetesWorld
beforeAll(async () => {
  world = await openKubernetesWorld()
  await world.writeRole('existing', { service_account_name: 'default' })
  await world.writeRole('viewer', { kubernetes_role_name: 'view', kubernetes_role_type: 'ClusterRole' })
  await world.writeRole('batch', { service_account_name: 'default', renewable: true, token_max_ttl: '1h' })
})
afterAll(async () => {
  await world?.close()
})

const tokenIn = (answer: { json: { data: { service_account_token: string } } }): string =>
  answer.json.data.service_account_token
const listing = (namespace: string) => `/api/v1/namespaces/${namespace}/configmaps`

describe('a lease', () => {
  test('of an existing account is its token, and answers as the dialect does', async () => {
    const answer = await world.take('existing', { ttl: '20m', audiences: 'one,two' })
    expect(answer.status).toBe(200)
    expect(answer.json).toMatchObject({
      lease_id: expect.stringMatching(/^kubernetes\/creds\/existing\/[0-9a-z]{24}$/),
      renewable: false,
      lease_duration: 1_200,
      data: { service_account_name: 'default', service_account_namespace: world.namespace },
      warnings: null,
      mount_type: 'kubernetes',
    })
    const claims = decodeJwt(tokenIn(answer))
    expect(claims.aud).toEqual(['one', 'two'])
    expect(Number(claims.exp) - Number(claims.iat)).toBeGreaterThanOrEqual(1_200)
    await world.revoke(answer.json.lease_id)
  })

  test('gives the rights of its role where it was asked for, and nowhere else', async () => {
    const answer = await world.take('viewer')
    await expect
      .poll(async () => (await world.cluster.askAs(tokenIn(answer), 'GET', listing(world.namespace))).status)
      .toBe(200)
    expect((await world.cluster.askAs(tokenIn(answer), 'GET', listing('kube-system'))).status).toBe(403)
    expect(
      (await world.cluster.askAs(tokenIn(answer), 'GET', `/api/v1/namespaces/${world.namespace}/secrets`))
        .status,
    ).toBe(403)
    await world.revoke(answer.json.lease_id)
    expect(await world.left()).toEqual([])
  })

  test('holds in every namespace where that was asked for, and leaves nothing behind', async () => {
    const answer = await world.take('viewer', { cluster_role_binding: true })
    await expect
      .poll(async () => (await world.cluster.askAs(tokenIn(answer), 'GET', listing('kube-system'))).status)
      .toBe(200)
    await world.revoke(answer.json.lease_id)
    expect((await world.cluster.askAs(tokenIn(answer), 'GET', listing('kube-system'))).status).toBe(401)
    expect(await world.left()).toEqual([])
  })

  test.each(['Role', 'ClusterRole'])(
    'of generated rules has a %s of its own, with labels and name as told',
    async (type) => {
      await world.writeRole('generated', {
        generated_role_rules: 'rules:\n- apiGroups: [""]\n  resources: [configmaps]\n  verbs: [list]\n',
        kubernetes_role_type: type,
        extra_labels: { team: 'shop' },
        extra_annotations: { 'example.org/ticket': 'Nr. 7' },
        name_template: 'For_{{.RoleName | uppercase}}',
      })
      const answer = await world.take('generated')
      const { service_account_name: name } = answer.json.data
      expect(name).toBe(`for-generated-${answer.json.lease_id.split('/').at(-1)}`)
      const account = await world.cluster.ask(
        'GET',
        `/api/v1/namespaces/${world.namespace}/serviceaccounts/${name}`,
      )
      expect(account.body.metadata).toMatchObject({
        labels: { team: 'shop', 'app.kubernetes.io/managed-by': 'leasehold' },
        annotations: { 'example.org/ticket': 'Nr. 7' },
        ownerReferences: [{ kind: type === 'Role' ? 'Secret' : 'ClusterRole', name }],
      })
      await expect
        .poll(
          async () => (await world.cluster.askAs(tokenIn(answer), 'GET', listing(world.namespace))).status,
        )
        .toBe(200)
      await world.revoke(answer.json.lease_id)
      expect(await world.left()).toEqual([])
    },
  )

  test('shorter than a token can be says so, and ends at its time all the same', async () => {
    const answer = await world.take('existing', { ttl: '2m' })
    expect(answer.json.lease_duration).toBe(120)
    expect(answer.json.warnings).toEqual([
      expect.stringMatching(
        /^the created Kubernetes service accout token TTL 10m is greater than the Vault lease TTL (2m|2m1s)$/,
      ),
    ])
    await world.at.ledger.advance(121)
    await world.at.broker.sweep.once()
    await expect.poll(() => world.cluster.accepts(tokenIn(answer)), { timeout: 15_000 }).toBe(false)
    expect((await world.receipt(answer.json.lease_id)).reason).toBe('expired')
  })

  test('longer than its role allows is cut, in the words of the dialect', async () => {
    const answer = await world.take('batch', { ttl: '2h' })
    expect(answer.json.lease_duration).toBe(3_600)
    expect(answer.json.warnings).toEqual([
      "ttl of 2h is greater than the role's token_max_ttl of 1h; capping accordingly",
    ])
    expect(answer.json.leasehold.limited_by).toBe('role_max')
    await world.revoke(answer.json.lease_id)
  })

  test('is asked for by writing', async () => {
    expect((await world.at.api('GET', 'kubernetes/creds/existing')).status).toBe(405)
    expect((await world.take('EXISTING')).json.lease_id).toMatch(/^kubernetes\/creds\/existing\//)
    await world.at.api('PUT', 'sys/leases/revoke-prefix/kubernetes/creds/existing')
  })
})

describe('the end of a lease', () => {
  test('takes back the token of a shared account, also one that was just used, and no other', async () => {
    const [mine, other] = [await world.take('existing'), await world.take('existing')]
    expect(await world.cluster.accepts(tokenIn(mine))).toBe(true)
    expect((await world.revoke(mine.json.lease_id)).status).toBe(204)
    expect(await world.cluster.accepts(tokenIn(mine))).toBe(false)
    expect(await world.cluster.accepts(tokenIn(other))).toBe(true)
    const account = `/api/v1/namespaces/${world.namespace}/serviceaccounts/default`
    expect((await world.cluster.ask('GET', account)).status).toBe(200)
    await world.revoke(other.json.lease_id)
  })

  test('is proved in its receipt, which says what may remain', async () => {
    const { json } = await world.take('viewer')
    await world.revoke(json.lease_id)
    const receipt = await world.receipt(json.lease_id)
    const evidence = Object.fromEntries(
      receipt.steps.map((step: { step: string; evidence: object }) => [step.step, step.evidence]),
    )
    expect(receipt.account).toBe(`${world.namespace}/${json.data.service_account_name}`)
    expect(evidence.disable).toMatchObject({ account: 'tokens revoked', was_disabled_before: false })
    // With the account goes whatever token of it somebody made besides ours.
    expect(evidence.disable.deleted).toContain(`ServiceAccount ${receipt.account}`)
    expect(evidence.disconnect).toMatchObject({ token_refused: true })
    expect(evidence.verify.absent).toContain(`Secret ${receipt.account}`)
    expect(receipt.residual).toEqual([expect.stringMatching(/just before/), expect.stringMatching(/watch/)])
  })

  test('comes with that of its namespace, and is proved all the same', async () => {
    const namespace = await world.cluster.namespace()
    await world.writeRole('anywhere', { allowed_kubernetes_namespaces: '*', service_account_name: 'default' })
    const { json } = await world.take('anywhere', { kubernetes_namespace: namespace })
    await world.cluster.ask('DELETE', `/api/v1/namespaces/${namespace}`)
    expect((await world.revoke(json.lease_id)).status).toBe(204)
    expect(await world.cluster.accepts(json.data.service_account_token)).toBe(false)
  })

  test('finds what is left when its Secret was deleted by hand', async () => {
    const { json } = await world.take('viewer')
    const { service_account_name: name } = json.data
    await world.cluster.ask('DELETE', `/api/v1/namespaces/${world.namespace}/secrets/${name}`)
    expect((await world.revoke(json.lease_id)).status).toBe(204)
    expect(await world.left()).toEqual([])
  })
})

describe('renewal', () => {
  test('is not there unless the role says so', async () => {
    const { json } = await world.take('existing')
    expect((await world.lookUp(json.lease_id)).json.data.renewable).toBe(false)
    const refused = { status: 400, json: { errors: ['lease is not renewable'] } }
    expect(await world.at.api('PUT', 'sys/leases/renew', { lease_id: json.lease_id })).toMatchObject(refused)
    expect(
      await world.at.api('POST', 'kubernetes/creds/existing/renew', { lease_id: json.lease_id }),
    ).toMatchObject(refused)
    await world.revoke(json.lease_id)
  })

  test('gives a fresh token on the same lease, up to its maximum, and one end for both', async () => {
    const first = await world.take('batch', { ttl: '10m' })
    const { lease_id } = first.json
    expect(first.json.renewable).toBe(true)
    expect((await world.lookUp(lease_id)).json.data.renewable).toBe(true)
    await world.at.ledger.advance(540)
    const second = await world.at.api('POST', 'kubernetes/creds/batch/renew', { lease_id, increment: '30m' })
    expect(second.json).toMatchObject({ lease_id, renewable: true, lease_duration: 1_800 })
    expect(tokenIn(second)).not.toBe(tokenIn(first))
    const claims = decodeJwt(tokenIn(second))
    expect(Number(claims.exp) - Number(claims.iat)).toBeGreaterThanOrEqual(1_800)
    const third = await world.at.api('PUT', 'kubernetes/creds/batch/renew', { lease_id, increment: '5h' })
    expect(third.json.lease_duration).toBeLessThanOrEqual(3_060)
    expect(third.json.leasehold.limited_by).toBe('role_max')
    for (const answer of [first, second, third])
      expect(await world.cluster.accepts(tokenIn(answer))).toBe(true)
    await world.revoke(lease_id)
    for (const answer of [first, second, third])
      expect(await world.cluster.accepts(tokenIn(answer))).toBe(false)
  })

  test('is for leases of its path alone', async () => {
    const { json } = await world.take('batch')
    const refused = { status: 400, json: { errors: ['lease not found'] } }
    const { lease_id } = json
    expect(await world.at.api('POST', 'kubernetes/creds/viewer/renew', { lease_id })).toMatchObject(refused)
    expect(
      await world.at.api('POST', 'kubernetes/creds/batch/renew', { lease_id: 'kubernetes/creds/batch/no' }),
    ).toMatchObject(refused)
    expect((await world.at.api('POST', 'kubernetes/creds/batch/renew')).json.errors).toEqual([
      'lease_id must be specified',
    ])
    await world.revoke(lease_id)
  })

  test('is refused when policy would not let the lease be asked for any more', async () => {
    const policy = (capability: string) =>
      `path "kubernetes/creds/batch" { capabilities = ["${capability}"] }
       path "kubernetes/creds/batch/renew" { capabilities = ["update"] }`
    await world.at.api('PUT', 'sys/policies/acl/batch', { policy: policy('update') })
    const token = (await world.at.api('POST', 'auth/token/create', { policies: ['batch'] })).json.auth
      .client_token
    const as = { 'X-Vault-Token': token }
    const { json } = await world.at.api('POST', 'kubernetes/creds/batch', {}, as)
    const renew = () => world.at.api('POST', 'kubernetes/creds/batch/renew', { lease_id: json.lease_id }, as)
    expect((await renew()).status).toBe(200)
    await world.at.api('PUT', 'sys/policies/acl/batch', { policy: policy('read') })
    expect((await renew()).status).toBe(403)
    await world.revoke(json.lease_id)
  })
})

describe('a fresh token', () => {
  const AT_RENEW = 'path "kubernetes/creds/batch/renew" { capabilities = ["update"] }'
  const policy = (name: string, text: string) =>
    world.at.api('PUT', `sys/policies/acl/${name}`, { policy: text })
  const renewAs = (token: string, lease_id: string) =>
    world.at.api('POST', 'kubernetes/creds/batch/renew', { lease_id }, { 'X-Vault-Token': token })

  test('is for the holder of its lease alone, whatever policy lets others do', async () => {
    await policy('greedy', 'path "kubernetes/creds/*" { capabilities = ["update"] }')
    const { json: other } = await world.at.api('POST', 'auth/token/create', { policies: ['greedy'] })
    const { json } = await world.take('batch')
    const refused = await renewAs(other.auth.client_token, json.lease_id)
    expect(refused).toMatchObject({ status: 403 })
    expect(refused.text).not.toContain('service_account_token')
    await world.revoke(json.lease_id)
  })

  test('goes to another token of the same login only where that could ask for the lease itself', async () => {
    await policy('renewer', AT_RENEW)
    await policy(
      'elsewhere',
      `path "kubernetes/creds/batch" { capabilities = ["update"] denied_parameters = { "kubernetes_namespace" = ["${world.namespace}"] } }
       ${AT_RENEW}`,
    )
    await policy(
      'holder',
      `path "kubernetes/creds/batch" { capabilities = ["update"] }
       path "auth/token/create" { capabilities = ["update"] }
       ${AT_RENEW}`,
    )
    const { api } = world.at
    await api('POST', 'sys/auth/approle', { type: 'approle' })
    await api('POST', 'auth/approle/role/job', { token_policies: ['holder', 'renewer'] })
    const { role_id } = (await api('GET', 'auth/approle/role/job/role-id')).json.data
    const { secret_id } = (await api('POST', 'auth/approle/role/job/secret-id')).json.data
    const logIn = async (): Promise<string> =>
      (await api('POST', 'auth/approle/login', { role_id, secret_id })).json.auth.client_token
    const [first, second] = [await logIn(), await logIn()]
    const as = { 'X-Vault-Token': first }
    const { json } = await api(
      'POST',
      'kubernetes/creds/batch',
      { kubernetes_namespace: world.namespace },
      as,
    )
    expect((await renewAs(second, json.lease_id)).status).toBe(200)
    const child = await api('POST', 'auth/token/create', { policies: ['renewer'] }, as)
    expect((await renewAs(child.json.auth.client_token, json.lease_id)).status).toBe(403)
    await api('POST', 'auth/approle/role/job', { token_policies: ['elsewhere'] })
    expect((await renewAs(await logIn(), json.lease_id)).status).toBe(403)
    await world.revoke(json.lease_id)
  })

  test('is not hung on a Secret that somebody made anew under the old name', async () => {
    const { json } = await world.take('batch')
    const { service_account_token: token } = json.data
    const secrets = `/api/v1/namespaces/${world.namespace}/secrets`
    const [name = ''] = (await world.cluster.names(secrets)).filter((each) =>
      each.endsWith(json.lease_id.split('/').at(-1)),
    )
    await world.cluster.ask('DELETE', `${secrets}/${name}`)
    await world.cluster.ask('POST', secrets, { apiVersion: 'v1', kind: 'Secret', metadata: { name } })
    await expect.poll(() => world.cluster.accepts(token), { timeout: 15_000 }).toBe(false)
    const refused = await world.at.api('POST', 'kubernetes/creds/batch/renew', { lease_id: json.lease_id })
    expect(refused).toMatchObject({ status: 400 })
    expect(refused.json.errors[0]).toContain('does not match the UID in record')
    expect((await world.revoke(json.lease_id)).status).toBe(204)
    expect(await world.left()).toEqual([])
  })
})

describe('namespaces', () => {
  test('may be chosen by their labels', async () => {
    await world.writeRole('labelled', {
      allowed_kubernetes_namespaces: '',
      allowed_kubernetes_namespace_selector: 'matchLabels: {team: shop}',
      service_account_name: 'default',
    })
    const other = await world.cluster.namespace({ team: 'other' })
    const given = await world.take('labelled', { kubernetes_namespace: world.namespace })
    expect(given.status).toBe(200)
    await world.revoke(given.json.lease_id)
    for (const kubernetes_namespace of [other, 'not-there']) {
      const refused = await world.take('labelled', { kubernetes_namespace })
      expect(refused).toMatchObject({ status: 400 })
      expect(refused.json.errors[0]).toContain(
        `kubernetes_namespace '${kubernetes_namespace}' is not present in role's`,
      )
    }
    expect(await world.left()).toEqual([])
  })
})

describe('what cannot be', () => {
  test.each([
    ['nobody', {}, "role 'nobody' does not exist"],
    [
      'existing',
      { kubernetes_namespace: 'elsewhere' },
      "kubernetes_namespace 'elsewhere' is not present in role's",
    ],
    ['existing', { kubernetes_namespace: '../x' }, 'kubernetes_namespace is not the name of a namespace'],
    ['existing', { ttl: 'soon' }, 'field "ttl"'],
    [
      'existing',
      { bound_object_kind: 'Pod' },
      'bound_object_kind, bound_object_name, bound_object_uid go together',
    ],
    ['local', { cluster_role_binding: true }, 'a ClusterRoleBinding cannot ref a Role'],
    ['lost', {}, /^failed to create a service account token for .*\/no-such-account: .*not found/],
  ])('asking for %s with %o is refused, and nothing is left behind', async (role, fields, text) => {
    await world.writeRole('local', { kubernetes_role_name: 'any', kubernetes_role_type: 'Role' })
    await world.writeRole('lost', { service_account_name: 'no-such-account' })
    const answer = await world.take(role, fields)
    expect(answer.status).toBe(400)
    expect(answer.json.errors[0]).toEqual(
      typeof text === 'string' ? expect.stringContaining(text) : expect.stringMatching(text),
    )
    await world.at.broker.sweep.once()
    expect(await world.left()).toEqual([])
  })

  test('a broker without the rights is refused at enrolment, by name', async () => {
    const path = `/api/v1/namespaces/${world.namespace}/serviceaccounts/default/token`
    const weak = (await world.cluster.ask('POST', path, { spec: { audiences: [], expirationSeconds: 600 } }))
      .body
    const answer = await world.at.api('POST', 'kubernetes/config', {
      ...configOf(world.cluster),
      service_account_jwt: (weak.status as { token: string }).token,
    })
    expect(answer).toMatchObject({
      status: 400,
      json: {
        errors: [
          'error verifying connection: the admin account lacks: create secrets; delete secrets; create serviceaccounts/token',
        ],
      },
    })
    expect((await world.take('existing')).status).toBe(200)
    await world.at.api('PUT', 'sys/leases/revoke-prefix/kubernetes/creds/existing')
  })

  test.each([
    [{ kubernetes_host: 'https://127.0.0.1:1' }, 'error verifying connection: https://127.0.0.1:1: '],
    [{ kubernetes_host: 'ftp://x' }, 'kubernetes_host must be a URL'],
    [{ kubernetes_ca_cert: 'no' }, 'The provided CA PEM data contains no valid certificates'],
    [{ service_account_jwt: 'nonsense' }, 'error verifying connection: '],
  ])('a config with %o is refused and changes nothing', async (fields, text) => {
    const before = (await world.at.api('GET', 'kubernetes/config')).json.data
    const answer = await world.at.api('POST', 'kubernetes/config', fields)
    expect(answer.status).toBe(400)
    expect(answer.json.errors[0]).toContain(text)
    expect((await world.at.api('GET', 'kubernetes/config')).json.data).toEqual(before)
  })
})

describe('the mount', () => {
  test('shows its cluster without the token, and what was found there', async () => {
    const { text, json } = await world.at.api('GET', 'kubernetes/config')
    expect(text).not.toContain(world.cluster.brokerToken)
    expect(json.data).toMatchObject({
      kubernetes_host: world.cluster.host,
      disable_local_ca_jwt: true,
      verify_connection: true,
      server_version: expect.stringMatching(/^v1\./),
      revocability: 'immediate',
      enrolment_warnings: [],
    })
  })

  test('shows a role as it was written, and writes change only what they name', async () => {
    await world.writeRole('Shown', {
      service_account_name: 'default',
      token_default_ttl: '15m',
      token_max_ttl: '1h',
    })
    await world.at.api('POST', 'kubernetes/roles/shown', { token_max_ttl: '2h' })
    expect((await world.at.api('GET', 'kubernetes/roles/shown')).json.data).toMatchObject({
      name: 'shown',
      allowed_kubernetes_namespaces: [world.namespace],
      service_account_name: 'default',
      kubernetes_role_name: '',
      token_default_ttl: 900,
      token_max_ttl: 7_200,
    })
    expect((await world.at.api('GET', 'kubernetes/roles?list=true')).json.data.keys).toContain('shown')
    expect((await world.at.api('DELETE', 'kubernetes/roles/shown')).status).toBe(204)
    expect((await world.at.api('GET', 'kubernetes/roles/shown')).status).toBe(404)
  })

  test('knows whether it is in a pod', async () => {
    const answer = await world.at.api('GET', 'kubernetes/check')
    const isPod = process.env.KUBERNETES_SERVICE_HOST !== undefined
    expect(answer.status).toBe(isPod ? 204 : 400)
  })

  test('goes with all its leases', async () => {
    await world.at.api('POST', 'sys/mounts/other', { type: 'kubernetes' })
    await world.at.api('POST', 'other/config', configOf(world.cluster))
    const role = {
      allowed_kubernetes_namespaces: world.namespace,
      kubernetes_role_name: 'view',
      kubernetes_role_type: 'ClusterRole',
    }
    await world.at.api('POST', 'other/roles/viewer', role)
    const { json } = await world.at.api('POST', 'other/creds/viewer')
    expect((await world.at.api('DELETE', 'other/config')).status).toBe(400)
    await world.at.api('DELETE', 'sys/mounts/other')
    await world.at.broker.sweep.once()
    expect(await world.cluster.accepts(json.data.service_account_token)).toBe(false)
    expect(await world.left()).toEqual([])
    expect(await world.cluster.names(`${RBAC}/clusterroles`)).toContain('view')
  })
})

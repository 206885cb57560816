import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { LABELS_FRESH_MS } from '../../src/identity/kubernetes/namespace-labels.ts'
import { MAX_ANSWER_BYTES } from '../../src/lib/kubernetes/exchange.ts'
import { newAuthority } from '../support/certificates.ts'
import { failsWith, type KubernetesApiServer } from '../support/kubernetes-api.ts'
import { faults, startJwksServer } from '../support/oidc-issuer.ts'
import { type AuthWorld, MODES, REVIEWS, startAuthWorld } from './kubernetes-auth-world.ts'

let world: AuthWorld
let kubernetes: KubernetesApiServer
const workload = (...account: string[]) => world.workload(...account)
const mount: AuthWorld['mount'] = (...fields) => world.mount(...fields)

beforeAll(async () => {
  world = await startAuthWorld()
  kubernetes = world.kubernetes
})
beforeEach(() => world.reset())
afterAll(async () => {
  world.reset()
  await world.stop()
})

const SELECTOR = 'bound_service_account_namespace_selector'

describe('a namespace selector', () => {
  const bound = {
    bound_service_account_namespaces: [],
    [SELECTOR]: 'matchExpressions:\n- {key: env, operator: In, values: [dev, test]}\n',
  }

  test.each(MODES)('lets in by labels, checked by %s', async (_, fields) => {
    const { login, refusal } = await mount({ ...fields(world), token_reviewer_jwt: world.reviewer }, bound)
    kubernetes.setNamespace('live', { env: 'prod' })
    await login(await workload().token())
    await login(await workload('lab').token())
    expect(await refusal(await workload('live').token())).toMatchObject({
      code: 'permission_denied',
      message: 'namespace not authorized',
      reason: 'namespace_not_bound',
    })
  })

  test('stands beside the namespaces of the role, which need no question', async () => {
    const either = { ...bound, bound_service_account_namespaces: ['live'] }
    const { login } = await mount({}, either)
    await login(await workload('live').token())
    expect(kubernetes.requests).toEqual([REVIEWS])
    await login(await workload('shop').token())
    expect(kubernetes.requests).toEqual([REVIEWS, REVIEWS, 'GET /api/v1/namespaces/shop'])
  })

  test('asks once for many logins, and again when the answer has aged', async () => {
    let now = 0
    const { login, refusal } = await mount({}, bound, { now: () => now })
    const jwt = await workload().token()
    await Promise.all(Array.from({ length: 20 }, () => login(jwt)))
    const asked = () => kubernetes.requests.filter((line) => line.startsWith('GET'))
    expect(asked()).toHaveLength(1)
    kubernetes.setNamespace('shop', { env: 'prod' })
    now = LABELS_FRESH_MS - 1
    await login(jwt)
    now = LABELS_FRESH_MS
    expect((await refusal(jwt)).reason).toBe('namespace_not_bound')
    expect(asked()).toHaveLength(2)
  })

  test('that cannot be applied lets nobody in, and is asked again next time', async () => {
    const jwt = await workload().token()
    const local = { pem_keys: [kubernetes.publicKeyPem] }
    const { login, refusal } = await mount(local, bound)
    for (const [fault, reason] of [
      [failsWith(500), 'api_unusable'],
      [failsWith(403), 'reviewer_refused'],
      [failsWith(404), 'namespace_not_found'],
      [
        faults.answers({ kind: 'Namespace', metadata: { name: 'other', labels: { env: 'dev' } } }),
        'api_unusable',
      ],
      [faults.answers({ kind: 'Namespace', metadata: { name: 'shop', labels: { env: 1 } } }), 'api_unusable'],
      [faults.answers({ metadata: { name: 'shop', labels: { env: 'dev' } } }), 'api_unusable'],
    ] as const) {
      kubernetes.behave(fault)
      expect((await refusal(jwt)).reason).toBe(reason)
    }
    kubernetes.behave(undefined)
    await login(jwt)
  })

  test('needs a reviewer: the token’s own rights do not count', async () => {
    kubernetes.addServiceAccount('shop', 'api', 'create tokenreviews', 'get namespaces')
    const jwt = await kubernetes.token({ namespace: 'shop', name: 'api' })
    const { refusal } = await mount({ token_reviewer_jwt: '' }, bound)
    expect(await refusal(jwt)).toMatchObject({
      message: 'namespace not authorized',
      reason: 'selector_needs_reviewer',
    })
  })
})

describe('an API server', () => {
  const TOLD = {
    code: 'target_failed',
    message: 'the Kubernetes API server gave no usable answer, so the login could not be checked',
  }

  test.each([
    ['fails', failsWith(500), 'api_unusable', 'answers 500'],
    ['is overrun', failsWith(429), 'api_unusable', 'answers 429'],
    ['knows no TokenReview', failsWith(404), 'api_unusable', 'answers 404'],
    ['redirects', faults.redirects('https://127.0.0.1:1/'), 'api_unusable', 'redirects are not followed'],
    ['answers without JSON', faults.isNotJson, 'api_unusable', 'answers something that cannot be read'],
    [
      'answers something else',
      faults.answers({ kind: 'Pod', status: { authenticated: true } }),
      'api_unusable',
      'not a TokenReview',
    ],
    ['answers a list', faults.answers([1]), 'api_unusable', 'answers something that'],
    ['answers null', faults.answers(null), 'api_unusable', 'not a TokenReview'],
    [
      'answers without end',
      faults.isEndless,
      'api_unreachable',
      `answers more than ${MAX_ANSWER_BYTES} bytes`,
    ],
    [
      'hangs up',
      (req: { socket: { destroy(): void } }) => req.socket.destroy(),
      'api_unreachable',
      'socket hang up',
    ],
  ])('that %s lets nobody in, and that is what is said', async (_, fault, reason, detail) => {
    const jwt = await workload().token()
    const { login, refusal } = await mount()
    kubernetes.behave(fault)
    const refused = await refusal(jwt)
    expect(refused).toMatchObject({ ...TOLD, reason })
    expect(refused.detail).toContain(detail)
    kubernetes.behave(undefined)
    await login(jwt)
  })

  test.each([
    ['never answers', faults.hangs],
    ['stops halfway', faults.hangsHalfway],
  ])('that %s is left when the time is up', async (_, fault) => {
    const jwt = await workload().token()
    const { refusal } = await mount({}, {}, { deadlineMs: 100 })
    kubernetes.behave(fault)
    const refused = await refusal(jwt)
    expect(refused).toMatchObject({ ...TOLD, reason: 'api_unreachable' })
    expect(refused.detail).toBe(`${kubernetes.url}: no whole answer in time`)
  })

  test('that is not there fails closed, but for those with keys of their own', async () => {
    const jwt = await workload().token()
    const gone = { kubernetes_host: 'https://127.0.0.1:1' }
    const refused = await (await mount(gone)).refusal(jwt)
    expect(refused).toMatchObject({ ...TOLD, reason: 'api_unreachable' })
    expect(refused.detail).toContain('ECONNREFUSED')
    await (await mount({ ...gone, pem_keys: [kubernetes.publicKeyPem] })).login(jwt)
  })

  test('is believed under the authority of the configuration only', async () => {
    const jwt = await workload().token()
    for (const fields of [
      { kubernetes_ca_cert: newAuthority('another').cert },
      // The system's own authorities, and none at all.
      { kubernetes_ca_cert: '', disable_local_ca_jwt: true },
      { kubernetes_ca_cert: '' },
    ]) {
      expect(await (await mount(fields)).refusal(jwt)).toMatchObject({ ...TOLD, reason: 'api_unreachable' })
    }
    expect(kubernetes.requests).toEqual([])
  })

  test('that closed the kept connections is asked again over a new one', async () => {
    const jwt = await workload().token()
    const { refusal } = await mount()
    const kept = new Map<unknown, () => void>()
    kubernetes.behave((req, res) => {
      kept.set(req.socket, () => failsWith(500)(req, res))
      if (kept.size === 2) for (const answer of kept.values()) answer()
    })
    await Promise.all([refusal(jwt), refusal(jwt)])
    kubernetes.behave((req, res) => (kept.has(req.socket) ? req.socket.destroy() : failsWith(404)(req, res)))
    expect((await refusal(jwt)).detail).toBe('answers 404')
  })

  test('on this machine may speak plain HTTP, as kubectl proxy does', async () => {
    const { uid, token } = workload()
    const jwt = await token()
    const proxy = await startJwksServer([])
    try {
      const { login, refusal } = await mount({
        kubernetes_host: new URL(proxy.url).origin,
        kubernetes_ca_cert: '',
      })
      expect((await refusal(jwt)).reason).toBe('api_unusable')
      const user = { username: 'system:serviceaccount:shop:api', uid }
      const status = {
        authenticated: true,
        audiences: ['https://kubernetes.default.svc.cluster.local'],
        user,
      }
      proxy.behave(faults.answers({ kind: 'TokenReview', status }))
      expect(await login(jwt)).toMatchObject({ subject: uid })
    } finally {
      await proxy.stop()
    }
  })
})

import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { verifyKubernetesLogin } from '../../src/identity/kubernetes/verify.ts'
import type { KubernetesApiServer } from '../support/kubernetes-api.ts'
import { faults } from '../support/oidc-issuer.ts'
import { type AuthWorld, DENIED, startAuthWorld } from './kubernetes-auth-world.ts'

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

describe('TokenReview', () => {
  test('takes back the token of a deleted account, at once', async () => {
    const { token } = workload()
    const jwt = await token()
    const { login, refusal } = await mount()
    await login(jwt)
    kubernetes.deleteServiceAccount('shop', 'api')
    const gone = await refusal(jwt)
    expect(gone).toMatchObject({ ...DENIED, reason: 'token_refused' })
    expect(gone.detail).toBe('service account token has been invalidated')
    workload()
    expect(await refusal(jwt)).toMatchObject({ ...DENIED, reason: 'token_refused' })
  })

  test('takes back the token of a deleted pod', async () => {
    kubernetes.addPod('shop', 'api-1')
    const jwt = await workload().token({ pod: 'api-1' })
    const { login, refusal } = await mount()
    await login(jwt)
    kubernetes.deletePod('shop', 'api-1')
    expect(await refusal(jwt)).toMatchObject({ ...DENIED, reason: 'token_refused' })
  })

  test('lets a Secret’s token in, which keys alone never do', async () => {
    const { uid } = workload()
    const jwt = await kubernetes.secretToken('shop', 'api')
    const identity = await (await mount({ disable_iss_validation: false })).login(jwt)
    expect(identity).toMatchObject({
      subject: uid,
      expiresAt: undefined,
      metadata: { service_account_secret_name: 'api-token' },
      claims: { 'kubernetes.io': { namespace: 'shop', serviceaccount: { name: 'api', uid } } },
    })
    const local = await mount({ pem_keys: [kubernetes.publicKeyPem] })
    expect(await local.refusal(jwt)).toMatchObject({ ...DENIED, reason: 'no_expiry' })
  })

  const authenticated = (changes: object) => ({
    kind: 'TokenReview',
    status: {
      authenticated: true,
      audiences: ['https://kubernetes.default.svc.cluster.local'],
      user: { username: 'system:serviceaccount:shop:api', uid: 'u' },
      ...changes,
    },
  })

  test.each<[string, object, string]>([
    ['another uid', authenticated({}), 'reviewed_other_account'],
    [
      'another account',
      authenticated({ user: { username: 'system:serviceaccount:shop:x', uid: 'UID' } }),
      'reviewed_other_account',
    ],
    ['a person', authenticated({ user: { username: 'admin', uid: 'UID' } }), 'reviewed_other_account'],
    ['nobody', authenticated({ user: undefined }), 'token_refused'],
    [
      'a user without a uid',
      authenticated({ user: { username: 'system:serviceaccount:shop:api' } }),
      'token_refused',
    ],
    ['an error besides', authenticated({ error: 'could not be checked' }), 'token_refused'],
    ['no audience', authenticated({ audiences: undefined }), 'wrong_audience'],
    ['another audience', authenticated({ audiences: ['other'] }), 'wrong_audience'],
    ['a yes in words', authenticated({ authenticated: 'true' }), 'token_refused'],
    ['nothing', { kind: 'TokenReview', status: {} }, 'token_refused'],
  ])('that names %s is a denial', async (_, answer, reason) => {
    const { uid, token } = workload()
    const { refusal } = await mount()
    kubernetes.behave(
      faults.answers(JSON.parse(JSON.stringify(answer).replace('"UID"', JSON.stringify(uid)))),
    )
    expect(await refusal(await token())).toMatchObject({ ...DENIED, reason })
  })

  test('never passes on what an authenticator quotes of a token', async () => {
    const jwt = await workload().token()
    const { refusal } = await mount()
    const error = `cannot read ${jwt} at all`
    kubernetes.behave(faults.answers({ kind: 'TokenReview', status: { error } }))
    expect((await refusal(jwt)).detail).toBe('cannot read ….….… at all')
  })
})

describe('whose rights a review is asked with', () => {
  let folder: string

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'pod-'))
  })
  afterAll(() => rm(folder, { recursive: true }))

  test('the pod’s own, where the mount has no reviewer', async () => {
    await writeFile(join(folder, 'token'), `${world.reviewer}\n`)
    await writeFile(join(folder, 'ca.crt'), kubernetes.caPem)
    const bare = { token_reviewer_jwt: '', kubernetes_ca_cert: '' }
    const jwt = await workload().token()
    const { login, refusal } = await mount(bare, {}, { podFolder: folder })
    await login(jwt)
    // Kubernetes replaces the file, and the next login has the new one.
    await writeFile(join(folder, 'token'), 'not.a.token')
    expect(await refusal(jwt)).toMatchObject({ code: 'target_failed', reason: 'reviewer_refused' })

    const apart = { ...bare, kubernetes_ca_cert: kubernetes.caPem, disable_local_ca_jwt: true }
    const own = await mount(apart, {}, { podFolder: folder })
    expect((await own.refusal(jwt)).detail).toBe('answers 403')
  })

  test('the token’s own, outside a pod', async () => {
    const bare = { token_reviewer_jwt: '' }
    kubernetes.addServiceAccount('shop', 'api', 'create tokenreviews')
    const jwt = await kubernetes.token({ namespace: 'shop', name: 'api' })
    const { login, refusal } = await mount(bare)
    await login(jwt)
    kubernetes.deleteServiceAccount('shop', 'api')
    expect(await refusal(jwt)).toMatchObject({ ...DENIED, reason: 'token_refused' })
  })

  test('a reviewer without rights, or that is gone, is the mount’s fault and not the token’s', async () => {
    kubernetes.addServiceAccount('broker', 'powerless')
    const powerless = await kubernetes.token({ namespace: 'broker', name: 'powerless' })
    const jwt = await workload().token()
    const told = {
      code: 'target_failed',
      message:
        'the Kubernetes API server does not let this mount check logins: its reviewer token is missing, invalid or lacks rights',
    }
    const weak = await mount({ token_reviewer_jwt: powerless })
    expect(await weak.refusal(jwt)).toMatchObject({
      ...told,
      reason: 'reviewer_refused',
      detail: 'answers 403',
    })
    kubernetes.deleteServiceAccount('broker', 'powerless')
    expect(await weak.refusal(jwt)).toMatchObject({
      ...told,
      reason: 'reviewer_refused',
      detail: 'answers 401',
    })
  })

  test('a reviewer that the secret store has lost is not replaced by the token', async () => {
    kubernetes.addServiceAccount('shop', 'api', 'create tokenreviews')
    const { attempt } = await mount()
    const jwt = await kubernetes.token({ namespace: 'shop', name: 'api' })
    await expect(verifyKubernetesLogin({ ...attempt, jwt, now: new Date() })).rejects.toMatchObject({
      reason: 'reviewer_missing',
    })
  })
})

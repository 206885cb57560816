import { expect } from 'vitest'
import type { ApiOptions } from '../../src/identity/kubernetes/api.ts'
import { openCluster } from '../../src/identity/kubernetes/cluster.ts'
import { checkKubernetesConfig } from '../../src/identity/kubernetes/config.ts'
import { KubernetesLoginRefused } from '../../src/identity/kubernetes/refusal.ts'
import { checkKubernetesRole } from '../../src/identity/kubernetes/role.ts'
import { verifyKubernetesLogin } from '../../src/identity/kubernetes/verify.ts'
import { type KubernetesApiServer, startKubernetesApi, type TokenWish } from '../support/kubernetes-api.ts'

export const REVIEWS = 'POST /apis/authentication.k8s.io/v1/tokenreviews'
export const DENIED = { code: 'permission_denied', message: 'permission denied' }

export type AuthWorld = Awaited<ReturnType<typeof startAuthWorld>>

/** A cluster with mounts over it, and an account in it that may review tokens and read namespaces. */
export async function startAuthWorld() {
  const kubernetes = await startKubernetesApi()
  kubernetes.addServiceAccount('broker', 'reviewer', 'create tokenreviews', 'get namespaces')
  const reviewer = await kubernetes.token({ namespace: 'broker', name: 'reviewer' })
  const toClose: { close(): void }[] = []
  return {
    kubernetes,
    reviewer,
    /** An account made anew, and tokens of it. */
    workload(namespace = 'shop', name = 'api') {
      const account = kubernetes.addServiceAccount(namespace, name)
      const token = (wish: Partial<TokenWish> = {}) => kubernetes.token({ namespace, name, ...wish })
      return { ...account, token }
    },
    /** One mount over the cluster, and logins of one role on it. */
    async mount(
      fields: Record<string, unknown> = {},
      roleFields: Record<string, unknown> = {},
      options: ApiOptions = {},
    ) {
      const mounted = await mountOver(kubernetes, reviewer, fields, roleFields, options)
      toClose.push(mounted.cluster)
      return mounted
    },
    /** Undoes what one test did, but for accounts. */
    reset() {
      for (const cluster of toClose.splice(0)) cluster.close()
      kubernetes.behave(undefined)
      kubernetes.requests.length = 0
      for (const namespace of ['shop', 'lab']) kubernetes.setNamespace(namespace, { env: 'dev' })
    },
    stop: kubernetes.stop,
  }
}

async function mountOver(
  kubernetes: KubernetesApiServer,
  reviewer: string,
  fields: Record<string, unknown>,
  roleFields: Record<string, unknown>,
  options: ApiOptions,
) {
  const { config, reviewerJwt } = checkKubernetesConfig({
    kubernetes_host: kubernetes.url,
    kubernetes_ca_cert: kubernetes.caPem,
    token_reviewer_jwt: reviewer,
    ...fields,
  })
  const cluster = openCluster(config, { podFolder: '/nowhere', ...options })
  const role = await checkKubernetesRole({
    bound_service_account_names: ['api'],
    bound_service_account_namespaces: ['shop'],
    ...roleFields,
  })
  const attempt = { cluster, role, roleName: 'demo' }
  const login = (jwt: string) => verifyKubernetesLogin({ ...attempt, reviewerJwt, jwt, now: new Date() })
  const refusal = async (jwt: string): Promise<KubernetesLoginRefused> => {
    const error: unknown = await login(jwt).then(
      () => new Error('was let in'),
      (thrown: unknown) => thrown,
    )
    expect(error).toBeInstanceOf(KubernetesLoginRefused)
    return error as KubernetesLoginRefused
  }
  return { cluster, attempt, login, refusal }
}

/** The two ways of checking, which must agree on everything but tokens that were taken back. */
export const MODES: [string, (world: AuthWorld) => Record<string, unknown>][] = [
  ['TokenReview', () => ({})],
  ['keys of its own', ({ kubernetes }) => ({ pem_keys: [kubernetes.publicKeyPem], token_reviewer_jwt: '' })],
]

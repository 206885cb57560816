import type { Broker } from '../compose.ts'
import { messageOf } from '../lib/errors.ts'
import type { Logger } from '../lib/log.ts'
import { sensitive } from '../lib/sensitive.ts'
import { readKubeconfig } from './kubeconfig.ts'

/** The names a newcomer meets. */
export const CLUSTER_DEMO = { mount: 'kubernetes/', role: 'demo-viewer', namespace: 'default' } as const

/**
 * Mounts the cluster of a kubeconfig, and on the first time a role to try. What the kubeconfig says is written again at
 * every start, as its credentials change. A cluster that cannot be used is no reason not to start.
 */
export async function mountCluster(broker: Broker, path: string, log: Logger): Promise<boolean> {
  try {
    const { host, caPem, token, client } = await readKubeconfig(path)
    const isNew = !(await broker.mounts.find(CLUSTER_DEMO.mount))
    if (isNew) {
      await broker.mounts.enable(CLUSTER_DEMO.mount, 'kubernetes', {
        description: 'the cluster of KUBECONFIG',
      })
    }
    const mount = await broker.mounts.find(CLUSTER_DEMO.mount)
    if (mount?.type !== 'kubernetes') throw new Error(`${CLUSTER_DEMO.mount} is a mount of another type`)
    const warnings = await broker.enrolment.write(mount, 'config', {
      plugin: 'kubernetes',
      verify: true,
      allowedRoles: ['*'],
      ...(token !== undefined && { password: sensitive(token) }),
      ...(client && { tlsPrivateKey: sensitive(client.keyPem) }),
      fields: {
        kubernetes_host: host,
        kubernetes_ca_cert: caPem,
        disable_local_ca_jwt: true,
        tls_certificate: client?.certPem ?? '',
      },
    })
    for (const warning of warnings) log.warn({ cluster: host }, warning)
    if (isNew) {
      await broker.roles.write(mount, CLUSTER_DEMO.role, {
        dbName: 'config',
        defaultTtlSeconds: 600,
        maxTtlSeconds: 3_600,
        fields: {
          allowed_kubernetes_namespaces: [CLUSTER_DEMO.namespace],
          kubernetes_role_name: 'view',
          kubernetes_role_type: 'ClusterRole',
          token_default_ttl: 600,
          token_max_ttl: 3_600,
          renewable: true,
        },
      })
    }
    return true
  } catch (error) {
    log.warn({ kubeconfig: path, error: messageOf(error) }, 'the cluster of KUBECONFIG is not mounted')
    return false
  }
}

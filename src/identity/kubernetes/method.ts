import type { Ledger } from '../../ledger/db.ts'
import type { Document } from '../../ledger/documents.ts'
import type { Reading } from '../../ledger/reading.ts'
import type { AuthMounts } from '../auth-mounts.ts'
import { refused, type WireFields } from '../jwt/fields.ts'
import { type AuthMount, logIn } from '../login.ts'
import { configAndSecret, type MethodSecrets, writeConfigWithSecret } from '../method-secrets.ts'
import { openedFor } from '../opened.ts'
import type { CreatedToken } from '../token-create.ts'
import { checkTokenFields, tokenFieldsOf } from '../token-fields.ts'
import { openCluster } from './cluster.ts'
import { checkKubernetesConfig, type KubernetesConfig } from './config.ts'
import { KubernetesLoginRefused } from './refusal.ts'
import { checkKubernetesRole, type KubernetesRole } from './role.ts'
import { verifyKubernetesLogin } from './verify.ts'

/** The method `kubernetes`: a workload shows the token of its service account. */
export type KubernetesMethod = {
  /** Without the reviewer's token. */
  config(mountId: string): Promise<KubernetesConfig | undefined>
  /** Replaces the whole configuration, the reviewer's token with it. Asks no API server. */
  writeConfig(mountId: string, fields: WireFields): Promise<void>
  writeRole(mountId: string, name: string, fields: WireFields): Promise<void>
  logIn(ask: {
    mount: AuthMount
    roleName: string
    jwt: string
    sourceAddress: string
    reading: Reading
  }): Promise<CreatedToken>
}

export function createKubernetesMethod(parts: {
  ledger: Ledger
  mounts: AuthMounts
  secrets: MethodSecrets
}): KubernetesMethod {
  const { ledger, mounts, secrets } = parts
  const clusterOf = openedFor((stored: Document) => {
    const { config, secretName } = configAndSecret(stored)
    return {
      cluster: openCluster(config as unknown as KubernetesConfig),
      reviewerJwt: remembered(async () => (secretName === undefined ? undefined : secrets.find(secretName))),
    }
  })

  return {
    async config(mountId) {
      const stored = await mounts.config(mountId)
      return stored && (configAndSecret(stored).config as unknown as KubernetesConfig)
    },
    async writeConfig(mountId, fields) {
      const { config, reviewerJwt } = checkKubernetesConfig(fields)
      await writeConfigWithSecret(parts, mountId, reviewerJwt, () => ({
        config: config as unknown as Document,
        keepsSecret: false,
      }))
    },
    writeRole: (mountId, name, fields) =>
      mounts.writeRole(mountId, name, async (before) => {
        const role = await checkKubernetesRole(fields, before as unknown as KubernetesRole | undefined)
        return { ...role, ...checkTokenFields(fields, before) } as unknown as Document
      }),
    async logIn({ mount, roleName, jwt, sourceAddress, reading: { revision, now } }) {
      if (roleName === '') throw refused('missing role')
      if (jwt === '') throw new KubernetesLoginRefused('missing_jwt')
      const spec = await mounts.loginRole(revision, mount.id, roleName)
      // Nobody's role is longer, and nobody needs a long name sent back.
      if (!spec) throw refused(`invalid role name ${JSON.stringify(roleName.slice(0, 256))}`)
      const stored = await mounts.loginConfig(revision, mount.id)
      if (!stored) throw new KubernetesLoginRefused('not_configured')
      const { cluster, reviewerJwt } = clusterOf(mount.id, stored)
      const { displayName, ...identity } = await verifyKubernetesLogin({
        cluster,
        reviewerJwt: await reviewerJwt(),
        role: spec as unknown as KubernetesRole,
        roleName,
        jwt,
        now,
      })
      return logIn(ledger, {
        mount,
        roleName,
        token: tokenFieldsOf(spec),
        proven: { ...identity, kind: 'workload', alias: displayName },
        sourceAddress,
        now,
      })
    },
  }
}

/** The text behind a name never changes, so it is asked for once; that there is none, or no answer, is not kept. */
function remembered<T>(find: () => Promise<T | undefined>): () => Promise<T | undefined> {
  let found: Promise<T | undefined> | undefined
  const forget = () => {
    found = undefined
  }
  return () => {
    if (found) return found
    const asked = find()
    found = asked
    asked.then((value) => value ?? forget(), forget)
    return asked
  }
}

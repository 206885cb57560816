import type { Ledger } from '../../ledger/db.ts'
import type { Document } from '../../ledger/documents.ts'
import { dropExpired } from '../../ledger/expired.ts'
import type { Reading } from '../../ledger/reading.ts'
import type { WebauthnKey } from '../../ledger/webauthn-keys.ts'
import type { Sensitive } from '../../lib/sensitive.ts'
import type { Principal } from '../../policy/principal.ts'
import type { AuthMounts } from '../auth-mounts.ts'
import { refused, type WireFields } from '../jwt/fields.ts'
import type { AuthMount } from '../login.ts'
import type { CreatedToken } from '../token-create.ts'
import { requestOptions } from './ceremony.ts'
import { loginChallenges } from './challenge.ts'
import { asWebauthnConfig, checkWebauthnConfig, type WebauthnConfig } from './config.ts'
import { beginEnrolment, finishEnrolment } from './enrolment.ts'
import { createWebauthnKeys, type WebauthnKeys } from './keys.ts'
import { type KeyLoginAsk, loginByKey } from './login.ts'

type Ask = { mount: AuthMount; reading: Reading }

/** The method `webauthn`: people whom a mount of type `oidc` knows log in by security keys, its provider up or down. */
export type WebauthnMethod = {
  config(mountId: string): Promise<WebauthnConfig | undefined>
  /** Replaces the whole configuration. */
  writeConfig(mountId: string, fields: WireFields): Promise<void>
  /** What the browser of somebody needs to make a key; throws 403 for whoever may not enrol one now. */
  beginEnrolment(ask: Ask & { principal: Principal }): ReturnType<typeof beginEnrolment>
  finishEnrolment(ask: Omit<Parameters<typeof finishEnrolment>[1], 'config'>): Promise<WebauthnKey>
  /** What any browser needs to be asked for a key. Writes nothing. */
  beginLogin(ask: Ask): ReturnType<typeof requestOptions>
  finishLogin(ask: Omit<KeyLoginAsk, 'config'>): Promise<CreatedToken>
  keys: WebauthnKeys
  /** For the sweep. */
  dropExpired(): Promise<void>
}

type Parts = {
  ledger: Ledger
  mounts: AuthMounts
  /** 32 bytes in base64, the same for all servers; for challenges alone. */
  challengeKey: () => Promise<Sensitive>
  /** Hears, after the commit, on which targets leases now wait to be ended. */
  leasesEnding: (targetIds: string[]) => void
}

export function createWebauthnMethod(parts: Parts): WebauthnMethod {
  const { ledger, mounts } = parts
  const challenges = loginChallenges(parts.challengeKey)
  const configOf = async ({ mount, reading }: Ask): Promise<WebauthnConfig> => {
    const stored = await mounts.loginConfig(reading.revision, mount.id)
    if (!stored) throw refused('could not load configuration')
    return asWebauthnConfig(stored)
  }
  return {
    async config(mountId) {
      const stored = await mounts.config(mountId)
      return stored && asWebauthnConfig(stored)
    },
    async writeConfig(mountId, fields) {
      await mounts.writeConfig(mountId, checkWebauthnConfig(fields) as unknown as Document)
    },
    beginEnrolment: async (ask) => beginEnrolment(ledger, { ...ask, config: await configOf(ask) }),
    finishEnrolment: async (ask) => finishEnrolment(ledger, { ...ask, config: await configOf(ask) }),
    async beginLogin(ask) {
      const config = await configOf(ask)
      return requestOptions(config, await challenges.make(ask.mount.id, ask.reading.now))
    },
    finishLogin: async (ask) =>
      loginByKey({ ledger, mounts, challenges }, { ...ask, config: await configOf(ask) }),
    keys: createWebauthnKeys(ledger, parts.leasesEnding),
    async dropExpired() {
      const tables = ['webauthn_enrolment', 'webauthn_spent', 'signed_out_person'] as const
      await Promise.all(tables.map((table) => dropExpired(ledger, table)))
    },
  }
}

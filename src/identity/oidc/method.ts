import type { Ledger } from '../../ledger/db.ts'
import type { Document } from '../../ledger/documents.ts'
import type { Reading } from '../../ledger/reading.ts'
import type { AuthMounts } from '../auth-mounts.ts'
import { askedRole } from '../jwt/asked-role.ts'
import { withEvents } from '../jwt/config.ts'
import { refused, type WireFields } from '../jwt/fields.ts'
import { LoginRefused } from '../jwt/refusal.ts'
import { checkJwtRole, type JwtRole } from '../jwt/role.ts'
import { type AuthMount, logIn } from '../login.ts'
import { configAndSecret, type MethodSecrets, writeConfigWithSecret } from '../method-secrets.ts'
import { openedFor } from '../opened.ts'
import type { CreatedToken } from '../token-create.ts'
import { checkTokenFields, tokenFieldsOf } from '../token-fields.ts'
import { checkOidcConfig, type OidcConfig } from './config.ts'
import { createOidcLogin, type OidcCallback } from './login.ts'
import { checkOidcProvider, type OidcProvider, openOidcProvider } from './provider.ts'
import type { OidcStates } from './states.ts'

type LoginAsk = {
  mount: AuthMount
  /** Where the request came from, and whom that stands for. */
  sourceAddress: string
  source: string
  reading: Reading
}

/** The method `oidc`: a person signs in at an OpenID provider. */
export type OidcMethod = {
  /** Without the client secret. */
  config(mountId: string): Promise<OidcConfig | undefined>
  /** Replaces the whole configuration, once the provider has answered. A secret that is not sent again stays. */
  writeConfig(mountId: string, fields: WireFields, options: { verify: boolean }): Promise<void>
  writeRole(mountId: string, name: string, fields: WireFields): Promise<void>
  /** Begins a login. No URL where the dialect says no more than that; `refused` says why, for logs only. */
  begin(
    ask: LoginAsk & { roleName: string; redirectUri: string; clientNonce: string },
  ): Promise<{ authUrl: string; refused: LoginRefused | undefined }>
  /** Ends it, with a token for whoever signed in. */
  finish(ask: LoginAsk & { callback: OidcCallback }): Promise<CreatedToken>
  /** The refusal of whoever shows a token instead: a mount's people sign in, so that none of them can be a machine. */
  refuseToken(ask: Pick<LoginAsk, 'mount' | 'reading'> & { roleName: string }): Promise<never>
}

type Parts = { ledger: Ledger; mounts: AuthMounts; secrets: MethodSecrets; states: OidcStates }

export function createOidcMethod({ ledger, mounts, secrets, states }: Parts): OidcMethod {
  const providerOf = keepProviders(secrets)

  const loginOn = async (config: Document, { mount, source, reading }: LoginAsk) =>
    createOidcLogin({
      mount: mount.id,
      provider: await providerOf(mount.id, config),
      states: states.of(source),
      findRole: async (name) =>
        (await mounts.loginRole(reading.revision, mount.id, name)) as unknown as JwtRole | undefined,
      now: () => new Date(reading.now.getTime() + performance.now() - reading.sinceMs),
    })

  return {
    async config(mountId) {
      const stored = await mounts.config(mountId)
      return stored && asConfig(stored)
    },
    async writeConfig(mountId, fields, { verify }) {
      const stored = await mounts.config(mountId)
      const { config, clientSecret } = checkOidcConfig(fields, stored && asConfig(stored))
      if (verify) await checkOidcProvider(config)
      await writeConfigWithSecret({ mounts, secrets }, mountId, clientSecret, (before) => {
        const checked = checkOidcConfig(fields, before as unknown as OidcConfig | undefined)
        return { config: checked.config as unknown as Document, keepsSecret: true }
      })
    },
    writeRole: (mountId, name, fields) =>
      mounts.writeRole(mountId, name, (before) => {
        const token = checkTokenFields(fields, before)
        const role = checkJwtRole(fields, {
          mountType: 'oidc',
          before: before as unknown as JwtRole | undefined,
        })
        if (role.role_type !== 'oidc') {
          throw refused("'role_type' must be 'oidc' here: workloads log in on a mount of type jwt")
        }
        return { ...role, ...token } as unknown as Document
      }),
    async begin(ask) {
      const { config, roleName, spec } = await askedRole(mounts, ask)
      const login = await loginOn(config, ask)
      const role = spec as unknown as JwtRole
      return login.authUrl({
        roleName,
        role,
        redirectUri: ask.redirectUri,
        clientNonce: ask.clientNonce,
      })
    },
    async finish(ask) {
      const { mount, sourceAddress, reading } = ask
      const config = await mounts.loginConfig(reading.revision, mount.id)
      if (!config) throw refused('could not load configuration')
      const { roleName, ...identity } = await (await loginOn(config, ask)).finish(ask.callback)
      const spec = await mounts.loginRole(reading.revision, mount.id, roleName)
      if (!spec) throw new LoginRefused('role_gone')
      return logIn(ledger, {
        mount,
        roleName,
        token: tokenFieldsOf(spec),
        proven: { ...identity, kind: 'human', alias: identity.subject },
        sourceAddress,
        endpoint: 'oidc/callback',
        now: reading.now,
      })
    },
    async refuseToken(ask) {
      await askedRole(mounts, ask)
      throw new LoginRefused('oidc_role')
    },
  }
}

const asConfig = (stored: Document): OidcConfig =>
  withEvents(configAndSecret(stored).config as unknown as OidcConfig)

/** The provider of each mount, with the secret it knows us by. What could not be opened is tried again at the next login. */
function keepProviders(secrets: MethodSecrets) {
  const providerFor = openedFor((stored: Document) => {
    let opening: Promise<OidcProvider> | undefined
    return () =>
      (opening ??= openWithSecret(secrets, stored).catch((error) => {
        opening = undefined
        throw error
      }))
  })
  return (mountId: string, stored: Document) => providerFor(mountId, stored)()
}

async function openWithSecret(secrets: MethodSecrets, stored: Document): Promise<OidcProvider> {
  const { secretName } = configAndSecret(stored)
  const secret = secretName === undefined ? undefined : await secrets.find(secretName)
  if (!secret) throw new LoginRefused('provider_unreachable', 'the client secret is not in the secret store')
  return openOidcProvider(asConfig(stored), secret)
}

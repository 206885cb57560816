import { createHash } from 'node:crypto'
import type { Broker } from '../compose.ts'
import { messageOf } from '../lib/errors.ts'
import type { Logger } from '../lib/log.ts'
import { DEMO } from './demo-target.ts'
import { type People, startPeople } from './people.ts'
import { EMERGENCY, GUARDED, seedBreakGlass, seedControlGroup } from './people-grants.ts'
import { KEYS_LOGIN, seatKeys } from './people-keys.ts'
import { CLIENT_ID, SCOPES } from './people-provider.ts'

/** Where the sample people log in, and what they hold then. */
export const PEOPLE_LOGIN = { mount: 'auth/oidc/', role: 'default', policy: 'sample-people' } as const

/** Where the `vault` command line waits for a person to come back. */
const CLI_CALLBACKS = ['http://localhost:8250/oidc/callback', 'http://127.0.0.1:8250/oidc/callback']

const CONSOLE_CALLBACK = '/ui/oidc/callback'

/** From the API's port: an address that is the same at most starts. */
const PORT_OFFSET = 10

const HOUR_SECONDS = 3_600

/**
 * Starts the provider of the sample people beside the API at `url`, and lets them log in. Undefined where an admin has
 * put something else at their mount, or they cannot be had: that is no reason not to start.
 */
export async function seatPeople(broker: Broker, url: string, log: Logger): Promise<People | undefined> {
  try {
    if (await isTaken(broker)) return undefined
    const redirectUris = [...consoleAddresses(url).map((at) => at + CONSOLE_CALLBACK), ...CLI_CALLBACKS]
    const people = await startPeople({ port: Number(new URL(url).port) + PORT_OFFSET, redirectUris }, log)
    try {
      const first = await letIn(broker, people, redirectUris)
      await seatKeys(broker, { url, policy: PEOPLE_LOGIN.policy, first })
      return people
    } catch (error) {
      await people.stop()
      throw error
    }
  } catch (error) {
    log.warn({ error: messageOf(error) }, 'the sample people cannot sign in')
    return undefined
  }
}

/** Whether the mount is there and works with a provider other than ours. */
async function isTaken({ mounts, oidc }: Broker): Promise<boolean> {
  const mount = await mounts.find(PEOPLE_LOGIN.mount)
  if (!mount) return false
  if (mount.type !== 'oidc') return true
  const config = await oidc.config(mount.id)
  return config !== undefined && config.oidc_client_id !== CLIENT_ID
}

/** A browser takes the two names of this machine for two hosts, and people type either. */
function consoleAddresses(url: string): string[] {
  const { hostname } = new URL(url)
  const others = ['127.0.0.1', 'localhost'].filter((name) => name !== hostname)
  return [url, ...others.map((name) => url.replace(hostname, name))]
}

/**
 * The provider's address and secret are new at each start, and written then; role and policy are made once, and
 * whatever their owner changes afterwards stays changed. A policy as an older version of ours made it is nobody's change.
 * Answers whether something was made, or brought up to date.
 */
async function letIn(broker: Broker, people: People, redirectUris: readonly string[]): Promise<boolean> {
  const found = await broker.mounts.find(PEOPLE_LOGIN.mount)
  if (!found) {
    await broker.mounts.enable(PEOPLE_LOGIN.mount, 'oidc', { description: 'sample people' })
  }
  const mount = found ?? (await broker.mounts.find(PEOPLE_LOGIN.mount))
  if (!mount) throw new Error(`${PEOPLE_LOGIN.mount} was disabled while it was being made`)
  const isNew = (await broker.oidc.config(mount.id)) === undefined
  await broker.oidc.writeConfig(
    mount.id,
    {
      oidc_discovery_url: people.issuer,
      oidc_client_id: CLIENT_ID,
      oidc_client_secret: people.clientSecret.reveal(),
      default_role: PEOPLE_LOGIN.role,
    },
    { verify: true },
  )
  if (!isNew) return bringUpToDate(broker)
  await seedBreakGlass(broker)
  await broker.policies.write(PEOPLE_LOGIN.policy, POLICY)
  await broker.oidc.writeRole(mount.id, PEOPLE_LOGIN.role, {
    user_claim: 'sub',
    groups_claim: 'groups',
    oidc_scopes: SCOPES,
    claim_mappings: { name: 'name', email: 'email' },
    allowed_redirect_uris: redirectUris,
    token_policies: [PEOPLE_LOGIN.policy],
    token_ttl: HOUR_SECONDS,
    token_max_ttl: 12 * HOUR_SECONDS,
  })
  return true
}

async function bringUpToDate(broker: Broker): Promise<boolean> {
  const found = await broker.policies.find(PEOPLE_LOGIN.policy)
  if (!found || !OLDER.has(createHash('sha256').update(found.text).digest('hex'))) return false
  await seedControlGroup(broker)
  await broker.policies.write(PEOPLE_LOGIN.policy, POLICY)
  return true
}

const WATCHERS = `['security-oncall', 'security-officers', 'audit'].exists(g, g in principal.groups)`

const POLICY = `# What the sample people may do; by their groups, where a condition says so.

# Ask for emergency access, vote, review, lift blocks. Who may do which is for the break-glass policies to say.
path "break-glass/*" {
  capabilities = ["create", "read", "update", "delete", "list"]
}

path "${DEMO.mount}creds/${DEMO.readonlyRole}" {
  capabilities = ["read"]
}

# Only while a break-glass approval is in force.
path "${DEMO.mount}creds/${EMERGENCY.role}" {
  capabilities = ["read"]
  condition = "approval.live"
}

# Answers with a wrapping token that others authorize: a break-glass policy, ${GUARDED.policy}, makes it a control group.
# Without that policy it is a role like any other.
path "${DEMO.mount}creds/${GUARDED.role}" {
  capabilities = ["read"]
}

path "sys/control-group/request" {
  capabilities = ["update"]
}

path "sys/control-group/authorize" {
  capabilities = ["update"]
}

# Enrol security keys of their own, and remove them.
path "${KEYS_LOGIN.mount}register/*" {
  capabilities = ["update"]
}

path "${KEYS_LOGIN.mount}keys/*" {
  capabilities = ["read", "list", "update", "delete"]
}

# See who has access, and end it.
path "sys/leasehold/leases" {
  capabilities = ["read"]
  condition = "${WATCHERS}"
}

path "sys/leasehold/leases/*" {
  capabilities = ["read", "update"]
  condition = "${WATCHERS}"
}

path "sys/leasehold/targets" {
  capabilities = ["read"]
}

path "sys/leasehold/summary" {
  capabilities = ["read"]
}

path "sys/leasehold/audit" {
  capabilities = ["read", "sudo"]
  condition = "${WATCHERS}"
}

path "sys/leasehold/audit/*" {
  capabilities = ["read", "sudo"]
  condition = "${WATCHERS}"
}
`

/** What our own older versions wrote, as SHA-256 of the text. */
const OLDER: ReadonlySet<string> = new Set([
  '2bb8322e42d5c07ca6c76f9baca00557f1affcc1f7b7083a9eddab0b1724674f',
  '33625b9fa75539983dc62082a816c47bd2b870c4b000396f01cae7e0eab6f94d',
  '1f4c8b6067700a45799d2416aa703b008fd0f20f5604765854b28139bea73b45',
])

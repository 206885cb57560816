import { type AuthMount, logIn } from '../../src/identity/login.ts'
import { tokenFieldsOf } from '../../src/identity/token-fields.ts'
import { MOUNT_ACCESSOR } from '../../src/ledger/mounts.ts'
import type { TestBroker } from './broker.ts'

/** Somebody who has logged in, and requests in their name. */
export type Person = { api: TestBroker['api']; token: string; accessor: string }

export type Login = {
  groups?: string[]
  kind?: 'human' | 'workload'
  amr?: string[]
  /** How long ago they proved who they are. */
  ageSeconds?: number
  policies?: string[]
  /** What else their provider's mount keeps of them, such as the role by which they came. */
  metadata?: Record<string, string>
  /** What else their provider says of them. */
  claims?: Record<string, unknown>
}

export type People = {
  /** As an OIDC provider's callback leaves them: a login with a second factor of just now, unless told otherwise. */
  person(name: string, login?: Login): Promise<Person>
}

const GLASS = `
  path "break-glass/*" { capabilities = ["create", "read", "update", "list"] }
  path "sys/control-group/*" { capabilities = ["update"] }
  path "sys/leases/*" { capabilities = ["update"] }`

/** People of the mount `auth/oidc/`, who may use break-glass as far as its own policies let them. */
export async function openPeople(at: TestBroker): Promise<People> {
  await at.api('POST', 'sys/auth/oidc', { type: 'oidc' })
  await at.api('PUT', 'sys/policies/acl/glass', { policy: GLASS })
  const { rows } = await at.ledger.ledger.query<AuthMount>(
    `select m.id, m.path, ${MOUNT_ACCESSOR} as accessor, m.config from leasehold.mount m
     where m.path = 'auth/oidc/' and m.disabled_at is null`,
  )
  const [mount] = rows
  return {
    async person(
      name,
      {
        groups = [],
        kind = 'human',
        amr = ['pwd', 'otp'],
        ageSeconds = 0,
        policies = [],
        metadata = {},
        claims = {},
      } = {},
    ) {
      const now = await at.ledger.now()
      const authTime = Math.floor(now.getTime() / 1_000) - ageSeconds
      const { token, entry } = await logIn(at.ledger.ledger, {
        mount: mount as AuthMount,
        roleName: 'people',
        token: tokenFieldsOf({ token_policies: ['glass', ...policies], token_ttl: 3_600 }),
        proven: {
          ...{ kind, groups, amr, authTime, alias: name, subject: name, metadata, acr: '' },
          claims: { iss: 'https://issuer.example', sub: name, groups, ...claims },
        },
        sourceAddress: '127.0.0.1',
        endpoint: 'oidc/callback',
        now,
      })
      const text = token.reveal()
      return {
        token: text,
        accessor: entry.accessor ?? '',
        api: (method, path, body, headers) =>
          at.api(method, path, body, { 'X-Vault-Token': text, ...headers }),
      }
    },
  }
}

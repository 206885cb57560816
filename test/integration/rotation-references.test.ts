import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { sensitive } from '../../src/lib/sensitive.ts'
import { type AwsSecretsServer, startAwsSecrets } from '../support/aws-secrets-server.ts'
import { openTestBroker, type TestBroker } from '../support/broker.ts'
import { startVault, type VaultServer } from '../support/vault-server.ts'

/** Admin passwords that others keep in their own store, and that a rotation has to write back to where it is. */

const VAULT_PATH = 'secret/data/db'
/** What the broker's token for Vault may not. */
const denied: string[] = []
let vault: VaultServer
let aws: AwsSecretsServer
let at: TestBroker
beforeAll(async () => {
  vault = await startVault()
  aws = await startAwsSecrets()
  const token = sensitive(vault.token({ deny: denied }))
  at = await openTestBroker({
    secretStores: {
      default: 'builtin',
      vault: {
        address: vault.url,
        namespace: undefined,
        ca: undefined,
        mount: 'secret',
        prefix: 'leasehold',
        login: { kind: 'token', token },
      },
      aws: { region: aws.region, endpoint: aws.url, prefix: 'leasehold/' },
    },
  })
})
afterAll(async () => {
  await at.close()
  await aws.stop()
  await vault.stop()
})

type Keys = { password: string; note: string }
type Kept = { reference: string; read(): Keys; write(password: string): void; refuse(refused: boolean): void }

const keys = (password: string): Keys => ({ password, note: 'of somebody else' })
const ofAws = (...operations: string[]): Kept => ({
  reference: 'aws:prod/db#password',
  read: () => JSON.parse(aws.read('prod/db') ?? '{}'),
  write: (password) => aws.write('prod/db', JSON.stringify(keys(password))),
  refuse: (refused) => aws.deny(...(refused ? operations : [])),
})
const STORES: [string, Kept][] = [
  [
    'Vault',
    {
      reference: `vault:${VAULT_PATH}#password`,
      read: () => vault.read(VAULT_PATH) as Keys,
      write: (password) => vault.write(VAULT_PATH, keys(password)),
      refuse: (refused) => void denied.splice(0, 1, ...(refused ? [`POST ${VAULT_PATH}`] : [])),
    },
  ],
  ['AWS, which lets new versions in', ofAws('PutSecretValue')],
  ['AWS, which makes versions current', ofAws('UpdateSecretVersionStage')],
]

const logsIn = async (password: string): Promise<boolean> => {
  try {
    await (await at.target.logIn({ username: at.target.admin, password })).end()
    return true
  } catch {
    return false
  }
}
const rotate = () => at.api('POST', 'database/rotate-root/db')
const shown = async () => (await at.api('GET', 'database/config/db')).json.data
const issues = async (): Promise<boolean> => {
  const { status, json } = await at.api('GET', 'database/creds/app')
  if (status !== 200) return false
  await at.api('PUT', 'sys/leases/revoke', { lease_id: json.lease_id })
  return (await at.target.account(json.data.username)) === 'absent'
}

describe.each(STORES)('a password in the store of others: %s', (_, kept) => {
  beforeEach(async () => {
    kept.refuse(false)
    await at.target.sql(`alter role ${at.target.admin} password 'of-the-start'`)
    kept.write('of-the-start')
    const { status } = await at.api('POST', 'database/config/db', {
      plugin_name: 'postgresql-database-plugin',
      connection_url: at.target.urlTemplate,
      username: at.target.admin,
      password: kept.reference,
      allowed_roles: '*',
    })
    expect(status).toBeLessThan(300)
  })

  test('is rotated there and nowhere else', async () => {
    expect((await rotate()).status).toBe(204)

    const { password, note } = kept.read()
    expect(note).toBe('of somebody else')
    expect(await logsIn(password)).toBe(true)
    expect(await logsIn('of-the-start')).toBe(false)
    expect(await issues()).toBe(true)
    expect((await shown()).connection_details.password_reference).toBe(kept.reference)

    expect((await rotate()).status).toBe(204)
    expect(kept.read().password).not.toBe(password)
    expect(await logsIn(kept.read().password)).toBe(true)
  })

  test('that may not be written is not rotated at all, until it may', async () => {
    kept.refuse(true)
    const { status, json } = await rotate()

    expect(status).toBe(400)
    expect(json.errors[0]).toContain(`may be read at ${kept.reference}, but not written there: `)
    expect((await shown()).rotation_error).toBe(json.errors[0])
    expect(kept.read().password).toBe('of-the-start')
    expect(await logsIn('of-the-start')).toBe(true)
    expect(await issues()).toBe(true)

    kept.refuse(false)
    expect((await rotate()).status).toBe(204)
    expect(await logsIn(kept.read().password)).toBe(true)
    expect((await shown()).rotation_error).toBeUndefined()
  })

  test('that somebody else rotated is taken from there, and rotated on', async () => {
    expect((await rotate()).status).toBe(204)
    await at.target.sql(`alter role ${at.target.admin} password 'by-somebody-else'`)
    kept.write('by-somebody-else')

    expect((await rotate()).status).toBe(204)

    expect(kept.read().password).not.toBe('by-somebody-else')
    expect(await logsIn(kept.read().password)).toBe(true)
    expect(await issues()).toBe(true)
  })

  test('of a target that would not take it is left alone in the store', async () => {
    await at.target.sql(`alter role ${at.target.admin} password 'known to nobody here'`)
    const [toVault, toAws] = [vault.requests.length, aws.requests.length]

    expect((await rotate()).status).toBe(400)

    expect(kept.read().password).toBe('of-the-start')
    const asked = [...vault.requests.slice(toVault), ...aws.requests.slice(toAws)]
    expect(asked.filter((each) => !/^Get/i.test(each))).toEqual([])
  })
})

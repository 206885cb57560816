import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { ConfigError, loadConfig } from '../../src/config.ts'

const KEY = Buffer.alloc(32, 7).toString('base64')
const OLD_KEY = Buffer.alloc(32, 8).toString('base64')
const PRODUCTION = { LEASEHOLD_LEDGER_URL: 'postgres://lh:word@db/lh', LEASEHOLD_MASTER_KEY: KEY }
const VAULT = { LEASEHOLD_VAULT_ADDR: 'https://vault:8200/', LEASEHOLD_VAULT_TOKEN: 'hvs.token-of-the-test' }

let dir = ''
beforeAll(() => {
  dir = mkdtempSync(join(tmpdir(), 'lh-secret-settings-'))
})
afterAll(() => rmSync(dir, { recursive: true }))

const read = (env: Record<string, string>) => loadConfig('worker', { ...PRODUCTION, ...env }, false)

function problems(env: Record<string, string>): readonly string[] {
  try {
    read(env)
  } catch (error) {
    if (error instanceof ConfigError) return error.problems
    throw error
  }
  return []
}

describe('stores', () => {
  test('the built-in one alone, unless told otherwise', () => {
    expect(read({}).secretStores).toEqual({ default: 'builtin', vault: undefined, aws: undefined })
  })

  test('Vault, by each of its logins', () => {
    const { vault } = read({
      ...VAULT,
      LEASEHOLD_SECRET_STORE: 'vault',
      LEASEHOLD_VAULT_MOUNT: '/team/kv/',
    }).secretStores
    expect(vault).toMatchObject({ address: 'https://vault:8200', mount: 'team/kv', prefix: 'leasehold' })
    expect(vault?.login.kind === 'token' && vault.login.token.reveal()).toBe('hvs.token-of-the-test')
    const { LEASEHOLD_VAULT_ADDR } = VAULT
    const secretId = join(dir, 'secret-id')
    writeFileSync(secretId, 'x', { mode: 0o600 })
    const login = (env: Record<string, string>) =>
      read({ LEASEHOLD_VAULT_ADDR, ...env }).secretStores.vault?.login
    expect(login({ LEASEHOLD_VAULT_ROLE_ID: 'r', LEASEHOLD_VAULT_SECRET_ID_FILE: secretId })).toEqual({
      kind: 'approle',
      authPath: 'approle',
      roleId: 'r',
      secretId: { path: secretId },
    })
    expect(login({ LEASEHOLD_VAULT_KUBERNETES_ROLE: 'broker', LEASEHOLD_VAULT_AUTH_PATH: 'k8s' })).toEqual({
      kind: 'kubernetes',
      authPath: 'k8s',
      role: 'broker',
      tokenPath: '/var/run/secrets/kubernetes.io/serviceaccount/token',
    })
  })

  test('a token file that an agent has yet to write is no reason not to start', () => {
    const path = join(dir, 'later')
    const { secretStores, warnings } = read({
      LEASEHOLD_VAULT_ADDR: 'https://vault:8200',
      LEASEHOLD_VAULT_TOKEN_FILE: path,
    })
    expect(secretStores.vault?.login).toEqual({ kind: 'token_file', path })
    expect(warnings).toEqual(['LEASEHOLD_VAULT_TOKEN_FILE names a file that is not there yet'])
  })

  test('AWS by its region', () => {
    expect(read({ LEASEHOLD_AWS_REGION: 'eu-central-1' }).secretStores.aws).toEqual({
      region: 'eu-central-1',
      endpoint: undefined,
      prefix: 'leasehold/',
    })
  })

  test.each<[string, Record<string, string>]>([
    ['LEASEHOLD_SECRET_STORE=vault needs LEASEHOLD_VAULT_ADDR', { LEASEHOLD_SECRET_STORE: 'vault' }],
    ['LEASEHOLD_SECRET_STORE=aws needs LEASEHOLD_AWS_REGION', { LEASEHOLD_SECRET_STORE: 'aws' }],
    ['LEASEHOLD_SECRET_STORE must be one of', { LEASEHOLD_SECRET_STORE: 'gcp' }],
    ['LEASEHOLD_VAULT_TOKEN needs LEASEHOLD_VAULT_ADDR', { LEASEHOLD_VAULT_TOKEN: 'x' }],
    ['LEASEHOLD_AWS_PREFIX needs LEASEHOLD_AWS_REGION', { LEASEHOLD_AWS_PREFIX: 'x' }],
    ['LEASEHOLD_VAULT_ADDR needs exactly one of', { LEASEHOLD_VAULT_ADDR: 'https://v' }],
    ['LEASEHOLD_VAULT_ADDR needs exactly one of', { ...VAULT, LEASEHOLD_VAULT_ROLE_ID: 'r' }],
    ['LEASEHOLD_VAULT_SECRET_ID needs LEASEHOLD_VAULT_ROLE_ID', { ...VAULT, LEASEHOLD_VAULT_SECRET_ID: 's' }],
    ['LEASEHOLD_VAULT_ADDR must be a URL', { ...VAULT, LEASEHOLD_VAULT_ADDR: 'https://me:hunter2@vault' }],
    ['LEASEHOLD_VAULT_MOUNT must be a path', { ...VAULT, LEASEHOLD_VAULT_MOUNT: 'a/../b' }],
    ['LEASEHOLD_AWS_REGION must be a region', { LEASEHOLD_AWS_REGION: 'Frankfurt!' }],
  ])('%s', (text, env) => {
    const found = problems(env)
    expect(found).toEqual([expect.stringContaining(text)])
    expect(found.join()).not.toContain('hunter2')
  })

  test('secrets in the clear between machines are warned of', () => {
    const at = (LEASEHOLD_VAULT_ADDR: string) => read({ ...VAULT, LEASEHOLD_VAULT_ADDR }).warnings
    expect(at('http://vault:8200')).toEqual([expect.stringContaining('in the clear')])
    expect(at('http://127.0.0.1:8200')).toEqual([])
  })
})

describe('the previous master key', () => {
  test('is given like the other, as a value or in a file', () => {
    const path = join(dir, 'old-key')
    writeFileSync(path, `${OLD_KEY}\n`, { mode: 0o600 })
    expect(read({}).previousMasterKey).toBeUndefined()
    for (const env of [
      { LEASEHOLD_PREVIOUS_MASTER_KEY: OLD_KEY },
      { LEASEHOLD_PREVIOUS_MASTER_KEY_FILE: path },
    ]) {
      const { masterKey, previousMasterKey } = read(env)
      expect([masterKey.reveal(), previousMasterKey?.reveal()]).toEqual([KEY, OLD_KEY])
    }
    expect(
      problems({ LEASEHOLD_PREVIOUS_MASTER_KEY: OLD_KEY, LEASEHOLD_PREVIOUS_MASTER_KEY_FILE: path }),
    ).toEqual(['LEASEHOLD_PREVIOUS_MASTER_KEY and LEASEHOLD_PREVIOUS_MASTER_KEY_FILE are both set; keep one'])
    expect(problems({ LEASEHOLD_PREVIOUS_MASTER_KEY: 'short' })).toEqual([
      expect.stringContaining('LEASEHOLD_PREVIOUS_MASTER_KEY must be 32 bytes in base64'),
    ])
  })
})

import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { inspect } from 'node:util'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { sensitive } from '../../src/lib/sensitive.ts'
import type { ExternalStore } from '../../src/secrets/secret-store.ts'
import type { VaultLogin } from '../../src/secrets/vault/login.ts'
import { type VaultSettings, vaultStore } from '../../src/secrets/vault/vault-store.ts'
import { newAuthority } from '../support/certificates.ts'
import { startVault, type VaultServer, vaultFaults } from '../support/vault-server.ts'

const PASSWORD = 'correct-horse-battery'

let vault: VaultServer
let opened: ExternalStore[]
let folder: string

beforeEach(async () => {
  vault = await startVault()
  opened = []
  folder = mkdtempSync(join(tmpdir(), 'leasehold-vault-'))
})
afterEach(async () => {
  vault.behave(undefined)
  await Promise.all(opened.map((store) => store.close()))
  await vault.stop()
  rmSync(folder, { recursive: true })
})

const token = (text: string): VaultLogin => ({ kind: 'token', token: sensitive(text) })

function open(more: Partial<VaultSettings> = {}, timeoutMs = 5_000): ExternalStore {
  const at = { address: vault.url, namespace: undefined, ca: undefined, mount: 'secret', prefix: 'leasehold' }
  const store = vaultStore({ ...at, login: token(vault.root), ...more }, { timeoutMs })
  opened.push(store)
  return store
}

const file = (name: string, text: string): string => {
  const path = join(folder, name)
  writeFileSync(path, text)
  return path
}

const loginsOf = (path: string): number =>
  vault.requests.filter((each) => each === `POST auth/${path}/login`).length

describe('the secrets of our own', () => {
  test('lie under the mount and the prefix, in a namespace', async () => {
    vault.mount('team/kv', { namespace: 'ops' })
    const store = open({ mount: 'team/kv', prefix: 'broker/one', namespace: 'ops' })
    await store.put('target/a', sensitive(PASSWORD))
    expect(vault.read('team/kv/data/broker/one/target/a', 'ops')).toEqual({ value: PASSWORD })
    expect((await store.get('target/a'))?.text.reveal()).toBe(PASSWORD)
  })

  test('also where every write has to name the version before it', async () => {
    vault.mount('strict', { casRequired: true })
    const store = open({ mount: 'strict' })
    expect([await store.put('a', sensitive('1')), await store.put('a', sensitive('2'))]).toEqual([1, 2])
  })

  test('one whose newest version somebody deleted is absent, and can be put again', async () => {
    const store = open()
    await store.put('a', sensitive('1'))
    vault.softDelete('secret/data/leasehold/a')
    expect(await store.get('a')).toBeUndefined()
    expect(await store.put('a', sensitive('2'))).toBe(2)
  })

  test('one that somebody wrote over is damaged', async () => {
    const store = open()
    await store.put('a', sensitive('1'))
    vault.write('secret/data/leasehold/a', { other: 'x' })
    await expect(store.get('a')).rejects.toMatchObject({ kind: 'damaged' })
  })
})

describe('what is not an answer of Vault is never taken for an absent secret', () => {
  test.each(Object.entries(vaultFaults))('%s', async (name, fault) => {
    const store = open({}, 300)
    await store.put('a', sensitive(PASSWORD))
    vault.behave(fault)
    const kind = name.startsWith('isNot') || name.startsWith('isAnother') ? 'denied' : 'unreachable'
    await expect(store.get('a')).rejects.toMatchObject({ kind })
    await expect(store.put('a', sensitive('x'))).rejects.toMatchObject({ kind })
    vault.behave(undefined)
    expect((await store.get('a'))?.text.reveal()).toBe(PASSWORD)
  })

  test('nobody listens', async () => {
    const store = open({ address: 'http://127.0.0.1:1' })
    await expect(store.get('a')).rejects.toMatchObject({ kind: 'unreachable' })
  })

  test('no such mount', async () => {
    const store = open({ mount: 'nowhere' })
    await expect(store.get('a')).rejects.toMatchObject({ kind: 'denied', message: /no handler for route/ })
  })

  test('a certificate of an authority that is not given', async () => {
    const authority = newAuthority()
    const tls = await startVault(authority.issue('localhost'))
    try {
      const stranger = open({ address: tls.url, login: token(tls.root) })
      await expect(stranger.get('a')).rejects.toMatchObject({ kind: 'unreachable' })
      const known = open({ address: tls.url, login: token(tls.root), ca: file('ca.pem', authority.cert) })
      expect(await known.get('a')).toBeUndefined()
    } finally {
      await tls.stop()
    }
  })
})

describe('logins', () => {
  test('with a role id and a secret id, which may be in a file that is changed', async () => {
    vault.addAppRole('approle', { roleId: 'role-1', secretIds: ['one'] })
    const path = file('secret-id', 'one\n')
    const login = { kind: 'approle', authPath: 'approle', roleId: 'role-1', secretId: { path } } as const
    const store = open({ login })
    await Promise.all([store.put('a', sensitive('1')), store.get('b'), store.get('c')])
    expect(loginsOf('approle')).toBe(1)

    vault.addAppRole('approle', { roleId: 'role-1', secretIds: ['two'] })
    await expect(open({ login }).get('a')).rejects.toMatchObject({ kind: 'denied' })
    file('secret-id', 'two')
    expect((await open({ login }).get('a'))?.text.reveal()).toBe('1')
  })

  test('with a service account of Kubernetes, at a path of its own', async () => {
    vault.addKubernetesRole('k8s/east', { name: 'broker', jwts: ['a.jwt.text'] })
    const tokenPath = file('token', 'a.jwt.text')
    const store = open({ login: { kind: 'kubernetes', authPath: 'k8s/east', role: 'broker', tokenPath } })
    expect(await store.get('a')).toBeUndefined()
    const other = open({ login: { kind: 'kubernetes', authPath: 'k8s/east', role: 'other', tokenPath } })
    await expect(other.get('a')).rejects.toMatchObject({ kind: 'denied', message: /invalid role name/ })
  })

  test('a token is renewed before it ends', async () => {
    vault.addAppRole('approle', { roleId: 'r', secretIds: ['s'], tokens: { ttlSeconds: 1 } })
    const secretId = sensitive('s')
    const store = open({ login: { kind: 'approle', authPath: 'approle', roleId: 'r', secretId } })
    await store.get('a')
    await expect
      .poll(() => vault.requests.filter((each) => each === 'POST auth/token/renew-self').length, {
        timeout: 20_000,
      })
      .toBeGreaterThan(2)
    await store.get('a')
    expect(loginsOf('approle')).toBe(1)
  })

  test('one that cannot be renewed any longer is made anew', async () => {
    vault.addAppRole('approle', { roleId: 'r', secretIds: ['s'], tokens: { ttlSeconds: 1, maxRenewals: 1 } })
    const secretId = sensitive('s')
    const store = open({ login: { kind: 'approle', authPath: 'approle', roleId: 'r', secretId } })
    await expect
      .poll(
        async () => {
          await store.get('a')
          return loginsOf('approle')
        },
        { timeout: 20_000 },
      )
      .toBeGreaterThan(1)
  })

  test('one that was revoked is made anew within the same call', async () => {
    const [first, second] = [vault.token(), vault.token()]
    const store = open({ login: { kind: 'token_file', path: file('token', first) } })
    await store.put('a', sensitive('1'))
    file('token', second)
    vault.revoke(first)
    expect((await store.get('a'))?.text.reveal()).toBe('1')
  })

  test('a right that is missing is told, and no reason to log in again', async () => {
    const tokens = { ttlSeconds: 3_600, deny: ['secret/'] }
    vault.addAppRole('approle', { roleId: 'r', secretIds: ['s'], tokens })
    const secretId = sensitive('s')
    const store = open({ login: { kind: 'approle', authPath: 'approle', roleId: 'r', secretId } })
    await expect(store.get('a')).rejects.toMatchObject({ kind: 'denied', message: /permission denied/ })
    expect(loginsOf('approle')).toBe(1)
  })

  test('closing gives up a token that was made for us, and leaves one that was given', async () => {
    vault.addAppRole('approle', { roleId: 'r', secretIds: ['s'] })
    const secretId = sensitive('s')
    const store = open({ login: { kind: 'approle', authPath: 'approle', roleId: 'r', secretId } })
    await store.get('a')
    await store.close()
    expect(vault.requests.at(-1)).toBe('POST auth/token/revoke-self')
    await expect(store.get('a')).rejects.toMatchObject({ kind: 'unreachable' })
    const given = open()
    await given.get('a')
    await given.close()
    expect(vault.isAlive(vault.root)).toBe(true)
  })

  test('a file that is not there is told without its path', async () => {
    const store = open({ login: { kind: 'token_file', path: join(folder, 'absent') } })
    await expect(store.get('a')).rejects.toMatchObject({
      kind: 'denied',
      message: 'the login for Vault cannot be read from its file (ENOENT)',
    })
    const stranger = open({ ca: join(folder, 'absent') })
    await expect(stranger.get('a')).rejects.toMatchObject({
      kind: 'denied',
      message: 'the authority of Vault cannot be read from its file (ENOENT)',
    })
  })
})

describe('references', () => {
  const at = { path: 'secret/data/db', key: 'password' }

  test('name one key, which is written with the others left as they are', async () => {
    vault.write('secret/data/db', { username: 'admin', password: PASSWORD })
    const { references } = open()
    const found = await references.read(at)
    expect(found).toMatchObject({ version: '1' })
    expect(found.text.reveal()).toBe(PASSWORD)
    await references.write(at, sensitive('newer'), found.version)
    expect(vault.read('secret/data/db')).toEqual({ username: 'admin', password: 'newer' })
  })

  test('are not written over what somebody changed meanwhile', async () => {
    vault.write('secret/data/db', { password: PASSWORD })
    const { references } = open()
    const { version } = await references.read(at)
    vault.write('secret/data/db', { password: 'by hand' })
    await expect(references.write(at, sensitive('x'), version)).rejects.toMatchObject({ kind: 'conflict' })
    expect(vault.read('secret/data/db')).toEqual({ password: 'by hand' })
  })

  test('to a path, a key or a text that is not there say which', async () => {
    vault.write('secret/data/db', { port: 5432 })
    const { references } = open()
    const absent = { kind: 'absent' }
    await expect(references.read({ ...at, path: 'secret/data/no' })).rejects.toMatchObject({
      ...absent,
      message: /nothing at secret\/data\/no/,
    })
    for (const key of ['password', 'port', 'constructor', '__proto__']) {
      await expect(references.read({ ...at, key })).rejects.toMatchObject({
        ...absent,
        message: /no text under/,
      })
    }
    vault.softDelete('secret/data/db')
    await expect(references.read(at)).rejects.toMatchObject(absent)
  })

  test.each([
    'secret/db',
    'data/db',
    'secret/data/',
    'secret/data/../data/db',
    'secret//data/db',
    '/secret/data/db',
    'secret/data/./db',
  ])('the path %s is refused unasked', (path) => {
    const { references } = open()
    expect(() => references.check({ ...at, path })).toThrow(/vault:<mount>\/data\/<path>#<key>/)
  })

  test('cannot name what we keep there ourselves, and need a key', () => {
    const { references } = open()
    expect(() => references.check({ ...at, path: 'secret/data/leasehold/target/a' })).toThrow(/itself keeps/)
    expect(() => references.check({ ...at, path: 'secret/data/leasehold' })).toThrow(/itself keeps/)
    expect(() => references.check({ ...at, path: 'secret/data/leaseholders' })).not.toThrow()
    expect(() => references.check({ path: at.path })).toThrow(/#<key>/)
  })
})

test('no error shows a token or a secret', async () => {
  const store = open({}, 300)
  await store.put('a', sensitive(PASSWORD))
  for (const fault of [...Object.values(vaultFaults), undefined]) {
    vault.behave(fault)
    const error = await store
      .put('a', sensitive(PASSWORD), { ifVersion: 9 })
      .catch((caught: unknown) => caught)
    expect(error).toBeInstanceOf(Error)
    const shown = inspect(error, { depth: 12, showHidden: true }) + JSON.stringify(error)
    expect(shown).not.toContain(PASSWORD)
    expect(shown).not.toContain(vault.root)
  }
})

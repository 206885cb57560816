import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { adminOf } from '../../src/lease/admin-credentials.ts'
import { sensitive } from '../../src/lib/sensitive.ts'
import { builtinSecretStore } from '../../src/secrets/builtin/builtin-store.ts'
import { type CredentialPlace, type Credentials, createCredentials } from '../../src/secrets/credentials.ts'
import { parseReference } from '../../src/secrets/reference.ts'
import { type SecretStores, type StoreName, secretStores } from '../../src/secrets/stores.ts'
import { vaultStore } from '../../src/secrets/vault/vault-store.ts'
import { memoryRows } from '../support/sealed-rows.ts'
import { startVault, type VaultServer, vaultFaults } from '../support/vault-server.ts'

const MASTER_KEY = sensitive(Buffer.alloc(32, 3).toString('base64'))
const NEXT = { password: sensitive('next') }
const REFERENCE = 'vault:secret/data/db#password'

let vault: VaultServer
let stores: SecretStores | undefined

beforeEach(async () => {
  vault = await startVault()
  vault.write('secret/data/db', { password: 'first', note: 'kept' })
})
afterEach(async () => {
  vault.behave(undefined)
  await stores?.close()
  stores = undefined
  await vault.stop()
})

function open(kind: StoreName): Credentials {
  const at = { address: vault.url, namespace: undefined, ca: undefined, mount: 'secret', prefix: 'leasehold' }
  const login = { kind: 'token', token: sensitive(vault.root) } as const
  const opened = secretStores({
    builtin: builtinSecretStore(memoryRows(), { masterKey: MASTER_KEY }),
    external: { vault: vaultStore({ ...at, login }, { timeoutMs: 1_000 }) },
    default: kind,
  })
  stores = opened
  return createCredentials(opened)
}

/** Ways in which a credential is given, each with `first` as its password. */
const WAYS: [string, StoreName, { reference: string } | undefined][] = [
  ['a password in the built-in store', 'builtin', undefined],
  ['a password in Vault', 'vault', undefined],
  ['a reference', 'builtin', { reference: REFERENCE }],
  ['a reference beside Vault', 'vault', { reference: REFERENCE }],
]

describe.each(WAYS)('%s', (_, kind, reference) => {
  let credentials: Credentials
  let place: CredentialPlace
  const text = async (which: 'current' | 'pending' | 'last_good') =>
    (await credentials.read(place, which))?.password.reveal()

  beforeEach(async () => {
    credentials = open(kind)
    const given = { password: reference ?? sensitive('first'), tlsPrivateKey: sensitive('a key') }
    expect((await credentials.resolve(given)).password.reveal()).toBe('first')
    place = await credentials.keep('target', given)
  })

  test('is read back, and gone when forgotten', async () => {
    expect(await text('current')).toBe('first')
    expect((await credentials.read(place, 'current'))?.tlsPrivateKey?.reveal()).toBe('a key')
    expect(await text('pending')).toBeUndefined()
    await credentials.propose(place, { password: sensitive('next') })
    await credentials.forget(place)
    expect(await text('current')).toBeUndefined()
    expect(await text('pending')).toBeUndefined()
    expect(vault.read('secret/data/db')).toEqual({ password: 'first', note: 'kept' })
  })

  test('is rotated: both are kept until the new one is promoted', async () => {
    await credentials.propose(place, { username: 'other', password: sensitive('next') })
    expect([await text('current'), await text('pending')]).toEqual(['first', 'next'])
    expect((await credentials.read(place, 'pending'))?.tlsPrivateKey?.reveal()).toBe('a key')
    await expect(credentials.propose(place, { password: sensitive('x') })).rejects.toMatchObject({
      kind: 'conflict',
    })
    await credentials.promote(place, NEXT)
    expect([await text('current'), await text('pending')]).toEqual(['next', undefined])
    const { username, tlsPrivateKey } = (await credentials.read(place, 'current')) ?? {}
    expect([username, tlsPrivateKey?.reveal()]).toEqual(['other', 'a key'])
    if (reference) expect(vault.read('secret/data/db')).toEqual({ password: 'next', note: 'kept' })
    await credentials.promote(place, NEXT)
    expect(await text('current')).toBe('next')
  })

  const pending = async () => {
    const held = await credentials.read(place, 'pending')
    if (!held) throw new Error('there is no candidate')
    return held
  }
  const withdraw = async () => credentials.withdraw(place, await pending())

  test('whoever was held up changes nothing of what came after', async () => {
    await credentials.propose(place, NEXT)
    const seen = await pending()
    await credentials.withdraw(place, seen)
    await credentials.propose(place, { password: sensitive('after it') })

    const conflict = { kind: 'conflict' }
    await expect(credentials.withdraw(place, seen)).rejects.toMatchObject(conflict)
    await expect(credentials.propose(place, NEXT, seen)).rejects.toMatchObject(conflict)
    await credentials.promote(place, NEXT)
    expect([await text('current'), await text('pending')]).toEqual(['first', 'after it'])

    // Who knows that it was never sent may write over it.
    await credentials.propose(place, NEXT, await pending())
    expect(await text('pending')).toBe('next')
  })

  test('a candidate that is withdrawn leaves no trace', async () => {
    await credentials.propose(place, { password: sensitive('next') })
    await withdraw()
    expect([await text('current'), await text('pending')]).toEqual(['first', undefined])
    await credentials.propose(place, { password: sensitive('another') })
    expect(await text('pending')).toBe('another')
  })

  test('the admin is asked for anew each time; a refused one gives way to the candidate', async () => {
    const admin = adminOf(credentials, { ...place, name: 'db', spec: { username: 'admin' } })
    const first = await admin('issuing')
    expect([first.username, first.password.reveal()]).toEqual(['admin', 'first'])
    await credentials.propose(place, { password: sensitive('next') })
    expect((await admin('issuing')).password.reveal()).toBe('first')
    first.onLogin?.(false)
    expect((await admin('issuing')).password.reveal()).toBe('next')
    await credentials.remember(place, { password: sensitive('first') })
    expect((await admin('ending')).password.reveal()).toBe('next')
    await credentials.promote(place, NEXT)
    expect((await admin('issuing')).password.reveal()).toBe('next')
  })
})

describe('while the store is away', () => {
  let credentials: Credentials
  let place: CredentialPlace

  beforeEach(async () => {
    credentials = open('vault')
    place = await credentials.keep('target', { password: sensitive('first') })
  })
  const adminHere = () => adminOf(credentials, { ...place, name: 'db', spec: { username: 'admin' } })

  test.each(Object.entries(vaultFaults))(
    '%s: ending has the last that worked, issuing has none',
    async (_, fault) => {
      const admin = adminHere()
      const good = await admin('issuing')
      good.onLogin?.(true)
      await expect
        .poll(async () => (await credentials.read(place, 'last_good'))?.password.reveal())
        .toBe('first')
      vault.behave(fault)
      expect((await admin('ending')).password.reveal()).toBe('first')
      expect((await adminHere()('ending')).password.reveal()).toBe('first')
      await expect(admin('issuing')).rejects.toMatchObject({
        kind: 'no_admin',
        message: /"db" cannot be had/,
      })
      vault.behave(undefined)
      expect((await admin('issuing')).password.reveal()).toBe('first')
    },
  )

  test('one that never worked is not kept', async () => {
    const admin = adminHere()
    const refused = await admin('issuing')
    refused.onLogin?.(false)
    expect(await credentials.read(place, 'last_good')).toBeUndefined()
    vault.behave(vaultFaults.hangsUp)
    await expect(admin('ending')).rejects.toMatchObject({ kind: 'no_admin' })
  })

  test('what the store holds now goes before the copy, and the copy before one that was refused', async () => {
    await credentials.remember(place, { password: sensitive('worked before') })
    const admin = adminHere()
    const fromStore = await admin('ending')
    expect(fromStore.password.reveal()).toBe('first')
    fromStore.onLogin?.(false)
    expect((await admin('ending')).password.reveal()).toBe('worked before')
    expect((await admin('issuing')).password.reveal()).toBe('first')
  })

  test('a store that was taken out of the settings is told, and ending goes on', async () => {
    await credentials.remember(place, { password: sensitive('first') })
    const without = createCredentials(
      secretStores({ builtin: (stores as SecretStores).builtin, external: {}, default: 'builtin' }),
    )
    const admin = adminOf(without, { ...place, name: 'db', spec: {} })
    expect((await admin('ending')).password.reveal()).toBe('first')
    await expect(admin('issuing')).rejects.toMatchObject({ message: /LEASEHOLD_VAULT_ADDR/ })
  })
})

describe('what a reference looks like', () => {
  test.each([
    ['vault:secret/data/db#password', { store: 'vault', path: 'secret/data/db', key: 'password' }],
    ['aws:prod/db', { store: 'aws', path: 'prod/db' }],
    ['aws:prod/db#a#b', { store: 'aws', path: 'prod/db', key: 'a#b' }],
  ])('%s', (text, reference) => {
    expect(parseReference(text)).toEqual(reference)
  })

  test.each(['', 'hunter2', 'Vault:secret/data/db#x', ' vault:x', 'gcp:x#y', 'postgres://x#y'])(
    '%j is none',
    (text) => {
      expect(parseReference(text)).toBeUndefined()
    },
  )

  test.each(['vault:', 'vault:#', 'aws:#x', 'vault:a#', 'vault:a\nb#c', `aws:${'x'.repeat(2_000)}`])(
    '%j is refused, and not repeated',
    (text) => {
      const refusal = () => parseReference(text)
      expect(refusal).toThrow(/begins with (vault|aws): and so must be a reference/)
      if (text.length > 8) expect(refusal).not.toThrow(text.slice(6, 12))
    },
  )
})

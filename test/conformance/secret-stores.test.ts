import { randomBytes } from 'node:crypto'
import fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { sensitive } from '../../src/lib/sensitive.ts'
import { awsStore } from '../../src/secrets/aws/aws-store.ts'
import {
  builtinSecretStore,
  rewrapSecrets,
  type SealedRow,
  type SealedRows,
} from '../../src/secrets/builtin/builtin-store.ts'
import type { ExternalStore, SecretStore } from '../../src/secrets/secret-store.ts'
import { vaultStore } from '../../src/secrets/vault/vault-store.ts'
import { type AwsSecretsServer, startAwsSecrets } from '../support/aws-secrets-server.ts'
import { memoryRows } from '../support/sealed-rows.ts'
import { startVault, type VaultServer } from '../support/vault-server.ts'

const newKey = () => sensitive(randomBytes(32).toString('base64'))
const newPrefix = () => `leasehold-test-${randomBytes(6).toString('hex')}`

/** Real ones when they are given: TEST_VAULT_ADDR and TEST_VAULT_TOKEN (KV 2 at secret/), TEST_AWS_REGION (and what AWS itself reads). */
const {
  TEST_VAULT_ADDR: realVault,
  TEST_VAULT_TOKEN: realToken = '',
  TEST_AWS_REGION: realRegion,
  TEST_AWS_ENDPOINT: realEndpoint,
} = process.env

let vault: VaultServer
let aws: AwsSecretsServer
const opened: ExternalStore[] = []

beforeAll(async () => {
  vault = await startVault()
  aws = await startAwsSecrets()
})
afterAll(async () => {
  await Promise.all(opened.map((store) => store.close()))
  await vault.stop()
  await aws.stop()
})

const openVault = (address: string, token: string): ExternalStore => {
  const login = { kind: 'token', token: sensitive(token) } as const
  const at = { address, namespace: undefined, ca: undefined, mount: 'secret', prefix: newPrefix() }
  const store = vaultStore({ ...at, login })
  opened.push(store)
  return store
}
const openAws = (region: string, endpoint: string | undefined): ExternalStore => {
  const store = awsStore({ region, endpoint, prefix: `${newPrefix()}/` })
  opened.push(store)
  return store
}

/** Each makes an empty store. */
const STORES: Record<string, () => SecretStore> = {
  builtin: () => builtinSecretStore(memoryRows(), { masterKey: newKey() }),
  vault: () => openVault(vault.url, vault.root),
  aws: () => openAws(aws.region, aws.url),
  ...(realVault !== undefined && { 'a real vault': () => openVault(realVault, realToken) }),
  ...(realRegion !== undefined && { 'the real aws': () => openAws(realRegion, realEndpoint) }),
}

describe.each(Object.entries(STORES))('secret store: %s', (_, open) => {
  test('what is put comes back, letter for letter', async () => {
    const store = open()
    for (const text of ['x', 'pässwörd 🔑', '-----BEGIN KEY-----\n\u0000\n', 'long'.repeat(10_000)]) {
      await store.put('target/a', sensitive(text))
      expect((await store.get('target/a'))?.text.reveal()).toBe(text)
    }
  })

  test('versions count up by one, name by name', async () => {
    const store = open()
    expect(await store.put('a', sensitive('1'))).toBe(1)
    expect(await store.put('a', sensitive('2'))).toBe(2)
    expect(await store.put('b', sensitive('1'))).toBe(1)
    expect(await store.get('a')).toMatchObject({ version: 2 })
  })

  test('an absent name is undefined, and may be deleted', async () => {
    const store = open()
    expect(await store.get('a')).toBeUndefined()
    await store.delete('a')
  })

  test('a deleted secret is gone and starts again', async () => {
    const store = open()
    await store.put('a', sensitive('1'))
    await store.put('a', sensitive('2'))
    await store.delete('a')
    expect(await store.get('a')).toBeUndefined()
    expect(await store.put('a', sensitive('3'))).toBe(1)
  })

  test('a conditional put changes nothing when the version is another', async () => {
    const store = open()
    expect(await store.put('a', sensitive('1'), { ifVersion: 0 })).toBe(1)
    for (const ifVersion of [0, 2]) {
      await expect(store.put('a', sensitive('x'), { ifVersion })).rejects.toMatchObject({ kind: 'conflict' })
    }
    expect((await store.get('a'))?.text.reveal()).toBe('1')
    expect(await store.put('a', sensitive('2'), { ifVersion: 1 })).toBe(2)
  })

  test('of many that make the same secret, one wins', async () => {
    const store = open()
    const made = await Promise.allSettled(
      Array.from({ length: 8 }, (_, i) => store.put('key', sensitive(`made by ${i}`), { ifVersion: 0 })),
    )
    expect(made.filter(({ status }) => status === 'fulfilled')).toHaveLength(1)
    const winner = made.findIndex(({ status }) => status === 'fulfilled')
    expect((await store.get('key'))?.text.reveal()).toBe(`made by ${winner}`)
  })

  test('unconditional puts that meet all land', async () => {
    const store = open()
    const versions = await Promise.all([1, 2, 3].map((i) => store.put('a', sensitive(`${i}`))))
    expect(versions.toSorted()).toEqual([1, 2, 3])
    expect(await store.get('a')).toMatchObject({ version: 3 })
  })

  test('a name may lie below another', async () => {
    const store = open()
    await store.put('target/a', sensitive('above'))
    await store.put('target/a/pending', sensitive('below'))
    await store.delete('target/a')
    expect((await store.get('target/a/pending'))?.text.reveal()).toBe('below')
  })

  test.each(['', 'a b', 'a:b', 'ü', 'a\n', 'x'.repeat(201), '..', 'a/../b', 'a//b', '/a', 'a/', './a'])(
    'refuses the name %j',
    async (name) => {
      const store = open()
      await expect(store.get(name)).rejects.toMatchObject({ kind: 'invalid' })
      await expect(store.put(name, sensitive('x'))).rejects.toMatchObject({ kind: 'invalid' })
      await expect(store.delete(name)).rejects.toMatchObject({ kind: 'invalid' })
    },
  )

  test.each(['', 'x'.repeat(65_537), 'ü'.repeat(32_769)])(
    'refuses a text of a wrong length',
    async (text) => {
      const store = open()
      await expect(store.put('a', sensitive(text))).rejects.toMatchObject({ kind: 'invalid' })
      expect(await store.get('a')).toBeUndefined()
    },
  )
})

describe('the built-in store alone', () => {
  test('the rows hold no secret in usable form', async () => {
    const rows = memoryRows()
    await builtinSecretStore(rows, { masterKey: newKey() }).put('a', sensitive('correct horse'))
    expect(rows.rows.get('a')?.sealed.includes('correct horse')).toBe(false)
  })

  test('any changed byte, and any cut, is noticed', async () => {
    const key = newKey()
    const rows = memoryRows()
    const store = builtinSecretStore(rows, { masterKey: key })
    await store.put('a', sensitive('correct horse'))
    const { sealed, version } = rows.rows.get('a') as SealedRow

    await fc.assert(
      fc.asyncProperty(fc.nat(sealed.length - 1), fc.integer({ min: 1, max: 255 }), async (at, mask) => {
        const changed = Buffer.from(sealed)
        changed[at] = (changed[at] as number) ^ mask
        rows.rows.set('a', { sealed: changed, version })
        // Bytes 1 to 8 are the key's id: changed, they name a key we do not have.
        await expect(store.get('a')).rejects.toMatchObject({
          kind: at >= 1 && at <= 8 ? 'wrong_key' : 'damaged',
        })
      }),
      { numRuns: 500 },
    )
    for (let length = 0; length < sealed.length; length++) {
      rows.rows.set('a', { sealed: sealed.subarray(0, length), version })
      await expect(store.get('a')).rejects.toMatchObject({ name: 'SecretStoreError' })
    }
  })

  test('a row moved to another name or version does not open', async () => {
    const rows = memoryRows()
    const store = builtinSecretStore(rows, { masterKey: newKey() })
    await store.put('a', sensitive('for a'))
    await store.put('b', sensitive('for b'))
    const [a, b] = [rows.rows.get('a') as SealedRow, rows.rows.get('b') as SealedRow]
    rows.rows.set('a', b)
    rows.rows.set('b', { ...b, version: 2 })
    await expect(store.get('a')).rejects.toMatchObject({ kind: 'damaged' })
    await expect(store.get('b')).rejects.toMatchObject({ kind: 'damaged' })
    rows.rows.set('a', a)
    expect((await store.get('a'))?.text.reveal()).toBe('for a')
  })

  test('another master key is told by name, and no key is printed', async () => {
    const rows = memoryRows()
    const [right, wrong] = [newKey(), newKey()]
    await builtinSecretStore(rows, { masterKey: right }).put('a', sensitive('correct horse'))
    const refusal = await builtinSecretStore(rows, { masterKey: wrong })
      .get('a')
      .catch((error: unknown) => error)
    expect(refusal).toMatchObject({ kind: 'wrong_key' })
    expect(String(refusal)).toMatch(/LEASEHOLD_MASTER_KEY_FILE/)
    for (const key of [right, wrong]) {
      expect(String(refusal)).not.toContain(key.reveal())
      expect(String(refusal)).not.toContain(Buffer.from(key.reveal(), 'base64').toString('hex').slice(0, 16))
    }
  })

  test('a failing database is a store that does not answer', async () => {
    const down = async () => {
      throw new Error('connect ECONNREFUSED')
    }
    const rows = { get: down, put: down, delete: down, underOtherKeys: down, replace: down }
    const store = builtinSecretStore(rows, { masterKey: newKey() })
    await expect(store.get('a')).rejects.toMatchObject({ kind: 'unreachable' })
    await expect(store.put('a', sensitive('x'))).rejects.toMatchObject({ kind: 'unreachable' })
    await expect(store.delete('a')).rejects.toMatchObject({ kind: 'unreachable' })
  })
})

describe('a change of master key', () => {
  const texts = new Map(Array.from({ length: 250 }, (_, i) => [`target/${i}`, `password ${i}`]))
  const [old, fresh] = [newKey(), newKey()]
  let rows: ReturnType<typeof memoryRows>

  const fill = async () => {
    rows = memoryRows()
    const store = builtinSecretStore(rows, { masterKey: old })
    for (const [name, text] of texts) await store.put(name, sensitive(text))
  }
  const readAll = async (store: SecretStore) => {
    const read = new Map<string, string | undefined>()
    for (const name of texts.keys()) read.set(name, (await store.get(name))?.text.reveal())
    return read
  }

  test('with the old one given, everything is readable before and after, and then without it', async () => {
    await fill()
    const keys = { masterKey: fresh, previousMasterKey: old }
    expect(await readAll(builtinSecretStore(rows, keys))).toEqual(texts)
    expect(await rewrapSecrets(rows, keys)).toEqual({ rewrapped: 250, left: 0 })
    expect(await rewrapSecrets(rows, keys)).toEqual({ rewrapped: 0, left: 0 })
    expect(await readAll(builtinSecretStore(rows, { masterKey: fresh }))).toEqual(texts)
    await expect(builtinSecretStore(rows, { masterKey: old }).get('target/0')).rejects.toMatchObject({
      kind: 'wrong_key',
    })
  })

  test('only the data keys are sealed anew', async () => {
    await fill()
    const before = new Map(rows.rows)
    await rewrapSecrets(rows, { masterKey: fresh, previousMasterKey: old })
    for (const [name, { sealed, version }] of rows.rows) {
      const was = before.get(name) as SealedRow
      expect(version).toBe(was.version)
      expect(sealed.subarray(1, 69).equals(was.sealed.subarray(1, 69))).toBe(false)
      expect(sealed.subarray(69).equals(was.sealed.subarray(69))).toBe(true)
    }
  })

  test('a crash anywhere leaves everything readable, and the next start finishes', async () => {
    const keys = { masterKey: fresh, previousMasterKey: old }
    for (const crashAt of [1, 100, 101, 249]) {
      await fill()
      let replaced = 0
      const crashing: SealedRows = {
        ...rows,
        async replace(name, row, was) {
          replaced += 1
          if (replaced > crashAt) throw new Error('killed')
          return rows.replace(name, row, was)
        },
      }
      await expect(rewrapSecrets(crashing, keys)).rejects.toMatchObject({ kind: 'unreachable' })
      expect(await readAll(builtinSecretStore(rows, keys))).toEqual(texts)
      expect(await rewrapSecrets(rows, keys)).toEqual({ rewrapped: 250 - crashAt, left: 0 })
    }
  })

  test('what somebody writes meanwhile stays', async () => {
    await fill()
    const keys = { masterKey: fresh, previousMasterKey: old }
    const store = builtinSecretStore(rows, { masterKey: old })
    const met: SealedRows = {
      ...rows,
      async underOtherKeys(keyId, name, limit) {
        const batch = await rows.underOtherKeys(keyId, name, limit)
        if (name === '') await store.put('target/0', sensitive('newer'))
        return batch
      },
    }
    expect(await rewrapSecrets(met, keys)).toEqual({ rewrapped: 249, left: 0 })
    expect((await builtinSecretStore(rows, keys).get('target/0'))?.text.reveal()).toBe('newer')
  })

  test('a third key and a damaged row stay as they are, and are counted', async () => {
    await fill()
    await builtinSecretStore(rows, { masterKey: newKey() }).put('stranger', sensitive('x'))
    const { sealed, version } = rows.rows.get('target/7') as SealedRow
    rows.rows.set('target/7', { sealed: Buffer.concat([sealed.subarray(0, 20), Buffer.alloc(60)]), version })
    expect(await rewrapSecrets(rows, { masterKey: fresh, previousMasterKey: old })).toEqual({
      rewrapped: 249,
      left: 2,
    })
  })

  test('what the first format sealed is read, and brought into the second', async () => {
    // Sealed by version 0.1.0: key of 32 bytes 5, "target/a" version 3, "of the first format".
    rows = memoryRows()
    const masterKey = sensitive(Buffer.alloc(32, 5).toString('base64'))
    const sealed = Buffer.from(FIRST_FORMAT, 'base64')
    rows.rows.set('target/a', { sealed, version: 3 })
    const text = async (key: typeof masterKey) =>
      (await builtinSecretStore(rows, { masterKey: key }).get('target/a'))?.text.reveal()
    expect(await text(masterKey)).toBe('of the first format')
    await rewrapSecrets(rows, { masterKey: fresh, previousMasterKey: masterKey })
    expect(rows.rows.get('target/a')?.sealed[0]).toBe(2)
    expect(await text(fresh)).toBe('of the first format')
  })
})

const FIRST_FORMAT =
  'AcWMBZUlL/PCLifddNA6tm2WkZfL/JCqO4AGBMsqD+j2AM9RLlGc08nRvgl+PLNbg5fm4p+xD+YJnGsy5A9HgOmH7cT7D2n/LxWSOtwrW5nTuFn75sENkqbdWBlyVA5UAZTGZNYMFQ7LWO76Xcoy7iUt5Co='

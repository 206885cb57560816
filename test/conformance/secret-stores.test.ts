import { randomBytes } from 'node:crypto'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { sensitive } from '../../src/lib/sensitive.ts'
import {
  builtinSecretStore,
  type SealedRow,
  type SealedRows,
} from '../../src/secrets/builtin/builtin-store.ts'
import type { SecretStore } from '../../src/secrets/secret-store.ts'

const newKey = () => sensitive(randomBytes(32).toString('base64'))

/** Rows as the ledger keeps them, in memory; the ledger's own tests run the real ones. */
function memoryRows(): SealedRows & { rows: Map<string, SealedRow> } {
  const rows = new Map<string, SealedRow>()
  return {
    rows,
    get: async (name) => rows.get(name),
    put: async (name, row) => {
      if ((rows.get(name)?.version ?? 0) !== row.version - 1) return false
      rows.set(name, row)
      return true
    },
    delete: async (name) => void rows.delete(name),
  }
}

/** Each makes an empty store. */
const STORES: Record<string, () => SecretStore> = {
  builtin: () => builtinSecretStore(memoryRows(), newKey()),
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

  test.each(['', 'a b', 'a:b', 'ü', 'a\n', 'x'.repeat(201)])('refuses the name %j', async (name) => {
    const store = open()
    await expect(store.get(name)).rejects.toMatchObject({ kind: 'invalid' })
    await expect(store.put(name, sensitive('x'))).rejects.toMatchObject({ kind: 'invalid' })
    await expect(store.delete(name)).rejects.toMatchObject({ kind: 'invalid' })
  })

  test.each(['', 'x'.repeat(65_537)])('refuses a text of a wrong length', async (text) => {
    const store = open()
    await expect(store.put('a', sensitive(text))).rejects.toMatchObject({ kind: 'invalid' })
    expect(await store.get('a')).toBeUndefined()
  })
})

describe('the built-in store alone', () => {
  test('the rows hold no secret in usable form', async () => {
    const rows = memoryRows()
    await builtinSecretStore(rows, newKey()).put('a', sensitive('correct horse'))
    expect(rows.rows.get('a')?.sealed.includes('correct horse')).toBe(false)
  })

  test('any changed byte, and any cut, is noticed', async () => {
    const key = newKey()
    const rows = memoryRows()
    const store = builtinSecretStore(rows, key)
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
    const store = builtinSecretStore(rows, newKey())
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
    await builtinSecretStore(rows, right).put('a', sensitive('correct horse'))
    const refusal = await builtinSecretStore(rows, wrong)
      .get('a')
      .catch((error: unknown) => error)
    expect(refusal).toMatchObject({ kind: 'wrong_key' })
    expect(String(refusal)).toMatch(/LEASEHOLD_MASTER_KEY_FILE/)
    for (const key of [right, wrong]) {
      expect(String(refusal)).not.toContain(key.reveal())
      expect(String(refusal)).not.toContain(Buffer.from(key.reveal(), 'base64').toString('hex').slice(0, 16))
    }
  })

  test('unconditional puts that meet all land', async () => {
    const store = builtinSecretStore(memoryRows(), newKey())
    const versions = await Promise.all([1, 2, 3].map((i) => store.put('a', sensitive(`${i}`))))
    expect(versions.toSorted()).toEqual([1, 2, 3])
  })

  test('a failing database is a store that does not answer', async () => {
    const down = async () => {
      throw new Error('connect ECONNREFUSED')
    }
    const store = builtinSecretStore({ get: down, put: down, delete: down }, newKey())
    await expect(store.get('a')).rejects.toMatchObject({ kind: 'unreachable' })
    await expect(store.put('a', sensitive('x'))).rejects.toMatchObject({ kind: 'unreachable' })
    await expect(store.delete('a')).rejects.toMatchObject({ kind: 'unreachable' })
  })
})

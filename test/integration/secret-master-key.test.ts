import { expect, inject, test } from 'vitest'
import { type Broker, compose } from '../../src/compose.ts'
import { sealedSecrets } from '../../src/ledger/sealed-secrets.ts'
import { createLogger } from '../../src/lib/log.ts'
import { sensitive } from '../../src/lib/sensitive.ts'
import { builtinSecretStore, rewrapSecrets } from '../../src/secrets/builtin/builtin-store.ts'
import { openTestLedger } from '../support/ledger.ts'

const key = (byte: number) => sensitive(Buffer.alloc(32, byte).toString('base64'))

/** What receipts are verified with. */
const jwksOf = async (broker: Broker): Promise<unknown> => {
  const { url, close } = await broker.listen({ host: '127.0.0.1', port: 0 })
  const answer = await fetch(`${url}/v1/sys/leasehold/jwks`)
  await close()
  expect(answer.status).toBe(200)
  return answer.json()
}

test('a broker that starts with a new master key and the old one goes on, and then without the old one', async () => {
  const test = await openTestLedger()
  const start = (masterKey: number, previous?: number) =>
    compose({
      ledgerUrl: sensitive(test.url),
      queueUrl: sensitive(inject('redisUrl')),
      masterKey: key(masterKey),
      previousMasterKey: previous === undefined ? undefined : key(previous),
      sweepIntervalMs: 1_000_000,
      log: createLogger('silent', 'json'),
    })
  const keyIds = async () => {
    const { rows } = await test.ledger.query<{ id: string }>(
      `select distinct encode(substring(sealed from 2 for 8), 'hex') as id from leasehold.sealed_secret`,
    )
    return rows.map(({ id }) => id)
  }
  try {
    const first = await start(1)
    const jwks = await jwksOf(first)
    await first.close()
    const [old] = await keyIds()

    await expect(start(2)).rejects.toThrow(/LEASEHOLD_PREVIOUS_MASTER_KEY_FILE/)
    expect(await keyIds()).toEqual([old])

    const both = await start(2, 1)
    expect(await jwksOf(both)).toEqual(jwks)
    await both.close()
    const fresh = await keyIds()
    expect(fresh).toHaveLength(1)
    expect(fresh).not.toEqual([old])

    const alone = await start(2)
    expect(await jwksOf(alone)).toEqual(jwks)
    await alone.close()
    await expect(start(1)).rejects.toThrow(/sealed under master key/)
  } finally {
    await test.close()
  }
})

test('two that re-wrap at once, in batches, with a row that is written meanwhile', async () => {
  const test = await openTestLedger()
  try {
    const rows = sealedSecrets(test.ledger)
    const old = builtinSecretStore(rows, { masterKey: key(1) })
    for (let i = 0; i < 120; i++) await old.put(`target/${i}`, sensitive(`password ${i}`))
    const keys = { masterKey: key(2), previousMasterKey: key(1) }
    const [one, other] = await Promise.all([
      rewrapSecrets(rows, keys),
      rewrapSecrets(rows, keys),
      builtinSecretStore(rows, keys).put('target/60', sensitive('newer')),
    ])
    const again = await rewrapSecrets(rows, keys)
    expect(one.rewrapped + other.rewrapped + again.rewrapped).toBeGreaterThanOrEqual(119)
    expect([one.left, other.left, again.left]).toEqual([0, 0, 0])
    const now = builtinSecretStore(rows, { masterKey: key(2) })
    for (let i = 0; i < 120; i++) {
      expect((await now.get(`target/${i}`))?.text.reveal()).toBe(i === 60 ? 'newer' : `password ${i}`)
    }
  } finally {
    await test.close()
  }
})

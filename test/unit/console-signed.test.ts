import { CompactSign, exportJWK, generateKeyPair, type JSONWebKeySet } from 'jose'
import { beforeAll, describe, expect, test, vi } from 'vitest'
import { readSigned, signatureWords } from '../../src/console/signed.ts'

type Pair = { sign: (says: object, typ: string) => Promise<string>; keys: JSONWebKeySet }

async function newPair(): Promise<Pair> {
  const { privateKey, publicKey } = await generateKeyPair('EdDSA', { crv: 'Ed25519', extractable: true })
  return {
    keys: { keys: [{ ...(await exportJWK(publicKey)), kid: 'k', alg: 'EdDSA', use: 'sig' }] },
    sign: (says, typ) =>
      new CompactSign(new TextEncoder().encode(JSON.stringify(says)))
        .setProtectedHeader({ alg: 'EdDSA', kid: 'k', typ })
        .sign(privateKey),
  }
}

describe('what is signed', () => {
  let ours: Pair
  let other: Pair
  beforeAll(async () => {
    ours = await newPair()
    other = await newPair()
  })

  test('is valid under our key and its own type', async () => {
    const jws = await ours.sign({ lease_id: 'a' }, 'receipt')
    const checked = await readSigned(jws, { keys: ours.keys, typ: 'receipt' })
    expect(checked).toEqual({ payload: { lease_id: 'a' }, signature: 'valid' })
  })

  test('is invalid under another key, as another type, and with other words', async () => {
    const jws = await ours.sign({ lease_id: 'a' }, 'receipt')
    const [header, , signature] = jws.split('.')
    const forged = [header, Buffer.from('{"lease_id":"b"}').toString('base64url'), signature].join('.')
    for (const [text, keys, typ] of [
      [jws, other.keys, 'receipt'],
      [jws, ours.keys, 'checkpoint'],
      [forged, ours.keys, 'receipt'],
      [await other.sign({ lease_id: 'a' }, 'receipt'), ours.keys, 'receipt'],
    ] as const) {
      expect((await readSigned(text, { keys, typ }))?.signature).toBe('invalid')
    }
  })

  test('is nothing where the text is no JWS', async () => {
    expect(await readSigned('not one', { keys: ours.keys, typ: 'receipt' })).toBeUndefined()
  })

  test('is neither valid nor invalid where the browser cannot tell', async () => {
    const jws = await ours.sign({ lease_id: 'a' }, 'receipt')
    vi.stubGlobal('crypto', {})
    const checked = await readSigned(jws, { keys: ours.keys, typ: 'receipt' }).finally(() =>
      vi.unstubAllGlobals(),
    )
    expect(checked?.signature).toBe('unchecked')
    expect(signatureWords('unchecked')).toMatch(/could not be checked/)
  })
})

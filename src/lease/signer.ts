import { createPublicKey } from 'node:crypto'
import { CompactSign, exportJWK, exportPKCS8, generateKeyPair, importPKCS8, type JWK } from 'jose'
import { type Sensitive, sensitive } from '../lib/sensitive.ts'
import { madeOnce } from '../secrets/made-once.ts'
import type { SecretStore } from '../secrets/secret-store.ts'

/** The installation's signature, under receipts and under checkpoints of the audit log alike; `typ` tells them apart. */
export type Signer = {
  /** Whose signature it is, as what is signed names it. */
  issuer: string
  /** Answers a compact JWS over `payload`. */
  sign(payload: Uint8Array, typ: string): Promise<string>
  /** What anyone can check it with. */
  jwks(): JwkSet
}

export type JwkSet = { keys: JWK[] }

const ALGORITHM = 'EdDSA'
const KEY_NAME = 'receipt-signing-key'

export async function openSigner(secrets: SecretStore, installation: string): Promise<Signer> {
  const pem = await madeOnce(secrets, KEY_NAME, newKey)
  const privateKey = await importPKCS8(pem.reveal(), ALGORITHM)
  const jwk = await publicKey(pem)
  return {
    issuer: `urn:leasehold:${installation}`,
    sign: (payload, typ) =>
      new CompactSign(payload).setProtectedHeader({ alg: ALGORITHM, kid: jwk.kid, typ }).sign(privateKey),
    jwks: () => ({ keys: [jwk] }),
  }
}

/** The public keys without the signature; undefined when there has never been one, and none is made. */
export async function knownKeys(secrets: SecretStore): Promise<JwkSet | undefined> {
  const known = await secrets.get(KEY_NAME)
  return known && { keys: [await publicKey(known.text)] }
}

async function publicKey(pem: Sensitive): Promise<JWK & { kid: string }> {
  const jwk = await exportJWK(createPublicKey(pem.reveal()))
  return { ...jwk, kid: jwk.x?.slice(0, 16) ?? '', alg: ALGORITHM, use: 'sig' }
}

async function newKey(): Promise<Sensitive> {
  const { privateKey } = await generateKeyPair(ALGORITHM, { crv: 'Ed25519', extractable: true })
  return sensitive(await exportPKCS8(privateKey))
}

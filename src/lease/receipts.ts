import { createPublicKey } from 'node:crypto'
import { CompactSign, exportJWK, exportPKCS8, generateKeyPair, importPKCS8, type JWK } from 'jose'
import type { Claimed, RecordedStep } from '../ledger/lease-ending.ts'
import { sensitive } from '../lib/sensitive.ts'
import { type SecretStore, SecretStoreError } from '../secrets/secret-store.ts'

/** Signs the proofs of ended leases. Anyone can check one offline against `jwks`. */
export type ReceiptSigner = {
  sign(claimed: Claimed, steps: RecordedStep[]): Promise<string>
  jwks(): { keys: JWK[] }
}

/** What a receipt says; times are RFC 3339 on the ledger's clock. */
export type ReceiptPayload = {
  iss: string
  lease_id: string
  account: string
  target: string
  reason: string
  issued_at: string
  /** When access ended: login disabled and no session left. */
  ended_at: string
  steps: RecordedStep[]
  /** What may remain after the end, in words; empty when nothing does. */
  residual: string[]
}

const ALGORITHM = 'EdDSA'
const KEY_NAME = 'receipt-signing-key'

export async function openReceiptSigner(secrets: SecretStore, installation: string): Promise<ReceiptSigner> {
  const pem = await signingKey(secrets)
  const privateKey = await importPKCS8(pem, ALGORITHM)
  const publicJwk = await exportJWK(createPublicKey(pem))
  const kid = publicJwk.x?.slice(0, 16) ?? ''
  const issuer = `urn:leasehold:${installation}`

  return {
    sign(claimed, steps) {
      const payload: ReceiptPayload = {
        iss: issuer,
        lease_id: `${claimed.path}/${claimed.id}`,
        account: claimed.account,
        target: claimed.targetName,
        reason: claimed.reason,
        issued_at: claimed.issuedAt.toISOString(),
        ended_at: new Date(steps.find(({ step }) => step === 'disconnect')?.at ?? NaN).toISOString(),
        steps,
        residual: steps.flatMap(({ evidence }) => residualOf(evidence)),
      }
      return new CompactSign(new TextEncoder().encode(JSON.stringify(payload)))
        .setProtectedHeader({ alg: ALGORITHM, kid, typ: 'leasehold-receipt+jws' })
        .sign(privateKey)
    },
    jwks: () => ({ keys: [{ ...publicJwk, kid, alg: ALGORITHM, use: 'sig' }] }),
  }
}

function residualOf(evidence: RecordedStep['evidence']): string[] {
  const residual = evidence.residual
  return Array.isArray(residual) ? residual.map(String) : []
}

/** The installation's key, made once: of several processes at their first start one writes it and all read it. */
async function signingKey(secrets: SecretStore): Promise<string> {
  const known = await secrets.get(KEY_NAME)
  if (known) return known.text.reveal()
  const { privateKey } = await generateKeyPair(ALGORITHM, { crv: 'Ed25519', extractable: true })
  try {
    await secrets.put(KEY_NAME, sensitive(await exportPKCS8(privateKey)), { ifVersion: 0 })
  } catch (error) {
    if (!(error instanceof SecretStoreError && error.kind === 'conflict')) throw error
  }
  return signingKey(secrets)
}

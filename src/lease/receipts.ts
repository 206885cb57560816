import type { Claimed, RecordedStep } from '../ledger/lease-ending.ts'
import type { JwkSet, Signer } from './signer.ts'

/** Signs the proofs of ended leases. Anyone can check one offline against `jwks`. */
export type ReceiptSigner = {
  sign(claimed: Claimed, steps: RecordedStep[]): Promise<string>
  jwks(): JwkSet
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

export function createReceiptSigner({ issuer, sign, jwks }: Signer): ReceiptSigner {
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
      return sign(new TextEncoder().encode(JSON.stringify(payload)), 'leasehold-receipt+jws')
    },
    jwks,
  }
}

function residualOf(evidence: RecordedStep['evidence']): string[] {
  const residual = evidence.residual
  return Array.isArray(residual) ? residual.map(String) : []
}

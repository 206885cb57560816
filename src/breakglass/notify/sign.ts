import { createHmac } from 'node:crypto'
import type { Sensitive } from '../../lib/sensitive.ts'

const SIGNATURE_HEADER = 'Leasehold-Signature'

/**
 * What proves to a receiver with the same key that a body is ours and how old it is: `t=<seconds since 1970>,v1=<hex of
 * HMAC-SHA-256 over "<t>.<body>">`.
 */
export function signatureOf(key: Sensitive, body: Buffer, atSeconds: number): string {
  const mac = createHmac('sha256', key.reveal()).update(`${atSeconds}.`).update(body).digest('hex')
  return `t=${atSeconds},v1=${mac}`
}

/** Empty without a key. */
export const signedHeaders = (key: Sensitive | undefined, body: Buffer): Record<string, string> =>
  key ? { [SIGNATURE_HEADER]: signatureOf(key, body, Math.floor(Date.now() / 1_000)) } : {}

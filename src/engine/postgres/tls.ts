import type { ConnectionOptions } from 'node:tls'
import type { AdminCredentials } from '../engine.ts'
import type { Target } from './target.ts'

/** The driver's words when the server declines TLS: under `prefer` we then go on without. */
export const NO_TLS_ANSWER = 'The server does not support SSL connections'

/** libpq's meaning of `sslmode`. A CA that was given is always used: `require` with one is `verify-ca`. */
export function tlsOptions(
  { sslMode, tlsCa, tlsCertificate, place }: Target,
  { tlsPrivateKey }: AdminCredentials,
): ConnectionOptions {
  const identity = {
    ...(tlsCertificate ? { cert: tlsCertificate } : {}),
    ...(tlsPrivateKey ? { key: tlsPrivateKey.reveal() } : {}),
  }
  const trust = tlsCa ? { ca: tlsCa } : {}
  if (sslMode === 'verify-full') return { ...identity, ...trust, host: place.host, rejectUnauthorized: true }
  if (sslMode === 'verify-ca' || (sslMode === 'require' && tlsCa)) {
    // The chain is checked; the name is what this mode leaves out.
    return { ...identity, ...trust, rejectUnauthorized: true, checkServerIdentity: () => undefined }
  }
  return { ...identity, rejectUnauthorized: false }
}

import { createHash, createHmac, randomBytes, timingSafeEqual } from 'node:crypto'
import type { Sensitive } from '../../lib/sensitive.ts'

/** How long somebody may take to find their key and touch it. */
export const CHALLENGE_SECONDS = 300

const NONCE_BYTES = 24
const TIME_BYTES = 8
const SEAL_BYTES = 32

/**
 * Challenges of logins. Anybody may ask for one, so none is kept: each says until when it is good and for which mount,
 * under a key that all servers share. The ledger learns of those alone that somebody has shown a key for.
 */
export type LoginChallenges = {
  make(mountId: string, now: Date): Promise<Uint8Array<ArrayBuffer>>
  /** Until when it is good; undefined for one that is over, of another mount, or made up. */
  endOf(mountId: string, challenge: string, now: Date): Promise<Date | undefined>
}

/** `key`: 32 bytes in base64, the installation's own, used for nothing else. */
export const loginChallenges = (key: () => Promise<Sensitive>): LoginChallenges => {
  const sealOf = async (mountId: string, body: Uint8Array): Promise<Buffer> =>
    createHmac('sha256', Buffer.from((await key()).reveal(), 'base64'))
      .update(`leasehold webauthn login v1\n${mountId}\n`)
      .update(body)
      .digest()
  return {
    async make(mountId, now) {
      const body = Buffer.alloc(NONCE_BYTES + TIME_BYTES)
      randomBytes(NONCE_BYTES).copy(body)
      body.writeBigUInt64BE(BigInt(now.getTime() + CHALLENGE_SECONDS * 1_000), NONCE_BYTES)
      return new Uint8Array(Buffer.concat([body, await sealOf(mountId, body)]))
    },
    async endOf(mountId, challenge, now) {
      const bytes = Buffer.from(challenge, 'base64url')
      if (bytes.length !== NONCE_BYTES + TIME_BYTES + SEAL_BYTES) return undefined
      const [body, seal] = [bytes.subarray(0, -SEAL_BYTES), bytes.subarray(-SEAL_BYTES)]
      if (!timingSafeEqual(seal, await sealOf(mountId, body))) return undefined
      const endsAtMs = Number(body.readBigUInt64BE(NONCE_BYTES))
      return endsAtMs > now.getTime() ? new Date(endsAtMs) : undefined
    },
  }
}

export const newEnrolmentChallenge = (): Uint8Array<ArrayBuffer> => new Uint8Array(randomBytes(32))

/** What the ledger has of a challenge, in hex: of its bytes, since one may be spelled in several ways. */
export const challengeHash = (challenge: string | Uint8Array): string =>
  createHash('sha256')
    .update(typeof challenge === 'string' ? Buffer.from(challenge, 'base64url') : challenge)
    .digest('hex')

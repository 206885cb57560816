import { compactVerify, createLocalJWKSet, errors, type JSONWebKeySet } from 'jose'
import { z } from 'zod'
import { messageOf } from '../lib/errors.ts'
import { canonicalJson } from './canonical.ts'
import { HASH_PATTERN, isTime, sha256, WRITER_PATTERN } from './chain.ts'

/** A checkpoint as it rests: `jws` says everything, `number` is where it stands. */
export type StoredCheckpoint = { number: number; jws: string }

const payloadShape = z.strictObject({
  iss: z.string(),
  /** On the ledger's clock, as an event's time. */
  at: z.string().refine(isTime),
  /** 1 for the first, and no number left out. */
  number: z.int().min(1),
  /** `checkpointHash` of the one before; null for the first. */
  previous: z.string().regex(HASH_PATTERN).nullable(),
  /** Where chains stood. A writer that is not named has not moved since the checkpoint before. */
  heads: z.record(
    z.string().regex(WRITER_PATTERN),
    z.strictObject({ seq: z.int().min(1), hash: z.string().regex(HASH_PATTERN) }),
  ),
})

export type CheckpointPayload = z.infer<typeof payloadShape>
export type CheckpointHeads = CheckpointPayload['heads']

/** Answers a compact JWS over `payload`: EdDSA, with the key's `kid` and this `typ` in the protected header. */
export type Sign = (payload: Uint8Array, typ: string) => Promise<string>

const CHECKPOINT_TYPE = 'leasehold-audit-checkpoint+jws'

/** What the next checkpoint refers to, and what to publish: who knows it can tell whether the log still holds it. */
export const checkpointHash = ({ jws }: StoredCheckpoint): string => sha256(jws)

/**
 * The checkpoint after `previous`, which comes from our own ledger and is not verified here. `heads` names at least
 * every writer that moved since; naming only those keeps checkpoints small for ever, since finished writers are many.
 * A time before the previous checkpoint's becomes that time. The ledger's unique number refuses a second of two made at once.
 */
export async function makeCheckpoint(
  sign: Sign,
  previous: StoredCheckpoint | undefined,
  { iss, at, heads }: Pick<CheckpointPayload, 'iss' | 'at' | 'heads'>,
): Promise<StoredCheckpoint> {
  const before = previous && payloadShape.parse(payloadOf(previous.jws))
  const payload: CheckpointPayload = payloadShape.parse({
    iss,
    at: before && at < before.at ? before.at : at,
    number: (previous?.number ?? 0) + 1,
    previous: previous ? checkpointHash(previous) : null,
    heads,
  })
  const jws = await sign(new TextEncoder().encode(canonicalJson(payload)), CHECKPOINT_TYPE)
  return { number: payload.number, jws }
}

/** What a checkpoint says, unverified. Throws when it is no checkpoint. */
const payloadOf = (jws: string): unknown =>
  JSON.parse(Buffer.from(jws.split('.')[1] ?? '', 'base64url').toString('utf8'))

/** Where chains stood by a checkpoint of our own ledger, unverified; nothing when it is none. */
export function headsNamedBy({ jws }: StoredCheckpoint): CheckpointHeads {
  try {
    return payloadShape.parse(payloadOf(jws)).heads
  } catch {
    return {}
  }
}

export type Opened =
  | { ok: true; payload: CheckpointPayload }
  | { ok: false; kind: 'malformed' | 'bad_signature' | 'unknown_key'; why: string }

/** Reads checkpoints signed by one of `keys`; never throws on what a stored text may hold. */
export function checkpointOpener(keys: JSONWebKeySet): (jws: string) => Promise<Opened> {
  const keySet = createLocalJWKSet(keys)
  return async (jws) => {
    // Texts that decode alike but are not the same would leave the checkpoint's hash open to change.
    if (!jws.split('.').every(isStrictBase64url)) return malformed('it is not a JWS')
    try {
      const { payload, protectedHeader } = await compactVerify(jws, keySet, {
        algorithms: ['EdDSA', 'Ed25519'],
      })
      if (protectedHeader.typ !== CHECKPOINT_TYPE) return malformed('it is signed, but not as a checkpoint')
      const said = payloadShape.safeParse(JSON.parse(new TextDecoder().decode(payload)))
      return said.success
        ? { ok: true, payload: said.data }
        : malformed('it does not say what a checkpoint says')
    } catch (error) {
      return refusal(error)
    }
  }
}

const isStrictBase64url = (part: string): boolean =>
  Buffer.from(part, 'base64url').toString('base64url') === part

const malformed = (why: string): Opened => ({ ok: false, kind: 'malformed', why })

function refusal(error: unknown): Opened {
  if (error instanceof errors.JWSSignatureVerificationFailed) {
    return { ok: false, kind: 'bad_signature', why: 'its signature does not match what it says' }
  }
  if (error instanceof errors.JWKSNoMatchingKey) {
    return { ok: false, kind: 'unknown_key', why: 'no key of ours signed it' }
  }
  return malformed(messageOf(error))
}

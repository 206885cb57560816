import type { Checked } from '../../signed.ts'

/** The newest checkpoint, as `sys/leasehold/audit/checkpoint` has it: where all chains stood, signed. */
export type Checkpoint = { number: number; hash: string; checkpoint: string }
export type CheckpointSays = {
  number: number
  /** RFC 3339. */
  at: string
  heads: Record<string, { seq: number; hash: string }>
}

/** What is known besides: when the first event behind the checkpoint was written, if there is one, and the time now (ms). */
export type Behind = { firstUnsealedAt: string | null; now: number }

export type ChainVerdict = { tone: 'good' | 'warning' | 'bad' | 'unknown'; headline: string; means: string }

/** Checkpoints come every 5 to 12 seconds where anything was written; after so long without, something is wrong. */
const OVERDUE_MS = 60_000

/**
 * What can be said of the log from here: whether the newest checkpoint is one of ours and whether it keeps up. That each
 * event is as it was written takes reading all of them, which a page does not do.
 */
export function chainVerdict(
  checked: Checked<CheckpointSays> | undefined,
  { firstUnsealedAt, now }: Behind,
): ChainVerdict {
  if (checked === undefined) return verdict('unknown', 'Checking the newest checkpoint', '')
  if (checked.signature === 'invalid') {
    return verdict(
      'bad',
      'The newest checkpoint is not ours',
      "Its signature does not match this broker's key: somebody may have changed the log. Tell security, and run leasehold audit verify.",
    )
  }
  if (firstUnsealedAt !== null && now - Date.parse(firstUnsealedAt) > OVERDUE_MS) {
    return verdict(
      'warning',
      'Sealing is behind',
      'Events were written, and no checkpoint has been signed over them for a minute or more.',
    )
  }
  return checked.signature === 'valid'
    ? verdict(
        'good',
        'Sealed and signed',
        'The newest checkpoint is signed by this broker, and what was written since is only seconds old.',
      )
    : verdict(
        'unknown',
        'Sealed, signature unchecked',
        'This browser cannot check the signature of the checkpoint.',
      )
}

/** Before the first checkpoint there is nothing to check. */
export const UNSEALED: ChainVerdict = {
  tone: 'warning',
  headline: 'Not sealed yet',
  means: 'No checkpoint has been signed so far. One is made within seconds of the first event.',
}

const verdict = (tone: ChainVerdict['tone'], headline: string, means: string): ChainVerdict => ({
  tone,
  headline,
  means,
})

/** What can be wrong with a log. */
export type ProblemKind =
  /** An event and its hash do not belong together. */
  | 'edited'
  /** A consistent stretch of events is not the one a checkpoint signed. */
  | 'rewritten'
  | 'missing'
  | 'missing_writer'
  | 'out_of_order'
  | 'duplicated'
  | 'back_dated'
  | 'post_dated'
  /** An event stands behind its writer's last. */
  | 'after_close'
  /** A checkpoint does not refer to the one before it. */
  | 'broken_link'
  | 'bad_signature'
  | 'unknown_key'
  /** A checkpoint and one known from elsewhere differ, or it is of another installation. */
  | 'replaced'
  /** A checkpoint contradicts an earlier one about a writer. */
  | 'head_went_back'
  /** Old events that no checkpoint names. */
  | 'checkpoint_overdue'
  | 'malformed'
  | 'truncated'

export type Problem = {
  kind: ProblemKind
  /** A whole sentence that names the place; text from the log in it is safe to print. */
  message: string
  writer?: string
  /** The event, or the first of several. */
  seq?: number
  toSeq?: number
  requestId?: string
  /** The checkpoint at fault, or the one that tells. */
  checkpoint?: number
  /** In an exported file, from 1. */
  line?: number
}

export type Problems = { add(problem: Problem): void; listed(): Problem[]; total(): number }

/** Keeps the first `max` and counts the rest. */
export function problemList(max: number): Problems {
  const kept: Problem[] = []
  let total = 0
  return {
    add(problem) {
      total += 1
      if (kept.length < max) kept.push(problem)
    },
    listed: () => kept,
    total: () => total,
  }
}

const MAX_QUOTED_CHARACTERS = 80

/** Text of a log that may be anybody's, for a message. */
export const quoted = (value: unknown): string =>
  (JSON.stringify(value) ?? 'nothing').slice(0, MAX_QUOTED_CHARACTERS).replace(/[^\x20-\x7e]/g, '?')

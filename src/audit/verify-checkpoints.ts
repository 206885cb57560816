import type { JSONWebKeySet } from 'jose'
import {
  type CheckpointPayload,
  checkpointHash,
  checkpointOpener,
  type StoredCheckpoint,
} from './checkpoint.ts'
import { type ClaimBook, claimBook } from './claims.ts'
import { type Problem, type ProblemKind, type Problems, quoted } from './problems.ts'
import { sequence } from './sequence.ts'

/** A checkpoint known from elsewhere, such as the last one published. */
export type KnownCheckpoint = { number: number; hash: string }

export type Trust = {
  keys: JSONWebKeySet
  /** Whose log it is; without it, that of the first checkpoint. */
  issuer?: string | undefined
  /** The log must hold these. Only they tell of dropped checkpoints when nothing follows the dropped ones. */
  known?: readonly KnownCheckpoint[] | undefined
}

export type CheckedCheckpoints = {
  count: number
  /** The last one that is sound. */
  last: { number: number; at: string; hash: string } | undefined
  claims: ClaimBook
  /** The time of the last one before anything was wrong: what a later one claims may be older than that, not than this. */
  unbrokenUntil: string | undefined
}

/** Verifies a chain of checkpoints, and collects what they claim about writers. */
export async function verifyCheckpoints(
  checkpoints: AsyncIterable<StoredCheckpoint>,
  trust: Trust,
  problems: Problems,
): Promise<CheckedCheckpoints> {
  const checker = checkpointChecker(trust, problems)
  for await (const checkpoint of checkpoints) await checker.check(checkpoint)
  return checker.end()
}

function checkpointChecker({ keys, issuer, known = [] }: Trust, problems: Problems) {
  const open = checkpointOpener(keys)
  const claims = claimBook()
  const elsewhere = knownElsewhere(known)
  const numbers = sequence((from, to) => problems.add(missing(from, to)))
  let count = 0
  let ours = issuer
  /** The hash the next one must refer to; undefined when the one before cannot be relied on. */
  let previous: string | null | undefined = null
  let last: CheckedCheckpoints['last']
  let unbroken = true
  let unbrokenUntil: string | undefined

  const report = (kind: ProblemKind, number: number, what: string, more: Partial<Problem> = {}): void =>
    problems.add({ kind, checkpoint: number, message: `checkpoint ${number} ${what}`, ...more })

  /** Whether it stands where it should; only such a one is looked into. */
  const inPlace = (number: number): boolean => {
    if (!Number.isSafeInteger(number) || number < 1) {
      problems.add({ kind: 'malformed', message: `a checkpoint has the number ${quoted(number)}` })
      return false
    }
    const place = numbers.take(number)
    if (place === 'late') report('out_of_order', number, 'stands behind a later one')
    if (place === 'again') report('duplicated', number, 'is there more than once')
    if (place === 'ahead') {
      previous = undefined
      unbroken = false
    }
    return place === 'next' || place === 'ahead'
  }

  /** What a checkpoint says, compared with the ones before it. True when it can be relied on. */
  const follows = (number: number, payload: CheckpointPayload): boolean => {
    const before = problems.total()
    ours ??= payload.iss
    if (payload.number !== number) {
      report('out_of_order', number, `was signed as checkpoint ${payload.number}`)
      return false
    }
    if (payload.iss !== ours)
      report('replaced', number, `was made by ${quoted(payload.iss)}, not by ${quoted(ours)}`)
    if (previous !== undefined && payload.previous !== previous) {
      report('broken_link', number, 'does not refer to the checkpoint before it: one of the two was replaced')
    }
    if (last && payload.at < last.at)
      report('back_dated', number, `is dated ${payload.at}, before ${last.at}`)
    return problems.total() === before
  }

  const claim = (payload: CheckpointPayload): void => {
    const { number, at, heads } = payload
    for (const [writer, { seq, hash }] of Object.entries(heads)) {
      if (!claims.add(writer, { seq, hash, checkpoint: number, at, notBefore: unbrokenUntil })) {
        report('head_went_back', number, `contradicts an earlier one about writer ${writer}`, { writer, seq })
      }
    }
  }

  const isSound = async (stored: StoredCheckpoint): Promise<boolean> => {
    const { number } = stored
    const hash = checkpointHash(stored)
    if (!elsewhere.agrees(number, hash)) report('replaced', number, 'is not the one known from elsewhere')
    const opened = await open(stored.jws)
    if (!opened.ok) {
      report(opened.kind, number, `cannot be relied on: ${opened.why}`)
      previous = undefined
      return false
    }
    const { payload } = opened
    const sound = follows(number, payload)
    previous = payload.number === number ? hash : undefined
    if (!sound) return false
    claim(payload)
    last = { number, at: payload.at, hash }
    return true
  }

  return {
    async check(stored: StoredCheckpoint): Promise<void> {
      count += 1
      const sound = inPlace(stored.number) && (await isSound(stored))
      unbroken &&= sound
      if (unbroken) unbrokenUntil = last?.at
    },

    end(): CheckedCheckpoints {
      numbers.end()
      for (const number of elsewhere.after(numbers.last())) {
        report('missing', number, 'is known from elsewhere and missing')
      }
      return { count, last, claims, unbrokenUntil }
    },
  }
}

function missing(from: number, to: number): Problem {
  const which = from === to ? `checkpoint ${from} is` : `checkpoints ${from} to ${to} are`
  return { kind: 'missing', checkpoint: from, message: `${which} missing` }
}

function knownElsewhere(known: readonly KnownCheckpoint[]) {
  const hashes = new Map(known.map(({ number, hash }) => [number, hash]))
  return {
    agrees: (number: number, hash: string): boolean => (hashes.get(number) ?? hash) === hash,
    after: (last: number): number[] => [...hashes.keys()].filter((number) => number > last),
  }
}

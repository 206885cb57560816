import type { StoredEvent } from './chain.ts'
import type { StoredCheckpoint } from './checkpoint.ts'
import { readAuditFile } from './file-format.ts'
import { type Problem, type Problems, problemList } from './problems.ts'
import { type CheckedCheckpoints, type Trust, verifyCheckpoints } from './verify-checkpoints.ts'
import { type CheckedEvents, shifted, verifyEvents } from './verify-events.ts'

export type VerifyOptions = Trust & {
  /** How long after its date an event may reach the ledger: the longest transaction. */
  slackSeconds?: number
  /** An event older than this without a checkpoint is a problem; by `now`, or else by the newest event. */
  checkpointWithinSeconds?: number
  /** The ledger's time, as an event's. */
  now?: string
  /** How many problems the report lists. */
  maxProblems?: number
}

export type VerifyReport = {
  events: number
  writers: number
  checkpoints: number
  /** Events no checkpoint names yet: their chain was verified, but nothing signed vouches for it. */
  uncheckpointed: number
  lastCheckpoint: { number: number; at: string; hash: string } | undefined
  problems: Problem[]
  problemsTotal: number
}

/** Several times the ledger's statement time-out. */
const SLACK_SECONDS = 5 * 60
const CHECKPOINT_WITHIN_SECONDS = 10 * 60
const MAX_PROBLEMS = 100

type Log = { checkpoints: AsyncIterable<StoredCheckpoint>; events: AsyncIterable<StoredEvent> }

/**
 * Verifies a log: checkpoints by number, then events, each writer's by seq. All checkpoints are read before the first
 * event is asked for, so a ledger in use can be read as it goes. Memory is bounded by the number of writers, not of
 * events. Rejects only when an iterable does.
 */
export const verifyLog = (log: Log, options: VerifyOptions): Promise<VerifyReport> =>
  verifyInto(problemList(options.maxProblems ?? MAX_PROBLEMS), log, options)

/** Verifies an exported file, given as bytes in pieces of any size; flaws of the file are problems too. */
export function verifyFile(bytes: AsyncIterable<Uint8Array>, options: VerifyOptions): Promise<VerifyReport> {
  const problems = problemList(options.maxProblems ?? MAX_PROBLEMS)
  return verifyInto(problems, readAuditFile(bytes, problems.add), options)
}

async function verifyInto(problems: Problems, log: Log, options: VerifyOptions): Promise<VerifyReport> {
  const checkpoints = await verifyCheckpoints(log.checkpoints, options, problems)
  const events = await verifyEvents(log.events, checkpoints, options.slackSeconds ?? SLACK_SECONDS, problems)
  checkOverdue(checkpoints, events, options, problems)
  return {
    events: events.count,
    writers: events.writers,
    checkpoints: checkpoints.count,
    uncheckpointed: events.uncheckpointed,
    lastCheckpoint: checkpoints.last,
    problems: problems.listed(),
    problemsTotal: problems.total(),
  }
}

/** The one trace of checkpoints dropped from the end, short of knowing one of them. */
function checkOverdue(
  { last }: CheckedCheckpoints,
  { uncheckpointed, oldestUncheckpointed: oldest, newest }: CheckedEvents,
  { now = newest, checkpointWithinSeconds = CHECKPOINT_WITHIN_SECONDS }: VerifyOptions,
  problems: Problems,
): void {
  if (oldest === undefined || now === undefined || shifted(oldest, checkpointWithinSeconds) >= now) return
  const since = last ? `after checkpoint ${last.number} of ${last.at}` : 'and there is no checkpoint at all'
  problems.add({
    kind: 'checkpoint_overdue',
    message: `${uncheckpointed} events, the oldest of ${oldest}, have no checkpoint ${since}`,
  })
}

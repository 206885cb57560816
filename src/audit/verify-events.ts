import { HASH_PATTERN, hashOf, isTime, type StoredEvent, startChain, WRITER_PATTERN } from './chain.ts'
import type { Claim } from './claims.ts'
import { copiesAgree, isClosing, requestIdOf } from './event.ts'
import { type ProblemKind, type Problems, quoted } from './problems.ts'
import { type Sequence, sequence } from './sequence.ts'
import type { CheckedCheckpoints } from './verify-checkpoints.ts'

/** What is known of one writer while its events go by. */
type Walk = {
  numbers: Sequence
  /** The hash the next event follows. More than one after an edit: it may have been the event's text or its hash. */
  hashes: string[]
  at: string
  /** Claims not yet reached. */
  claims: readonly Claim[]
  nextClaim: number
  /** The last event that is the one a checkpoint signed. */
  signedSeq: number
  rewritten: boolean
  closedBy: number | undefined
}

export type CheckedEvents = {
  count: number
  writers: number
  /** Sound or not, no checkpoint names them. */
  uncheckpointed: number
  oldestUncheckpointed: string | undefined
  newest: string | undefined
}

/** After an edit the true hash is one of two; more edits in a row add one each, and this many are tried. */
const MAX_HASHES = 4

/**
 * Verifies events, each writer's in order of seq, the writers one after the other or mixed. `slackSeconds` is how long
 * after its date an event may be committed.
 */
export async function verifyEvents(
  events: AsyncIterable<StoredEvent>,
  checkpoints: CheckedCheckpoints,
  slackSeconds: number,
  problems: Problems,
): Promise<CheckedEvents> {
  const walks = new Map<string, Walk>()
  const found: CheckedEvents = {
    count: 0,
    writers: 0,
    uncheckpointed: 0,
    oldestUncheckpointed: undefined,
    newest: undefined,
  }
  const bounds = dateBounds(checkpoints.unbrokenUntil, slackSeconds)
  for await (const event of events) {
    found.count += 1
    if (!isPlaced(event, problems)) continue
    const known = walks.get(event.writer)
    const walk = known ?? startWalk(event.writer, checkpoints, problems)
    if (!known) walks.set(event.writer, walk)
    step(walk, event, bounds, found, problems)
  }
  for (const [writer, walk] of walks) endWalk(writer, walk, problems)
  for (const writer of checkpoints.claims.writers()) {
    if (!walks.has(writer)) missingWriter(writer, checkpoints.claims.of(writer).at(-1), problems)
  }
  return { ...found, writers: walks.size }
}

function isPlaced({ writer, seq }: StoredEvent, problems: Problems): boolean {
  if (WRITER_PATTERN.test(writer) && Number.isSafeInteger(seq) && seq >= 1) return true
  problems.add({
    kind: 'malformed',
    message: `an event stands at ${quoted(seq)} of writer ${quoted(writer)}`,
  })
  return false
}

function startWalk(writer: string, { claims }: CheckedCheckpoints, problems: Problems): Walk {
  return {
    numbers: sequence((from, to) => {
      const behind = `, and event ${to + 1} cannot be checked without`
      missing(problems, writer, from, to, behind)
    }),
    hashes: [startChain(writer).hash],
    at: '',
    claims: claims.of(writer),
    nextClaim: 0,
    signedSeq: 0,
    rewritten: false,
    closedBy: undefined,
  }
}

function step(
  walk: Walk,
  event: StoredEvent,
  bounds: DateBounds,
  found: CheckedEvents,
  problems: Problems,
): void {
  const claim = claimOn(walk, event.seq)
  if (!claim) countUncheckpointed(found, event)
  const report = reporter(event, problems)
  const place = walk.numbers.take(event.seq)
  if (place === 'late' || place === 'again') {
    if (place === 'late') report('out_of_order', 'stands behind a later one')
    else report('duplicated', 'is there more than once')
    return
  }

  const sound = follows(walk, event, place, report)
  if (walk.closedBy !== undefined) {
    report('after_close', `stands behind event ${walk.closedBy}, which was its writer's last`)
  }
  if (isClosing(event.body)) walk.closedBy = event.seq
  if (claim?.seq === event.seq) compare(walk, event, claim, problems)
  if (!sound) return
  if (!copiesAgree(event)) {
    report(
      'edited',
      'is sound, and the columns that questions go by were changed: it is found by what it does not say',
    )
  }
  walk.at = event.at
  if (found.newest === undefined || event.at > found.newest) found.newest = event.at
  const misdated = bounds(event.at, claim)
  if (misdated) report(misdated.kind, misdated.what)
}

type Report = (kind: ProblemKind, what: string) => void

function reporter({ writer, seq, body }: StoredEvent, problems: Problems): Report {
  return (kind, what) => {
    const requestId = requestIdOf(body)
    const name = `event ${seq} of writer ${writer}${requestId ? ` (request ${requestId})` : ''}`
    problems.add({ kind, writer, seq, ...(requestId ? { requestId } : {}), message: `${name} ${what}` })
  }
}

/** The first claim at or after the event. Claims passed over were on events that are missing, which is told apart. */
function claimOn(walk: Walk, seq: number): Claim | undefined {
  // A late or doubled event stands before claims already passed; the next one is near enough for it.
  while ((walk.claims[walk.nextClaim]?.seq ?? Number.POSITIVE_INFINITY) < seq) walk.nextClaim += 1
  return walk.claims[walk.nextClaim]
}

/** Whether the event is the one its writer wrote after the event before it. Moves the walk on in either case. */
function follows(walk: Walk, event: StoredEvent, place: 'next' | 'ahead', report: Report): boolean {
  const { seq, at, hash } = event
  const computed = walk.hashes.map((previous) => hashOf(previous, event))
  // What an event behind a gap follows is gone, so it cannot be checked alone; the next checkpoint tells.
  const matches = place === 'ahead' || computed.includes(hash)
  walk.hashes = matches ? [hash] : [hash, ...computed].slice(0, MAX_HASHES)
  if (!isTime(at) || !HASH_PATTERN.test(hash)) {
    report('malformed', 'has a time or a hash that is none')
    return false
  }
  const backDated = at < walk.at
  if (matches) {
    if (backDated) report('back_dated', `is dated ${at}, before the event it follows (${walk.at})`)
    return !backDated
  }
  const instead = seq > 1 ? `, or event ${seq - 1} was replaced` : ''
  if (backDated) report('back_dated', `does not match its hash: its time was set back to ${at}`)
  else report('edited', `does not match its hash: it was changed after it was written${instead}`)
  return false
}

/** One problem a writer: behind a rewritten stretch no hash can be right again. */
function compare(walk: Walk, event: StoredEvent, claim: Claim, problems: Problems): void {
  if (walk.hashes.includes(claim.hash)) {
    walk.signedSeq = event.seq
    return
  }
  if (walk.rewritten) return
  walk.rewritten = true
  const from = walk.signedSeq + 1
  problems.add({
    kind: 'rewritten',
    writer: event.writer,
    seq: from,
    toSeq: event.seq,
    checkpoint: claim.checkpoint,
    message: `events ${from} to ${event.seq} of writer ${event.writer} are not those that checkpoint ${claim.checkpoint} signed`,
  })
}

function countUncheckpointed(found: CheckedEvents, { at }: StoredEvent): void {
  found.uncheckpointed += 1
  if (!isTime(at)) return
  if (found.oldestUncheckpointed === undefined || at < found.oldestUncheckpointed)
    found.oldestUncheckpointed = at
}

type DateBounds = (
  at: string,
  claim: Claim | undefined,
) => { kind: 'back_dated' | 'post_dated'; what: string } | undefined

/**
 * Who writes to the ledger can append an event with any date, and the next checkpoint signs it. But an event that a
 * checkpoint did not hold yet cannot be older than that checkpoint, nor younger than the one that holds it.
 */
function dateBounds(unbrokenUntil: string | undefined, slackSeconds: number): DateBounds {
  return (at, claim) => {
    const notBefore = claim ? claim.notBefore : unbrokenUntil
    if (notBefore !== undefined && at < notBefore && at < shifted(notBefore, -slackSeconds)) {
      return { kind: 'back_dated', what: `is dated ${at}, but was not in the log at ${notBefore}` }
    }
    if (claim && at > claim.at && at > shifted(claim.at, slackSeconds)) {
      const what = `is dated ${at}, but was in the log at ${claim.at} (checkpoint ${claim.checkpoint})`
      return { kind: 'post_dated', what }
    }
    return undefined
  }
}

/** A stored time moved by seconds; fractions below a millisecond are lost, which a bound of seconds does not feel. */
export const shifted = (at: string, seconds: number): string =>
  new Date(Date.parse(at) + seconds * 1000).toISOString().replace('Z', '000Z')

function endWalk(writer: string, walk: Walk, problems: Problems): void {
  walk.numbers.end()
  const last = walk.numbers.last()
  const claim = walk.claims.at(-1)
  if (claim && claim.seq > last) {
    const told = `: checkpoint ${claim.checkpoint} signed its chain up to event ${claim.seq}`
    missing(problems, writer, last + 1, claim.seq, told, claim.checkpoint)
  }
}

function missing(
  problems: Problems,
  writer: string,
  seq: number,
  toSeq: number,
  told: string,
  checkpoint?: number,
): void {
  const which =
    seq === toSeq
      ? `event ${seq} of writer ${writer} is`
      : `events ${seq} to ${toSeq} of writer ${writer} are`
  problems.add({
    kind: 'missing',
    writer,
    seq,
    toSeq,
    ...(checkpoint === undefined ? {} : { checkpoint }),
    message: `${which} missing${told}`,
  })
}

function missingWriter(writer: string, claim: Claim | undefined, problems: Problems): void {
  if (!claim) return
  problems.add({
    kind: 'missing_writer',
    writer,
    seq: 1,
    toSeq: claim.seq,
    checkpoint: claim.checkpoint,
    message: `all ${claim.seq} events of writer ${writer} are missing: checkpoint ${claim.checkpoint} signed them`,
  })
}

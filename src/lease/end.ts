import { END_STEPS, type Ending, type EndStep, EngineError, type Evidence } from '../engine/engine.ts'
import type { Ledger } from '../ledger/db.ts'
import {
  type Claimed,
  finish,
  keepClaims,
  type RecordedStep,
  recordSteps,
  releaseClaims,
} from '../ledger/lease-ending.ts'
import { backoffMs } from '../lib/backoff.ts'
import { messageOf } from '../lib/errors.ts'
import type { Logger } from '../lib/log.ts'
import { failed, type Result } from '../lib/result.ts'
import type { ReceiptSigner } from './receipts.ts'
import { type OpenTarget, observed, type Targets } from './targets.ts'

/** How far one pass got with a lease. `waiting` is tried again by itself; `lost` is in another worker's hands. */
export type Outcome = { id: string; state: 'revoked' | 'waiting' | 'lost'; error?: string }

export type EndParts = { ledger: Ledger; targets: Targets; receipts: ReceiptSigner; log: Logger }

/** After this step nobody gets in and nobody is in. */
const ACCESS_ENDS_WITH: EndStep = 'disconnect'
/** A verify that came before the create deadline is tried again just after it. */
const PENDING_GRACE_MS = 250
const ERROR_TEXT_LIMIT = 500

/** Well within the time a claim holds, so that one lost sign of life does not matter. */
const SIGN_OF_LIFE_MS = 5_000

/** A claim on its way through the steps, in memory. */
type Going = { claim: Claimed; steps: RecordedStep[]; startedMs: number }

/**
 * Takes claimed leases of one target through every step of ending, each recorded in the ledger before the next
 * begins. With `cutOnly` it stops once access has ended and gives the rest back as due now: when many are waiting,
 * all of them lose access before the first is cleaned away. A failure stops that lease alone, to be tried again.
 */
export async function endClaimed(parts: EndParts, claimed: Claimed[], cutOnly: boolean): Promise<Outcome[]> {
  const outcomes = new Map<string, Outcome>(claimed.map(({ id }) => [id, { id, state: 'lost' }]))
  let going: Going[] = claimed.map((claim) => ({ claim, steps: claim.steps, startedMs: performance.now() }))
  const first = claimed[0]
  if (!first) return []

  const target = await openTarget(parts, first, going, outcomes)
  if (!target) return [...outcomes.values()]

  for (const step of END_STEPS) {
    going = await takeStep(parts, target, step, going, outcomes)
    if (cutOnly && step === ACCESS_ENDS_WITH) {
      await giveBack(parts, going, outcomes)
      return [...outcomes.values()]
    }
  }
  await finishAll(parts, going, outcomes)
  return [...outcomes.values()]
}

async function openTarget(
  parts: EndParts,
  claim: Claimed,
  going: Going[],
  outcomes: Map<string, Outcome>,
): Promise<OpenTarget | undefined> {
  try {
    return await parts.targets.open(claim.targetId, claim.targetVersion)
  } catch (error) {
    await giveUpForNow(
      parts,
      going.map((item) => ({ item, error })),
      outcomes,
    )
    return undefined
  }
}

/** Runs one step on the target and records it; answers those that may go on to the next. */
async function takeStep(
  parts: EndParts,
  target: OpenTarget,
  step: EndStep,
  going: Going[],
  outcomes: Map<string, Outcome>,
): Promise<Going[]> {
  const due = going.filter((item) => !isDone(item, step))
  const taken = await takeDueStep(parts, target, step, due, outcomes)
  return due.length === going.length ? taken : [...going.filter((item) => isDone(item, step)), ...taken]
}

/**
 * Done and recorded by an earlier pass, as in a storm, where cutting off comes first. Not taken for granted once
 * anything has failed, nor where the account was not yet seen: a create may have come in between.
 */
const isDone = ({ claim, steps }: Going, step: EndStep): boolean =>
  claim.attempts === 0 && claim.targetRef !== null && steps.some((recorded) => recorded.step === step)

async function takeDueStep(
  parts: EndParts,
  target: OpenTarget,
  step: EndStep,
  going: Going[],
  outcomes: Map<string, Outcome>,
): Promise<Going[]> {
  if (going.length === 0) return []
  const results = await runStep(parts.ledger, target, step, going)
  const done: { item: Going; evidence: Evidence }[] = []
  const stopped: { item: Going; error: unknown }[] = []
  going.forEach((item, i) => {
    const result = results[i] ?? failed(new Error(`the engine gave no answer for step ${step}`))
    if (result.ok) done.push({ item, evidence: result.value })
    else stopped.push({ item, error: result.error })
  })
  await giveUpForNow(parts, stopped, outcomes)
  return record(parts, step, done)
}

async function runStep(
  ledger: Ledger,
  target: OpenTarget,
  step: EndStep,
  going: Going[],
): Promise<Result<Evidence>[]> {
  const nowMs = performance.now()
  const endings: Ending[] = going.map(({ claim, startedMs }) => ({
    account: { leaseId: claim.id, name: claim.account, targetRef: claim.targetRef },
    role: claim.roleSpec,
    createWithinMs: Math.max(0, claim.createWithinMs - (nowMs - startedMs)),
  }))
  const signs = setInterval(() => {
    // One that does not arrive is made up for by the next; a claim lost meanwhile only means double work.
    keepClaims(
      ledger,
      going.map(({ claim }) => claim),
    ).catch(() => {})
  }, SIGN_OF_LIFE_MS)
  try {
    return await observed(target.breaker, () => target.engine.end(step, endings))
  } catch (error) {
    return going.map(() => failed(error))
  } finally {
    clearInterval(signs)
  }
}

async function record(
  parts: EndParts,
  step: EndStep,
  done: { item: Going; evidence: Evidence }[],
): Promise<Going[]> {
  if (done.length === 0) return []
  const recorded = await recordSteps(
    parts.ledger,
    done.map(({ item, evidence }) => ({
      id: item.claim.id,
      fence: item.claim.fence,
      step,
      evidence,
      endsAccess: step === ACCESS_ENDS_WITH,
    })),
  )
  const stepsById = new Map(recorded.map(({ id, steps }) => [id, steps]))
  return done.flatMap(({ item }) => {
    const steps = stepsById.get(item.claim.id)
    return steps ? [{ ...item, steps }] : []
  })
}

async function giveUpForNow(
  parts: EndParts,
  stopped: { item: Going; error: unknown }[],
  outcomes: Map<string, Outcome>,
): Promise<void> {
  if (stopped.length === 0) return
  const releases = stopped.map(({ item, error }) => {
    const { id, fence, attempts } = item.claim
    // Not a failure: the proof has to wait until no create can still arrive.
    if (error instanceof EngineError && error.kind === 'pending') {
      return { id, fence, error: null, retryMs: item.claim.createWithinMs + PENDING_GRACE_MS }
    }
    const text = messageOf(error).slice(0, ERROR_TEXT_LIMIT)
    parts.log.warn(
      { leaseId: id, attempt: attempts + 1, error: text },
      'ending a lease failed; it will be tried again',
    )
    return { id, fence, error: text, retryMs: backoffMs(attempts + 1) }
  })
  await releaseClaims(parts.ledger, releases)
  for (const { id, error } of releases) {
    outcomes.set(id, { id, state: 'waiting', ...(error === null ? {} : { error }) })
  }
}

async function giveBack(parts: EndParts, going: Going[], outcomes: Map<string, Outcome>): Promise<void> {
  if (going.length === 0) return
  await releaseClaims(
    parts.ledger,
    going.map(({ claim }) => ({ id: claim.id, fence: claim.fence, error: null, retryMs: 0 })),
  )
  for (const { claim } of going) outcomes.set(claim.id, { id: claim.id, state: 'waiting' })
}

async function finishAll(parts: EndParts, going: Going[], outcomes: Map<string, Outcome>): Promise<void> {
  if (going.length === 0) return
  const ended = await Promise.all(
    going.map(async ({ claim, steps }) => ({
      id: claim.id,
      fence: claim.fence,
      receipt: await parts.receipts.sign(claim, steps),
    })),
  )
  const finished = await finish(parts.ledger, ended)
  for (const id of finished) outcomes.set(id, { id, state: 'revoked' })
  if (finished.size > 0) {
    parts.log.info(
      { target: going[0]?.claim.targetName, leases: finished.size },
      'leases ended and proved gone',
    )
  }
}

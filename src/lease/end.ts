import type { AuditEvent, Detail } from '../audit/event.ts'
import type { Trail } from '../audit/trail.ts'
import { END_STEPS, type Ending, type EndStep, EngineError, type Evidence } from '../engine/engine.ts'
import type { Ledger } from '../ledger/db.ts'
import {
  type Claimed,
  finish,
  keepClaims,
  type RecordedStep,
  type Release,
  recordSteps,
  releaseClaims,
} from '../ledger/lease-ending.ts'
import type { EndReason } from '../ledger/lease-words.ts'
import { backoffMs } from '../lib/backoff.ts'
import { messageOf } from '../lib/errors.ts'
import type { Logger } from '../lib/log.ts'
import { failed, type Result } from '../lib/result.ts'
import type { Tracer } from '../lib/trace.ts'
import type { ReceiptSigner } from './receipts.ts'
import { type OpenTarget, observed, type Targets } from './targets.ts'
import { wireLeaseId } from './wire-id.ts'

/** How far a lease got. `waiting` is taken up again by itself; `lost` is in another worker's hands. */
export type Outcome = { id: string; state: 'revoked' | 'waiting' | 'lost'; error?: string }

export type EndParts = {
  ledger: Ledger
  trail: Pick<Trail, 'commit'>
  targets: Targets
  receipts: ReceiptSigner
  log: Logger
  record?: EndRecorder
  trace?: Tracer
}

/** Keeps count of endings; must neither wait nor throw. */
export type EndRecorder = {
  /** Nobody gets in any more, so long after the lease was due. */
  accessEnded(engine: string, lateMs: number): void
  /** A worker held the lease for so long, and got so far. */
  heldFor(engine: string, outcome: 'access_ended' | 'revoked' | 'pending' | 'failed', ms: number): void
  ended(engine: string, reason: EndReason): void
}

/** After this step nobody gets in and nobody is in. */
const ACCESS_ENDS_WITH: EndStep = 'disconnect'
/** A verify that came before the create deadline is tried again just after it. */
const PENDING_GRACE_MS = 250
const ERROR_TEXT_LIMIT = 500

/** Well within the time a claim holds, so that one lost sign of life does not matter. */
const SIGN_OF_LIFE_MS = 5_000

/** A claim on its way through the steps, in memory. */
export type Going = {
  claim: Claimed
  steps: RecordedStep[]
  startedMs: number
  /** This pass found access, and ended it. */
  foundAccess: boolean
  /** This pass has been through the steps that end access. */
  cut: boolean
}

/** What a pass did: who may go on, and who was stopped. Who is in neither is in another worker's hands. */
export type Pass = { going: Going[]; stopped: Outcome[] }

const CUT_STEPS = END_STEPS.slice(0, END_STEPS.indexOf(ACCESS_ENDS_WITH) + 1)
const REMOVE_STEPS = END_STEPS.slice(CUT_STEPS.length)

/** Ends the access of claimed leases of one target. Quick for all of them, so it never waits for a removal. */
export async function cutAccess(parts: EndParts, claimed: readonly Claimed[]): Promise<Pass> {
  return cut(parts, claimed.map(asGoing))
}

async function cut(parts: EndParts, all: Going[]): Promise<Pass> {
  const { going, stopped } = await takeSteps(parts, CUT_STEPS, all)
  return { going: going.map((item) => ({ ...item, cut: true })), stopped }
}

/**
 * Removes the accounts of claimed leases whose access has ended, proves it, and signs it. Where that end cannot be
 * taken for granted, every step is taken again from the first.
 */
export async function removeAccounts(parts: EndParts, going: Going[]): Promise<Outcome[]> {
  const again = await cut(parts, going.filter(isInDoubt))
  const ready = [...going.filter((item) => !isInDoubt(item)), ...again.going]
  const pass = await takeSteps(parts, REMOVE_STEPS, ready)
  return [...again.stopped, ...pass.stopped, ...(await finishAll(parts, pass.going))]
}

/** Something failed since its access was ended, or the account was not there then and came into being after. */
const isInDoubt = ({ claim, steps, cut }: Going): boolean =>
  !cut &&
  (claim.attempts > 0 ||
    (claim.targetRef !== null &&
      steps.some(({ step, evidence }) => step === 'disable' && evidence.account === 'absent')))

export const asGoing = (claim: Claimed): Going => ({
  claim,
  steps: claim.steps,
  startedMs: performance.now(),
  foundAccess: false,
  cut: false,
})

/** Gives back leases whose access has ended, to be removed by whoever comes next. */
export async function giveBack(parts: EndParts, going: Going[]): Promise<void> {
  if (going.length === 0) return
  await releaseClaims(
    parts.ledger,
    going.map(({ claim }) => ({
      id: claim.id,
      fence: claim.fence,
      error: null,
      retryMs: 0,
      startOver: false,
    })),
  )
  for (const item of going) noteHeld(parts, item, 'access_ended')
}

function noteHeld(
  { record }: EndParts,
  { claim, startedMs }: Going,
  outcome: Parameters<EndRecorder['heldFor']>[1],
): void {
  record?.heldFor(claim.engine, outcome, performance.now() - startedMs)
}

/** Each step is recorded in the ledger before the next begins. A failure stops that lease alone. */
async function takeSteps(parts: EndParts, steps: readonly EndStep[], all: Going[]): Promise<Pass> {
  const first = all[0]
  if (!first) return { going: [], stopped: [] }
  let target: OpenTarget
  try {
    target = await parts.targets.open(first.claim.targetId, first.claim.targetVersion)
  } catch (error) {
    return {
      going: [],
      stopped: await giveUpForNow(
        parts,
        all.map((item) => ({ item, error })),
      ),
    }
  }
  let going = all
  const stopped: Outcome[] = []
  for (const step of steps) {
    const taken = await takeStep(parts, target, step, going)
    going = taken.going
    stopped.push(...taken.stopped)
  }
  return { going, stopped }
}

async function takeStep(parts: EndParts, target: OpenTarget, step: EndStep, going: Going[]): Promise<Pass> {
  if (going.length === 0) return { going: [], stopped: [] }
  const results = await runStep(parts.ledger, target, step, going)
  const done: { item: Going; evidence: Evidence }[] = []
  const failures: { item: Going; error: unknown }[] = []
  going.forEach((item, i) => {
    const result = results[i] ?? failed(new Error(`the engine gave no answer for step ${step}`))
    if (result.ok) done.push({ item: noting(item, result.value), evidence: result.value })
    else failures.push({ item, error: result.error })
  })
  const stopped = await giveUpForNow(parts, failures)
  const recorded = await record(parts, step, done)
  if (step === ACCESS_ENDS_WITH) noteAccessEnded(parts, recorded)
  return { going: recorded, stopped }
}

/** Leases whose access an earlier claim had ended are not late for being seen to again. */
function noteAccessEnded({ record }: EndParts, going: Going[]): void {
  for (const { claim, startedMs } of going) {
    if (claim.steps.some(({ step }) => step === ACCESS_ENDS_WITH)) continue
    record?.accessEnded(claim.engine, claim.lateMs + performance.now() - startedMs)
  }
}

const noting = (item: Going, evidence: Evidence): Going => ({
  ...item,
  foundAccess:
    item.foundAccess || evidence.was_disabled_before === false || Number(evidence.sessions_ended ?? 0) > 0,
})

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
  const stepsDone = done.map(({ item, evidence }) => ({
    id: item.claim.id,
    fence: item.claim.fence,
    step,
    evidence,
    endsAccess: step === ACCESS_ENDS_WITH,
    afresh: item.foundAccess && CUT_STEPS.includes(step),
  }))
  const stepsById = await parts.trail.commit(async (db) => {
    const steps = new Map((await recordSteps(db, stepsDone)).map((row) => [row.id, row.steps]))
    const recorded = done.filter(({ item }) => steps.has(item.claim.id))
    return {
      result: steps,
      events: recorded.map(({ item, evidence }) => stepEvent(item.claim, step, evidence)),
    }
  })
  return done.flatMap(({ item }) => {
    const steps = stepsById.get(item.claim.id)
    return steps ? [{ ...item, steps }] : []
  })
}

/** What a worker did to a lease, for the audit log. */
const stepEvent = (claim: Claimed, step: EndStep | 'finish', evidence?: Evidence): AuditEvent => ({
  type: 'lease_step',
  who: { principal: claim.principalId },
  what: { operation: step, path: claim.path },
  outcome: {},
  lease_id: wireLeaseId(claim),
  target: claim.targetName,
  details: {
    reason: claim.reason,
    account: claim.account,
    ...(evidence && { evidence: evidence as Detail }),
  },
})

async function giveUpForNow(parts: EndParts, stopped: { item: Going; error: unknown }[]): Promise<Outcome[]> {
  if (stopped.length === 0) return []
  const releases = stopped.map(({ item, error }): Release => {
    const { id, fence, attempts, createWithinMs } = item.claim
    // Not a failure: the proof has to wait until no create can still arrive.
    if (error instanceof EngineError && error.kind === 'pending' && createWithinMs > 0) {
      noteHeld(parts, item, 'pending')
      return { id, fence, error: null, retryMs: createWithinMs + PENDING_GRACE_MS, startOver: true }
    }
    noteHeld(parts, item, 'failed')
    const text = messageOf(error).slice(0, ERROR_TEXT_LIMIT)
    parts.log.warn(
      { leaseId: id, attempt: attempts + 1, error: text },
      'ending a lease failed; it will be tried again',
    )
    return { id, fence, error: text, retryMs: backoffMs(attempts + 1), startOver: false }
  })
  await releaseClaims(parts.ledger, releases)
  return releases.map(({ id, error }) => ({ id, state: 'waiting', ...(error === null ? {} : { error }) }))
}

async function finishAll(parts: EndParts, going: Going[]): Promise<Outcome[]> {
  if (going.length === 0) return []
  const ended = await Promise.all(
    going.map(async ({ claim, steps }) => ({
      id: claim.id,
      fence: claim.fence,
      receipt: await parts.receipts.sign(claim, steps),
    })),
  )
  const finished = await parts.trail.commit(async (db) => {
    const ids = await finish(db, ended)
    const closed = going.filter(({ claim }) => ids.has(claim.id))
    return { result: ids, events: closed.map(({ claim }) => stepEvent(claim, 'finish')) }
  })
  for (const item of going.filter(({ claim }) => finished.has(claim.id))) {
    noteHeld(parts, item, 'revoked')
    parts.record?.ended(item.claim.engine, item.claim.reason)
  }
  if (finished.size > 0) {
    const target = going[0]?.claim.targetName
    parts.log.info({ target, leases: finished.size }, 'leases ended and proved gone')
  }
  return [...finished].map((id) => ({ id, state: 'revoked' }))
}

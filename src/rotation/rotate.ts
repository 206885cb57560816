import type { Trail } from '../audit/trail.ts'
import { EngineError } from '../engine/engine.ts'
import {
  type ClaimedRotation,
  enterPhase,
  finishRotation,
  keepRotationClaim,
  settleSent,
} from '../ledger/rotation-work.ts'
import { randomBase62 } from '../lib/ids.ts'
import { type Sensitive, sensitive } from '../lib/sensitive.ts'
import type { Held } from '../secrets/credentials.ts'
import { type Site, type SiteParts, siteOf } from './site.ts'
import { ClaimLost, commitStep } from './step.ts'
import { type Turn, turnOf } from './turn.ts'

/**
 * One rotation, step by step, each written to the ledger before it is taken:
 *
 *   propose  the candidate rests in the secret store, beside the current password
 *   set      it is sent to the target
 *   verify   it is logged in with
 *   promote  it becomes the current one in the store
 *   finish   the next rotation is planned
 *
 * From `set` on the target may have either password, and the store has both. So whoever finds a rotation half done,
 * after a crash or a failure, tries the candidate: let in, it is promoted; refused, it is dropped, once no statement
 * with it can still arrive. Every try has a candidate of its own.
 */
export type RotateParts = SiteParts & { trail: Pick<Trail, 'commit'> }

/** `waits`: it is not this one's turn. `missed`: its window was over, and the next one is planned. */
export type Rotated = { done: 'rotated' | 'waits' | 'missed'; note?: string }

type Work = { parts: RotateParts; claim: ClaimedRotation; site: Site; turn: Turn }

const PASSWORD_LENGTH = 32
/** Between asking to write that a password is sent, and sending it. Far shorter than a claim holds. */
const SEND_WITHIN_MS = 5_000
const PROMOTE_ATTEMPTS = 3

/** Takes a claimed rotation as far as it goes. Throws what stopped it, or `ClaimLost`. */
export async function rotate(parts: RotateParts, claim: ClaimedRotation): Promise<Rotated> {
  const turn = turnOf(parts, claim)
  const isHalfDone = claim.phase !== null
  const waits = isHalfDone ? undefined : await turn.notNow()
  if (waits) return waits
  const site = await siteOf(parts, claim)
  try {
    const work = { parts, claim, site, turn }
    if (isHalfDone) {
      if (await resume(work)) return { done: 'rotated' }
      const late = await turn.notNow()
      if (late) return late
    }
    if (claim.rotations === 0) await proveLogin(site)
    await site.prepare()
    // Left by somebody who was late, and never sent. Read before the turn is taken, which proves that nobody has the
    // claim by then: what is written after that is not ours to write over.
    const left = await parts.credentials.read(site.place, 'pending')
    return (await turn.take()) ?? (await begin(work, left))
  } finally {
    await site.close()
  }
}

/** A target that lets anybody in, or nobody, proves nothing: there no password of ours could be told from another. */
export async function proveLogin(site: Pick<Site, 'account' | 'accepts'>): Promise<void> {
  if (!(await site.accepts(newPassword()))) return
  throw new EngineError(
    'failed',
    `the target lets "${site.account}" in with any password, so that a rotation could not be verified`,
  )
}

const newPassword = (): Sensitive => sensitive(randomBase62(PASSWORD_LENGTH))

async function begin(work: Work, left: Held | undefined): Promise<Rotated> {
  const { site } = work
  const { credentials } = work.parts
  const candidate = newPassword()
  await credentials.propose(site.place, { username: site.account, password: candidate }, left)
  await send(work, candidate)
  await enter(work, 'verify')
  if (!(await site.accepts(candidate))) {
    throw new EngineError('failed', 'the target took the new password and refuses a login with it')
  }
  return promoteAndFinish(work, candidate)
}

/** Puts right what somebody left half done. Whether the rotation is thereby done. */
async function resume(work: Work): Promise<boolean> {
  const { site, claim } = work
  const { credentials, trail } = work.parts
  const pending = await credentials.read(site.place, 'pending')
  const mayBeInForce = claim.phase !== 'propose'
  if (pending && mayBeInForce && (await site.accepts(pending.password))) {
    await promoteAndFinish(work, pending.password)
    return true
  }
  if (!pending && claim.phase === 'promote') {
    const current = await credentials.read(site.place, 'current')
    if (current && (await site.accepts(current.password))) {
      await finish(work)
      return true
    }
  }
  if (pending && mayBeInForce) await refuseToDrop(work)
  await commitStep(trail, claim, 'drop', (db) => enterPhase(db, claim, null))
  if (pending) await credentials.withdraw(site.place, pending)
  return false
}

async function refuseToDrop({ claim, site }: Work): Promise<void> {
  if (claim.unsettledMs > 0) {
    const seconds = Math.ceil(claim.unsettledMs / 1_000)
    throw new EngineError(
      'pending',
      `an earlier try was not answered and may still take effect: in ${seconds} s it will be over`,
    )
  }
  if (await site.canDrop()) return
  throw new EngineError(
    'denied',
    `the target accepts neither the password of "${site.account}" in the store nor the one it was being rotated to`,
  )
}

const enter = ({ parts, claim }: Work, phase: 'verify' | 'promote'): Promise<void> =>
  commitStep(parts.trail, claim, phase, (db) => enterPhase(db, claim, phase))

/** Sends the candidate. What the target has answered is over, however it ended; what it has not may still arrive. */
async function send({ parts, claim, site }: Work, candidate: Sensitive): Promise<void> {
  const askedMs = performance.now()
  await commitStep(parts.trail, claim, 'set', async (db) =>
    (await site.begin(db)) ? enterPhase(db, claim, 'set', { sending: true }) : 0,
  )
  if (performance.now() - askedMs > SEND_WITHIN_MS) {
    await settleSent(parts.ledger, claim)
    throw new Error('the ledger took too long; the new password was not sent')
  }
  try {
    await site.set(candidate)
  } catch (error) {
    const isAnswered = error instanceof EngineError && error.kind !== 'unreachable'
    if (isAnswered) await settleSent(parts.ledger, claim)
    throw error
  }
}

async function promoteAndFinish(work: Work, candidate: Sensitive): Promise<Rotated> {
  await enter(work, 'promote')
  await promote(work, candidate)
  await finish(work)
  return { done: 'rotated' }
}

/** Nobody else touches our candidate as long as the claim is ours; should the store lose it all the same, it is put back. */
async function promote({ parts, claim, site }: Work, candidate: Sensitive): Promise<void> {
  const { credentials } = parts
  for (let attempt = 1; attempt <= PROMOTE_ATTEMPTS; attempt += 1) {
    await credentials.promote(site.place, { password: candidate })
    const current = await credentials.read(site.place, 'current')
    if (current?.password.reveal() === candidate.reveal()) return
    if ((await keepRotationClaim(parts.ledger, claim)) === 0) throw new ClaimLost()
    if (await credentials.read(site.place, 'pending')) break
    await credentials.propose(site.place, { username: site.account, password: candidate })
  }
  throw new Error('the secret store does not keep the new password')
}

const finish = ({ parts, claim, site, turn }: Work): Promise<void> =>
  commitStep(
    parts.trail,
    claim,
    'finish',
    async (db) => ((await site.switchOver(db)) === 0 ? 0 : finishRotation(db, claim, await turn.next(db))),
    { account: site.account },
  )

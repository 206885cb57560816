import { about, aJob, onBehalfOf } from '../audit/request.ts'
import type { Account, Created, EngineType } from '../engine/engine.ts'
import type { Ledger } from '../ledger/db.ts'
import { ledgerFlight } from '../ledger/flight.ts'
import { findByIdempotencyKey } from '../ledger/idempotency.ts'
import { activate, countStuck, findGiving, type Made, noteTargetRef } from '../ledger/lease-issue.ts'
import { BrokerError } from '../lib/errors.ts'
import { checkGranting, type MayGrant } from '../lib/granting.ts'
import { type Measure, unmeasured } from '../lib/measure.ts'
import { ok } from '../lib/result.ts'
import { isRoot } from '../policy/authorize.ts'
import type { Principal } from '../policy/principal.ts'
import type { Ender } from './ender.ts'
import { createIntend, type Intended } from './intend.ts'
import type { Issuables } from './issuables.ts'
import { CREATE_DEADLINE_MS, grantOver, type IssueAsk, type Plan, planIssue } from './issue-plan.ts'
import type { Quotas } from './quotas.ts'
import { tooMany } from './rate-limits.ts'
import { type OpenTarget, type Targets, targetFailure } from './targets.ts'
import type { LeaseTerms } from './terms.ts'
import { wireLeaseId } from './wire-id.ts'

export type { IssueAsk }

export type Issued = {
  /** The lease id on the wire: the path asked at, a slash, the id. */
  leaseId: string
  terms: LeaseTerms
  renewable: boolean
  secret: Created['secret']
  warnings: string[]
}

export type Issue = (ask: IssueAsk) => Promise<Issued>

export type IssueParts = {
  ledger: Ledger
  issuables: Issuables
  targets: Targets
  engineTypes: readonly EngineType[]
  ender: Ender
  leaseCounts: Quotas['leaseCounts']
  /** Asks for a look at the target when this lease is due, on the ledger's clock, which is in so many milliseconds. */
  wakeAt: (targetId: string, dueAt: Date, inMs: number) => void
  mayGrant?: MayGrant
  measure?: Measure
}

const LEDGER_BATCH = 128
/** Nobody knows when the next lease of a full quota ends; long enough not to be a storm, short enough for a client. */
const FULL_QUOTA_RETRY_SECONDS = 5

/**
 * Makes one account under a lease: intent in the ledger, account on the target, lease active, in that order. A crash
 * between any two leaves a row that the sweep ends. Throws a `BrokerError`; then no account stays.
 */
export function createIssue(parts: IssueParts): Issue {
  const ledger = ledgerFlights(parts.ledger)
  const { measure = unmeasured } = parts

  const issue = async (ask: IssueAsk, on: (engine: string, target: string) => void): Promise<Issued> => {
    refuseLastUse(ask.principal)
    const found = await parts.issuables(ask.reading.revision, {
      mountId: ask.mount.id,
      roleName: ask.roleName,
    })
    if (found?.target) on(found.target.engine, found.targetName)
    const plan = planIssue(parts.engineTypes, ask, found)
    about({ target: plan.targetName, role: ask.roleName })
    checkGranting(parts.mayGrant)
    const target = await openForIssuing(parts.targets, plan)
    await admit(target, plan)
    const intended = await ledger.intend({ intent: plan.intent, counts: await countsFor(parts, ask, plan) })
    if (intended !== 'written') throw await whyNot(parts.ledger, plan, intended)
    // Not before: there is no lease of this name until then.
    about({ lease_id: wireLeaseId(plan.intent) })
    const created = await createAccount(parts, target, plan)
    const terms = termsGiven(plan, created)
    const expiresAt = terms === plan.terms ? null : terms.expiresAt
    const active = await ledger
      .activate({ id: plan.intent.id, targetRef: created.targetRef, expiresAt })
      .catch((error) => {
        // It may be active all the same, and nobody will have its secret. Not waited for: the caller has waited enough.
        const { targetRef } = created
        void clearingUp(plan, () => parts.ender.abandon(plan.intent.id, 'issue_failed', targetRef))
        throw error
      })
    if (!active) {
      await clearingUp(plan, () => noteTargetRef(parts.ledger, plan.intent.id, created.targetRef))
      // Its lease may even be `revoked` already, on a ledger whose clock ran ahead: then nobody else will look here.
      void parts.ender.destroy(target, { ...accountOf(plan), targetRef: created.targetRef }, plan.roleSpec)
      throw new BrokerError('target_failed', 'the lease was ended while it was being issued')
    }
    parts.wakeAt(plan.target.id, terms.expiresAt, remainingMs(plan, terms))
    return {
      leaseId: wireLeaseId(plan.intent),
      terms,
      renewable: plan.renewable,
      secret: created.secret,
      warnings: [...plan.warnings, ...terms.warnings, ...(created.warnings ?? [])],
    }
  }
  return (ask) => measure((on) => issue(ask, on))
}

/** The ledger's part of issuing, one coalesced flight at a time per kind. */
function ledgerFlights(ledger: Ledger) {
  return {
    intend: createIntend(ledger, LEDGER_BATCH),
    activate: ledgerFlight<Made, boolean>(
      ledger,
      async (db, made) => {
        const active = await activate(db, made)
        return made.map(({ id }) => ok(active.has(id)))
      },
      { max: LEDGER_BATCH, inFlight: 2 },
    ),
  }
}

/** What stands in the way of a lease whose row was not written. */
async function whyNot(
  ledger: Ledger,
  { intent, targetName }: Plan,
  intended: Exclude<Intended, 'written'>,
): Promise<BrokerError> {
  const { idempotencyKey } = intent
  const same =
    idempotencyKey === null ? undefined : await findByIdempotencyKey(ledger, { ...intent, idempotencyKey })
  if (same) {
    const leaseId = wireLeaseId({ path: intent.path, id: same.id })
    about({ lease_id: leaseId })
    return alreadyIssued(leaseId, same.state)
  }
  if (intended === 'over_quota') {
    const text = `request path ${JSON.stringify(intent.path)}: lease count quota exceeded`
    return tooMany(text, FULL_QUOTA_RETRY_SECONDS)
  }
  const grant = intent.grantId === null ? undefined : await findGiving(ledger, intent.grantId)
  if (intent.grantId !== null && !grant?.gives) return grantOver(grant?.state)
  const stuck = await countStuck(ledger, intent.targetId)
  if (intent.stuckFreeze > 0 && stuck >= intent.stuckFreeze) {
    return new BrokerError(
      'target_failed',
      `issuing on "${targetName}" is frozen: ${stuck} leases there cannot be ended`,
    )
  }
  return new BrokerError(
    'unavailable',
    'the token, the mount or the connection has just been changed; try again',
  )
}

const alreadyIssued = (leaseId: string, state: 'issuing' | 'active'): BrokerError =>
  new BrokerError(
    'conflict',
    state === 'active'
      ? `the lease of this Leasehold-Idempotency-Key is live: ${leaseId}`
      : `the lease of this Leasehold-Idempotency-Key is just being issued: ${leaseId}`,
    { data: { lease_id: leaseId, state } },
  )

/** As in the dialect, root is outside quotas: somebody has to be able to clear up. */
const countsFor = async ({ leaseCounts }: IssueParts, ask: IssueAsk, { intent, targetName }: Plan) =>
  isRoot(ask.principal) ? [] : leaseCounts(ask.reading.revision, { ...intent, targetName })

/** A credential whose token ends with this very request would be ended before it is read. */
function refuseLastUse(principal: Principal): void {
  if (!principal.lastUse) return
  throw new BrokerError(
    'invalid_request',
    'Secret cannot be returned; token had one use left, so leased credentials were immediately revoked.',
  )
}

/** Before any row is written: a target that is down must not fill the ledger with leases that were never made. */
async function openForIssuing(targets: Targets, { target: { id, version } }: Plan): Promise<OpenTarget> {
  const target = await targets.open(id, version).catch((error) => {
    throw targetFailure(error)
  })
  if (!target.breaker.allowsIssuing()) {
    throw new BrokerError('target_failed', 'the target does not answer; issuing on it is paused')
  }
  return target
}

const accountOf = ({ intent }: Plan): Account => ({
  leaseId: intent.id,
  name: intent.account,
  targetRef: null,
})

/** Before any row is written, too: what the target itself would refuse. */
async function admit({ engine }: OpenTarget, { roleSpec, intent: { asked } }: Plan): Promise<void> {
  await engine.admit?.({ role: roleSpec, asked }).catch((error) => {
    throw targetFailure(error)
  })
}

/** A lease ends no later than what the target gave. */
function termsGiven({ terms, reading: { now, sinceMs } }: Plan, { lifetimeMs }: Created): LeaseTerms {
  if (lifetimeMs === undefined) return terms
  const endsAt = new Date(now.getTime() + (performance.now() - sinceMs) + lifetimeMs)
  if (endsAt >= terms.expiresAt) return terms
  const ttlSeconds = Math.floor((endsAt.getTime() - now.getTime()) / 1_000)
  return { ...terms, ttlSeconds, expiresAt: endsAt }
}

/** How long the lease has to live. */
const remainingMs = ({ reading: { now, sinceMs } }: Plan, terms: LeaseTerms): number =>
  terms.expiresAt.getTime() - now.getTime() - (performance.now() - sinceMs)

/** What clearing up changes is not what the request asked for: it has events of its own. */
const clearingUp = <T>({ intent, targetName }: Plan, work: () => Promise<T>): Promise<T> =>
  onBehalfOf(
    aJob(() => ({
      type: 'system',
      who: { principal: intent.principalId },
      what: { operation: 'issue_failed', path: intent.path },
      outcome: {},
      lease_id: wireLeaseId(intent),
      target: targetName,
    })),
    work,
  )

async function createAccount(parts: IssueParts, target: OpenTarget, plan: Plan): Promise<Created> {
  const { now, sinceMs } = plan.reading
  try {
    return await target.create({
      account: accountOf(plan),
      role: plan.roleSpec,
      asked: plan.intent.asked,
      expiresAtMs: sinceMs + (plan.intent.expiresAt.getTime() - now.getTime()),
      deadlineMs: sinceMs + CREATE_DEADLINE_MS,
    })
  } catch (error) {
    // The account may exist all the same. Should this fail too, the sweep finds the row at its create deadline.
    await clearingUp(plan, () => parts.ender.doom({ ids: [plan.intent.id] }, 'issue_failed')).catch(() => {})
    throw targetFailure(error)
  }
}

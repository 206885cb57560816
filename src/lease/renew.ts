import { about } from '../audit/request.ts'
import type { Account, Created, EngineType } from '../engine/engine.ts'
import type { Ledger } from '../ledger/db.ts'
import { ledgerFlight } from '../ledger/flight.ts'
import { type Extension, extendLeases, findRenewable, type Renewable } from '../ledger/lease-renewal.ts'
import { findInForce, type LiveGrant } from '../ledger/live-grants.ts'
import { batcher } from '../lib/batcher.ts'
import { BrokerError, messageOf } from '../lib/errors.ts'
import { checkGranting, type MayGrant } from '../lib/granting.ts'
import { type Measure, unmeasured } from '../lib/measure.ts'
import { ok } from '../lib/result.ts'
import { mountTtls } from './mount-ttls.ts'
import { isRenewable } from './renewable.ts'
import { observed, type Targets, targetFailure } from './targets.ts'
import { type LeaseTerms, leaseTerms } from './terms.ts'
import { splitLeaseId } from './wire-id.ts'

export type RenewAsk = {
  leaseId: string
  incrementSeconds: number | undefined
  /** Whether the caller may renew a lease of this holder. */
  mayTouch: MayTouch
  /**
   * Whether policy would still let the holder have it, under the grant in force that its lease is of; asked unless the
   * role says that it need not be. May throw a refusal of its own in place of false, as `mayTouch` may.
   */
  stillAllowed: (holder: Renewable, grant: LiveGrant | undefined) => Promise<boolean>
}

export type Renew = (ask: RenewAsk) => Promise<LeaseTerms>

/** What renewing with a fresh secret gives. */
export type Rearmed = { terms: LeaseTerms; secret: Created['secret']; warnings: string[] }

export type Renewals = {
  renew: Renew
  /** As `renew`, with a fresh secret for the new term: for leases whose secrets end by themselves. */
  rearm: (ask: RenewAsk) => Promise<Rearmed>
}

type MayTouch = (holder: Renewable) => boolean | Promise<boolean>

const LEDGER_BATCH = 128
/** Of several renewals at once each but the first has to read again; more than this many is a caller gone wild. */
const ATTEMPTS = 10

type RenewParts = {
  ledger: Ledger
  targets: Targets
  engineTypes: readonly EngineType[]
  wakeAt: (targetId: string, dueAt: Date, inMs: number) => void
  mayGrant?: MayGrant
  measure?: Measure
}

/** What is done on the target before the ledger has the new end: the terms that come of it, and what else. */
type OnTarget<T> = (
  targets: Targets,
  lease: Renewable,
  terms: LeaseTerms,
) => Promise<{ terms: LeaseTerms } & T>

export const createRenew = (parts: RenewParts): Renew => createRenewals(parts).renew

/**
 * Moves a lease's end: on the target first, then in the ledger, so that an account never ends before its lease.
 * Both throw the dialect's texts as `BrokerError`; then the lease keeps the end it had.
 */
export function createRenewals(parts: RenewParts): Renewals {
  const { measure = unmeasured } = parts
  const steps = renewalFlights(parts.ledger)
  const moving = <T>(onTarget: OnTarget<T>) => {
    const move = moveEnd(parts, steps, onTarget)
    return (ask: RenewAsk) => measure((on) => move(ask, on))
  }
  const renew = moving(extendOnTarget)
  return { renew: async (ask) => (await renew(ask)).terms, rearm: moving(rearmOnTarget) }
}

type RenewalFlights = ReturnType<typeof renewalFlights>

/** The ledger's part of renewing, one coalesced flight at a time per kind. */
function renewalFlights(ledger: Ledger) {
  return {
    find: batcher<string, Renewable | undefined>(
      async (ids) => {
        const rows = new Map((await findRenewable(ledger, ids)).map((row) => [row.id, row]))
        return ids.map((id) => ok(rows.get(id)))
      },
      { max: LEDGER_BATCH },
    ),
    extend: ledgerFlight<Extension, boolean>(
      ledger,
      async (db, extensions) => {
        // One statement must not change a row twice; the first of a pair reads again and comes back.
        const unique = new Map(extensions.map((extension) => [extension.id, extension]))
        const written = await extendLeases(db, [...unique.values()])
        return extensions.map((extension) =>
          ok(unique.get(extension.id) === extension && written.has(extension.id)),
        )
      },
      { max: LEDGER_BATCH },
    ),
  }
}

const moveEnd =
  <T>(parts: RenewParts, { find, extend }: RenewalFlights, onTarget: OnTarget<T>) =>
  async (ask: RenewAsk, on: (engine: string, target: string) => void): Promise<{ terms: LeaseTerms } & T> => {
    const { leaseId, incrementSeconds, mayTouch, stillAllowed } = ask
    const { path, id } = splitLeaseId(leaseId)
    for (let attempt = 1; attempt <= ATTEMPTS; attempt += 1) {
      const found = await find(id)
      if (found) on(found.engine, found.targetName)
      if (found?.path === path) about({ lease_id: leaseId })
      const lease = await checkRenewable(parts, path, found, mayTouch)
      const grant = await grantOf(parts.ledger, lease)
      if (lease.roleSpec.recheck_on_renew !== false && !(await stillAllowed(lease, grant))) throw denied()
      checkGranting(parts.mayGrant)
      const readMs = performance.now()
      const done = await onTarget(parts.targets, lease, renewalTerms(lease, incrementSeconds))
      const { expiresAt, limitedBy } = done.terms
      if (await extend({ id, expiresAt, limitedBy, renewals: lease.renewals })) {
        const sinceReadMs = performance.now() - readMs
        parts.wakeAt(lease.targetId, expiresAt, expiresAt.getTime() - lease.now.getTime() - sinceReadMs)
        return done
      }
    }
    throw new BrokerError(
      'too_many_requests',
      'the lease is being renewed by many callers at once; try again',
    )
  }

const denied = (): BrokerError => new BrokerError('permission_denied', 'permission denied')

async function checkRenewable(
  { engineTypes }: RenewParts,
  path: string,
  lease: Renewable | undefined,
  mayTouch: MayTouch,
): Promise<Renewable> {
  if (!lease || lease.path !== path || lease.state === 'revoked' || lease.state === 'issuing') {
    throw new BrokerError('invalid_request', 'lease not found')
  }
  if (!(await mayTouch(lease))) throw denied()
  if (lease.stuck) {
    throw new BrokerError('invalid_request', 'lease is expired and has failed previous revocation attempts')
  }
  if (lease.state === 'revoking' || lease.expiresAt <= lease.now) {
    throw new BrokerError('invalid_request', 'lease expired')
  }
  if (!isRenewable(engineTypes, lease)) throw new BrokerError('invalid_request', 'lease is not renewable')
  return lease
}

/** What a grant allowed goes on only while it is in force; undefined for what no grant allowed. */
async function grantOf(ledger: Ledger, { grantId }: Renewable): Promise<LiveGrant | undefined> {
  if (grantId === null) return undefined
  const grant = await findInForce(ledger, grantId)
  if (grant) return grant
  throw new BrokerError(
    'invalid_request',
    'lease is not renewable: the break-glass grant it belongs to is not active',
  )
}

function renewalTerms(lease: Renewable, incrementSeconds: number | undefined): LeaseTerms {
  const hardSeconds = (lease.hardExpiresAt.getTime() - lease.issuedAt.getTime()) / 1_000
  return leaseTerms({
    now: lease.now,
    issuedAt: lease.issuedAt,
    incrementSeconds,
    defaultSeconds: lease.defaultTtlSeconds || mountTtls(lease.mountConfig).defaultSeconds,
    maxima: [{ name: lease.hardLimitedBy, seconds: hardSeconds }],
    tokenExpiresAt: lease.outlivesToken ? null : lease.tokenExpiresAt,
  })
}

async function extendOnTarget(
  targets: Targets,
  lease: Renewable,
  terms: LeaseTerms,
): Promise<{ terms: LeaseTerms }> {
  try {
    const target = await targets.open(lease.targetId, lease.targetVersion)
    await target.extend({
      account: accountOf(lease),
      role: lease.roleSpec,
      expiresAtMs: performance.now() + (terms.expiresAt.getTime() - lease.now.getTime()),
    })
    return { terms }
  } catch (error) {
    throw renewalFailure(error)
  }
}

/** The lease ends no later than what the target gave. */
async function rearmOnTarget(targets: Targets, lease: Renewable, terms: LeaseTerms): Promise<Rearmed> {
  try {
    const { breaker, engine } = await targets.open(lease.targetId, lease.targetVersion)
    const rearm = engine.rearm
    if (!rearm) throw new BrokerError('invalid_request', 'the secrets of this lease live as long as it does')
    const lifetimeMs = terms.expiresAt.getTime() - lease.now.getTime()
    const term = { account: accountOf(lease), role: lease.roleSpec, asked: lease.asked, lifetimeMs }
    const [result] = await observed(breaker, () => rearm([term]))
    if (!result?.ok) throw result?.error ?? new Error('the engine gave no answer')
    const { secret, warnings = [], lifetimeMs: given = lifetimeMs } = result.value
    const cut =
      given < lifetimeMs
        ? {
            ...terms,
            ttlSeconds: Math.floor(given / 1_000),
            expiresAt: new Date(lease.now.getTime() + given),
          }
        : terms
    return { terms: cut, secret, warnings: [...warnings] }
  } catch (error) {
    throw renewalFailure(error)
  }
}

const accountOf = (lease: Renewable): Account => ({
  leaseId: lease.id,
  name: lease.account,
  targetRef: lease.targetRef,
})

function renewalFailure(error: unknown): BrokerError {
  const { code } = targetFailure(error)
  return new BrokerError(
    code === 'target_failed' ? code : 'invalid_request',
    `failed to renew entry: ${messageOf(error)}`,
    { cause: error },
  )
}

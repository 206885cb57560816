import { about } from '../audit/request.ts'
import type { Ledger } from '../ledger/db.ts'
import { ledgerFlight } from '../ledger/flight.ts'
import { type Extension, extendLeases, findRenewable, type Renewable } from '../ledger/lease-renewal.ts'
import { batcher } from '../lib/batcher.ts'
import { BrokerError, messageOf } from '../lib/errors.ts'
import { checkGranting, type MayGrant } from '../lib/granting.ts'
import { type Measure, unmeasured } from '../lib/measure.ts'
import { ok } from '../lib/result.ts'
import { mountTtls } from './mount-ttls.ts'
import { type Targets, targetFailure } from './targets.ts'
import { type LeaseTerms, leaseTerms } from './terms.ts'
import { splitLeaseId } from './wire-id.ts'

export type Renew = (ask: {
  leaseId: string
  incrementSeconds: number | undefined
  /** Whether the caller may renew a lease of this holder. */
  mayTouch: MayTouch
  /**
   * Whether policy would still let the holder have it; asked unless the role says that it need not be. May throw a
   * refusal of its own in place of false, as `mayTouch` may.
   */
  stillAllowed: (holder: Renewable) => Promise<boolean>
}) => Promise<LeaseTerms>

type MayTouch = (holder: Renewable) => boolean | Promise<boolean>

const LEDGER_BATCH = 128
/** Of several renewals at once each but the first has to read again; more than this many is a caller gone wild. */
const ATTEMPTS = 10

/**
 * Moves a lease's end: on the target first, then in the ledger, so that an account never ends before its lease.
 * Throws the dialect's texts as `BrokerError`; then the lease keeps the end it had.
 */
export function createRenew(parts: {
  ledger: Ledger
  targets: Targets
  wakeAt: (targetId: string, dueAt: Date, inMs: number) => void
  mayGrant?: MayGrant
  measure?: Measure
}): Renew {
  const { measure = unmeasured } = parts
  const find = batcher<string, Renewable | undefined>(
    async (ids) => {
      const rows = new Map((await findRenewable(parts.ledger, ids)).map((row) => [row.id, row]))
      return ids.map((id) => ok(rows.get(id)))
    },
    { max: LEDGER_BATCH },
  )
  const extend = ledgerFlight<Extension, boolean>(
    parts.ledger,
    async (db, extensions) => {
      // One statement must not change a row twice; the first of a pair reads again and comes back.
      const unique = new Map(extensions.map((extension) => [extension.id, extension]))
      const written = await extendLeases(db, [...unique.values()])
      return extensions.map((extension) =>
        ok(unique.get(extension.id) === extension && written.has(extension.id)),
      )
    },
    { max: LEDGER_BATCH },
  )

  const renew = async (
    ask: Parameters<Renew>[0],
    on: (engine: string, target: string) => void,
  ): Promise<LeaseTerms> => {
    const { leaseId, incrementSeconds, mayTouch, stillAllowed } = ask
    const { path, id } = splitLeaseId(leaseId)
    for (let attempt = 1; attempt <= ATTEMPTS; attempt += 1) {
      const found = await find(id)
      if (found) on(found.engine, found.targetName)
      if (found?.path === path) about({ lease_id: leaseId })
      const lease = await checkRenewable(path, found, mayTouch)
      if (lease.roleSpec.recheck_on_renew !== false && !(await stillAllowed(lease))) throw denied()
      checkGranting(parts.mayGrant)
      const readMs = performance.now()
      const terms = renewalTerms(lease, incrementSeconds)
      await extendOnTarget(parts.targets, lease, terms)
      const extension = {
        id,
        expiresAt: terms.expiresAt,
        limitedBy: terms.limitedBy,
        renewals: lease.renewals,
      }
      if (await extend(extension)) {
        const sinceReadMs = performance.now() - readMs
        parts.wakeAt(
          lease.targetId,
          terms.expiresAt,
          terms.expiresAt.getTime() - lease.now.getTime() - sinceReadMs,
        )
        return terms
      }
    }
    throw new BrokerError(
      'too_many_requests',
      'the lease is being renewed by many callers at once; try again',
    )
  }
  return (ask) => measure((on) => renew(ask, on))
}

const denied = (): BrokerError => new BrokerError('permission_denied', 'permission denied')

async function checkRenewable(
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
  return lease
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

async function extendOnTarget(targets: Targets, lease: Renewable, terms: LeaseTerms): Promise<void> {
  try {
    const target = await targets.open(lease.targetId, lease.targetVersion)
    await target.extend({
      account: { leaseId: lease.id, name: lease.account, targetRef: lease.targetRef },
      role: lease.roleSpec,
      expiresAtMs: performance.now() + (terms.expiresAt.getTime() - lease.now.getTime()),
    })
  } catch (error) {
    const { code } = targetFailure(error)
    throw new BrokerError(
      code === 'target_failed' ? code : 'invalid_request',
      `failed to renew entry: ${messageOf(error)}`,
      { cause: error },
    )
  }
}

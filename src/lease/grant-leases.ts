import type { EngineType } from '../engine/engine.ts'
import type { Ledger } from '../ledger/db.ts'
import { type ExtendableLease, findExtendable, type MovedEnd } from '../ledger/grant-leases.ts'
import { messageOf } from '../lib/errors.ts'
import type { Logger } from '../lib/log.ts'
import { SYSTEM_MAX_TTL_SECONDS } from '../lib/ttl.ts'
import { mountTtls } from './mount-ttls.ts'
import { isRenewable } from './renewable.ts'
import type { Targets } from './targets.ts'
import { leaseTerms } from './terms.ts'

export type GrantLeases = {
  /**
   * Moves the ends of a grant's leases on their targets. Answers the ends for the ledger, which are to be written
   * together with the grant's own; a lease whose target refused, or does not answer, is not among them.
   */
  extendOnTargets(grantId: string, until: Date): Promise<(MovedEnd & { targetId: string })[]>
}

export function createGrantLeases(parts: {
  ledger: Ledger
  targets: Targets
  engineTypes: readonly EngineType[]
  log: Logger
}): GrantLeases {
  const { ledger, targets, engineTypes, log } = parts

  const extendOne = async (lease: ExtendableLease, until: Date) => {
    const moved = movedEnd(lease, until)
    const target = await targets.open(lease.targetId, lease.targetVersion)
    await target.extend({
      account: { leaseId: lease.id, name: lease.account, targetRef: lease.targetRef },
      role: lease.roleSpec,
      expiresAtMs: performance.now() + (moved.expiresAt.getTime() - lease.now.getTime()),
    })
    return { ...moved, targetId: lease.targetId }
  }

  return {
    async extendOnTargets(grantId, until) {
      const leases = (await findExtendable(ledger, grantId)).filter((lease) =>
        isRenewable(engineTypes, lease),
      )
      const moved = await Promise.all(
        leases.map((lease) =>
          extendOne(lease, until).catch((error) => {
            log.warn({ leaseId: lease.id, error: messageOf(error) }, 'a lease of a grant keeps its old end')
            return undefined
          }),
        ),
      )
      return moved.filter((end) => end !== undefined)
    },
  }
}

/** The other bounds hold as they did when it was issued: only the grant's has moved. */
function movedEnd(lease: ExtendableLease, until: Date): MovedEnd {
  const { now, issuedAt, outlivesToken, tokenHardExpiresAt } = lease
  const seconds = (end: Date) => (end.getTime() - issuedAt.getTime()) / 1_000
  const terms = leaseTerms({
    now,
    issuedAt,
    incrementSeconds: Math.ceil((until.getTime() - now.getTime()) / 1_000),
    defaultSeconds: 0,
    maxima: [
      { name: 'role_max', seconds: lease.maxTtlSeconds },
      { name: 'mount_max', seconds: mountTtls(lease.mountConfig).maxSeconds || SYSTEM_MAX_TTL_SECONDS },
      ...(outlivesToken || !tokenHardExpiresAt
        ? []
        : [{ name: 'token' as const, seconds: seconds(tokenHardExpiresAt) }]),
      { name: 'grant', seconds: seconds(until) },
    ],
    tokenExpiresAt: outlivesToken ? null : lease.tokenExpiresAt,
  })
  const { expiresAt, hardExpiresAt, limitedBy, hardLimitedBy } = terms
  return { id: lease.id, renewals: lease.renewals, expiresAt, hardExpiresAt, limitedBy, hardLimitedBy }
}

import { onBehalfOf } from '../audit/request.ts'
import type { Deliverer } from '../breakglass/notify/deliverer.ts'
import type { Reconciler } from '../lease/reconcile/reconciler.ts'
import { createSweep, type Sweep } from '../lease/sweep.ts'
import type { TokensEnded } from '../ledger/token-ending.ts'
import type { Metrics } from '../telemetry/metrics.ts'
import type { AccessSide } from './access.ts'
import type { Base } from './base.ts'
import type { BreakGlassSide } from './break-glass.ts'
import { endingTokens } from './jobs.ts'
import type { LeaseSide } from './leases.ts'
import { composeDeliverer } from './notify.ts'
import type { RotationSide } from './rotation.ts'

/** All that a worker looks after by itself, whatever the queue says. */
export function composeSweep(
  base: Base,
  parts: {
    leases: LeaseSide
    access: AccessSide
    rotation: RotationSide
    reconciler: Reconciler
    breakGlass: Pick<BreakGlassSide, 'grantAccess'>
  },
  intervalMs: number,
): { sweep: Sweep; deliverer: Deliverer } {
  const { leases, access, rotation, reconciler, breakGlass } = parts
  const deliverer = composeDeliverer(base)
  const sweep = createSweep({
    ...base,
    ...leases,
    upkeep: async () => [
      ...(await reconciler.due()),
      ...(await deliverer.due()),
      { name: 'following what leases are tied to', run: leases.ties.refresh },
      { name: 'rotating passwords', run: rotation.rotator.sweep },
      { name: 'looking after break-glass grants', run: breakGlass.grantAccess.due.sweep },
    ],
    endExpiredTokens: endingExpired(access, leases, base.metrics),
    intervalMs,
    record: base.metrics.sweep.round,
  })
  const stop = async (): Promise<void> => {
    await Promise.all([deliverer.stop(), sweep.stop()])
  }
  return { sweep: { ...sweep, stop }, deliverer }
}

const EXPIRING = endingTokens('end_expired_tokens', (result) => result as TokensEnded)

const endingExpired =
  (access: AccessSide, { quotas }: LeaseSide, { sweep }: Metrics) =>
  async (): Promise<void> => {
    const { tokens, wrapping, consoleSessions, oidcStates, securityEvents, approle, webauthn } = access
    const [ended] = await Promise.all([
      onBehalfOf(EXPIRING, tokens.endExpiredTokens),
      wrapping.dropExpired(),
      quotas.dropExpired(),
      oidcStates.dropExpired(),
      consoleSessions.dropExpired(),
      securityEvents.dropExpired(),
      approle.secretIds.dropExpired(),
      webauthn.dropExpired(),
      access.dropStrandedSecrets(),
    ])
    sweep.tokensEnded(ended)
  }

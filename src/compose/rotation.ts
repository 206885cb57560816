import { messageOf } from '../lib/errors.ts'
import { createRounds } from '../lib/rounds.ts'
import { type AdminRotations, createAdminRotations } from '../rotation/admins.ts'
import { createRotator, type Rotator } from '../rotation/rotator.ts'
import type { Reach } from '../rotation/site.ts'
import { createStaticRoles, type StaticRoles } from '../rotation/static-roles.ts'
import type { Base } from './base.ts'
import { type LeaseSide, processName, wakingAt } from './leases.ts'

export type RotationSide = {
  rotator: Rotator
  staticRoles: StaticRoles
  adminRotations: AdminRotations
  /** Rounds of its own, for a process that does nothing else; a worker's sweep goes round for all. */
  start(): void
  /** Lets the rotations in hand finish and begins no more. */
  stop(): Promise<void>
}

/** What keeps and changes passwords: of admin accounts and of static roles. */
export function composeRotation(
  { ledger, trail, credentials, wakeups, metrics, log }: Base,
  { targets, engineTypes }: Pick<LeaseSide, 'targets' | 'engineTypes'>,
  intervalMs: number,
): RotationSide {
  const reach: Reach = {
    open: async ({ id, version }) => (await targets.open(id, version)).engine,
    openAs(target, admin) {
      const type = engineTypes.find(({ name }) => name === target.engine)
      if (!type) throw new Error(`no engine of type "${target.engine}" in this version`)
      return type.open(target.spec, async () => admin)
    },
  }
  const rotator = createRotator({
    ledger,
    trail,
    credentials,
    reach,
    worker: processName(),
    wakeAt: wakingAt(wakeups),
    record: metrics.rotation,
    log,
  })
  const rounds = createRounds(
    () =>
      rotator.sweep().catch((error) => {
        log.error({ error: messageOf(error) }, 'the sweep of rotations could not read the ledger')
      }),
    intervalMs,
  )
  const parts = { ledger, credentials, reach, rotator }
  return {
    rotator,
    staticRoles: createStaticRoles(parts),
    adminRotations: createAdminRotations({ ...parts, engineTypes }),
    start: rounds.start,
    async stop() {
      rotator.stop()
      await rounds.stop()
      await rotator.idle()
    },
  }
}

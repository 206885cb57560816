import { createAbandon } from './abandon.ts'
import type { AccessParts } from './access-parts.ts'
import { type Activation, createActivation } from './activate.ts'
import { type Blocks, createBlocks } from './blocks.ts'
import { type Collect, createCollect } from './collect.ts'
import { type DrillsReport, reportDrills } from './drills.ts'
import { createDue, type Due } from './due.ts'
import { createEndings } from './ending.ts'
import { createExtensions, type Extensions } from './extension.ts'
import { createGivingUp, type GivingUp } from './give-up.ts'
import { createIdentityEvents, type IdentityEvents } from './identity-events.ts'
import type { LookAtWaiting } from './look.ts'
import { createRatifications, type Ratifications } from './ratification.ts'
import { createReviews, type Reviews } from './review.ts'
import { createSuspensions, type Suspensions } from './suspension.ts'

/** Access that people have approved, from its activation to its review. */
export type Access = Suspensions &
  GivingUp &
  Reviews & {
    activate: Activation['activate']
    collect: Collect
    extensions: Extensions
    ratifications: Pick<Ratifications, 'ratify' | 'refuse'>
    abandon: ReturnType<typeof createAbandon>
    blocks: Blocks
    identityEvents: IdentityEvents
    drills(): Promise<DrillsReport>
    due: Due
  }

export function createAccess(parts: AccessParts & { lookAtWaiting: LookAtWaiting; worker: string }): Access {
  const { ledger } = parts
  const endings = createEndings(parts)
  const withEndings = { ...parts, endings }
  const activation = createActivation(withEndings)
  const extensions = createExtensions(parts)
  const ratifications = createRatifications(withEndings)
  return {
    activate: activation.activate,
    collect: createCollect(parts),
    extensions,
    ...createSuspensions(parts),
    ...createGivingUp(withEndings),
    ratifications,
    abandon: createAbandon(parts),
    ...createReviews(parts),
    blocks: createBlocks(ledger),
    identityEvents: createIdentityEvents(withEndings),
    drills: () => reportDrills(ledger),
    due: createDue({
      ...withEndings,
      giveUpActivation: activation.giveUp,
      expireExtension: extensions.expire,
      ratificationOverdue: ratifications.overdue,
    }),
  }
}

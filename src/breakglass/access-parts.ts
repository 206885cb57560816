import type { Ender } from '../lease/ender.ts'
import type { GrantLeases } from '../lease/grant-leases.ts'
import type { Issue } from '../lease/issue.ts'
import type { Mount } from '../lease/mounts.ts'
import type { Signer } from '../lease/signer.ts'
import type { Ledger } from '../ledger/db.ts'
import type { Reading } from '../ledger/reading.ts'
import type { Target } from '../ledger/targets.ts'
import type { Logger } from '../lib/log.ts'
import type { Decision, LiveGrant } from '../policy/authorize.ts'
import type { Principal } from '../policy/principal.ts'
import type { Actor } from './actor.ts'
import type { Moves } from './moves.ts'
import type { OnCall } from './on-call.ts'
import type { PlanRole } from './plan.ts'
import type { CheckTicket } from './ticket-check.ts'

/** Somebody at the door, as far as handing out credentials needs to know them. */
export type Caller = {
  actor: Actor
  principal: Principal
  reading: Reading
  /** What policy says of asking for a role of the plan, given that people have approved it. */
  decide(role: PlanRole, approvedAs: LiveGrant): Promise<Decision>
  /** Runs `undo` when the answer does not arrive. */
  onUndelivered(undo: () => Promise<void>): void
}

/** Where a target is, for whoever was given an account there; null where that is not known. */
export type ConnectFacts = Readonly<Record<string, string | number>> | null

/** What access, from its activation to its review, rests on. */
export type AccessParts = {
  ledger: Ledger
  moves: Moves
  issue: Issue
  ender: Pick<Ender, 'endNow' | 'abandon'>
  grantLeases: GrantLeases
  onCall: Pick<OnCall, 'renew'>
  checkTicket: CheckTicket
  signer: Pick<Signer, 'issuer' | 'sign'>
  findMount(path: string): Promise<Mount | undefined>
  connectFacts(target: Target): ConnectFacts
  wake: (targetId: string) => void
  /** Asks for a look at a target when something on it is due, which is in so many milliseconds. */
  wakeAt: (targetId: string, dueAt: Date, inMs: number) => void
  /** Asks for a look at the grants that are due by then, on the ledger's clock; null for none. */
  wakeLook: (at: Date | null, now: Date) => void
  log: Logger
}

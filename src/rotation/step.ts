import type { AuditEvent, Detail } from '../audit/event.ts'
import type { Trail } from '../audit/trail.ts'
import type { Db } from '../ledger/db.ts'
import type { Rotation } from '../ledger/rotation.ts'

/** Somebody else has taken the rotation up since it was claimed: nothing of ours counts any more. */
export class ClaimLost extends Error {
  constructor() {
    super('another worker has taken this rotation up')
    this.name = 'ClaimLost'
  }
}

/** Writes a step, with its event, in one transaction; `write` answers how many rows were still ours. */
export async function commitStep(
  trail: Pick<Trail, 'commit'>,
  rotation: Rotation,
  step: string,
  write: (db: Db) => Promise<number>,
  details: { [name: string]: Detail } = {},
): Promise<void> {
  await trail.commit(async (db) => {
    if ((await write(db)) === 0) throw new ClaimLost()
    return { result: undefined, events: [stepEvent(rotation, step, details)] }
  })
}

export const stepEvent = (
  { kind, name, targetName, username, rotations }: Rotation,
  step: string,
  details: { [name: string]: Detail } = {},
): AuditEvent => ({
  type: 'system',
  what: { operation: `rotation_${step}` },
  outcome: {},
  target: targetName,
  ...(name !== null && { role: name }),
  details: { kind, account: username, rotation: rotations + 1, ...details },
})

import { change, type Db, one } from './db.ts'

export type ExtensionState = 'pending' | 'approved' | 'denied' | 'expired'

/** An ask for more time. Its votes are those of the grant with its round. */
export type GrantExtension = {
  grantId: string
  round: number
  state: ExtensionState
  seconds: number
  reason: string
  planHash: string
  askedAt: Date
  decidedAt: Date | null
}

const EXTENSION = `grant_id as "grantId", round, state, seconds, reason, plan_hash as "planHash",
  asked_at as "askedAt", decided_at as "decidedAt"`

/** Answers its round; undefined while another one is pending. */
export async function insertExtension(
  db: Db,
  ask: Pick<GrantExtension, 'grantId' | 'seconds' | 'reason' | 'planHash'>,
): Promise<number | undefined> {
  const row = await one<{ round: number }>(
    db,
    `insert into leasehold.grant_extension (grant_id, round, state, seconds, reason, plan_hash, asked_at)
     select $1, coalesce(max(round), 0) + 1, 'pending', $2, $3, $4, leasehold.ledger_now()
     from leasehold.grant_extension where grant_id = $1
     on conflict do nothing returning round`,
    [ask.grantId, ask.seconds, ask.reason, ask.planHash],
  )
  return row?.round
}

export const findPendingExtension = (db: Db, grantId: string): Promise<GrantExtension | undefined> =>
  one<GrantExtension>(
    db,
    `select ${EXTENSION} from leasehold.grant_extension where grant_id = $1 and state = 'pending'`,
    [grantId],
  )

/** 0: it was decided meanwhile. */
export const decideExtension = (
  db: Db,
  { grantId, round }: Pick<GrantExtension, 'grantId' | 'round'>,
  state: Exclude<ExtensionState, 'pending'>,
): Promise<number> =>
  change(
    db,
    `update leasehold.grant_extension set state = $3, decided_at = leasehold.ledger_now()
     where grant_id = $1 and round = $2 and state = 'pending'`,
    [grantId, round, state],
  )

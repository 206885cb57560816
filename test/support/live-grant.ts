import type { Db, Ledger } from '../../src/ledger/db.ts'
import { newId } from '../../src/lib/ids.ts'

export type GrantRow = {
  requesterId: string
  state?: string
  lane?: string
  paths?: string[]
  seconds?: number
  reason?: string
  ticket?: string
  approvers?: string[]
}

/** A grant as activation leaves it, written straight into the ledger: for tests of what rests on one. */
export async function insertLiveGrant(
  ledger: Ledger,
  {
    requesterId,
    state = 'active',
    lane = 'break_glass',
    paths = ['database/creds/app'],
    seconds = 600,
    reason = 'orders are stuck since midnight',
    ticket = 'INC-1',
    approvers = [],
  }: GrantRow,
): Promise<{ id: string; policyId: string }> {
  const [id, policyId] = [newId(), newId()]
  await ledger.transaction(async (db) => {
    await db.query(
      `insert into leasehold.break_glass_policy (id, name, version, spec) values ($1, $2, 1, '{}')`,
      [policyId, `p-${policyId}`],
    )
    await db.query(
      `insert into leasehold.access_grant (id, policy_id, lane, state, requester_id, requester, plan, plan_hash,
         reason, ticket, duration_seconds, requested_at, pending_expires_at, started_at, expires_at)
       values ($1, $2, $3, $4, $5, '{"display_name":"r"}', $6, 'hash', $7, $8, 600, leasehold.ledger_now(),
         leasehold.ledger_now(), leasehold.ledger_now(), leasehold.ledger_now() + make_interval(secs => $9::integer))`,
      [id, policyId, lane, state, requesterId, { roles: await rolesAt(db, paths) }, reason, ticket, seconds],
    )
    for (const [at, subject] of approvers.entries()) {
      await db.query(
        `insert into leasehold.grant_vote (grant_id, round, number, voter_id, voter, decision, plan_hash, cast_at)
         values ($1, 0, $2, $3, $4, 'approve', 'hash', leasehold.ledger_now())`,
        [id, at + 1, subject, { subject }],
      )
    }
  })
  return { id, policyId }
}

/** As plans have them: each with the version of the role that is there now, if there is one. */
async function rolesAt(
  db: Db,
  paths: readonly string[],
): Promise<{ path: string; role_id: string | null }[]> {
  const { rows } = await db.query<{ path: string; role_id: string | null }>(
    `select asked.path, r.id as role_id from unnest($1::text[]) as asked (path)
     left join (leasehold.role r join leasehold.mount m on m.id = r.mount_id and m.disabled_at is null)
       on m.path || 'creds/' || r.name = asked.path and r.replaced_at is null`,
    [paths],
  )
  return rows
}

export const setGrantState = (ledger: Ledger, id: string, state: string): Promise<unknown> =>
  ledger.query('update leasehold.access_grant set state = $2, version = version + 1 where id = $1', [
    id,
    state,
  ])

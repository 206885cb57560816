import { change, type Db, many, manyLocking, one } from './db.ts'
import type { Document } from './documents.ts'
import type { LeaseLimit } from './lease-words.ts'

/** What issuing needs to know of a role, as it stands now. */
export type Issuable = {
  mountId: string
  roleName: string
  roleId: string
  roleSpec: Document
  defaultTtlSeconds: number
  maxTtlSeconds: number
  targetName: string
  /** Null when the role's target does not exist (yet): a role may be written first. */
  target: {
    id: string
    version: number
    allowedRoles: string[]
    spec: Document
    engine: string
  } | null
}

/** The live version of each role asked for, with its target; a role that does not exist has no row. */
export function findIssuable(db: Db, asks: { mountId: string; roleName: string }[]): Promise<Issuable[]> {
  return many<Issuable>(
    db,
    `select r.mount_id as "mountId", r.name as "roleName", r.id as "roleId", r.spec as "roleSpec",
       r.default_ttl_seconds as "defaultTtlSeconds", r.max_ttl_seconds as "maxTtlSeconds",
       r.target_name as "targetName",
       case when t.id is not null then jsonb_build_object(
         'id', t.id, 'version', t.version, 'allowedRoles', to_jsonb(t.allowed_roles), 'spec', t.spec, 'engine', t.engine)
       end as target
     from (select distinct * from unnest($1::text[], $2::text[]) as a (mount_id, name)) a
     join leasehold.role r on r.mount_id = a.mount_id and r.name = a.name and r.replaced_at is null
     left join leasehold.target t
       on t.mount_id = r.mount_id and t.name = r.target_name and t.removed_at is null`,
    [asks.map(({ mountId }) => mountId), asks.map(({ roleName }) => roleName)],
  )
}

export type Intent = {
  id: string
  path: string
  mountId: string
  roleId: string
  targetId: string
  tokenId: string
  principalId: string
  allowedBy: unknown
  outlivesToken: boolean
  account: string
  /** What was asked for beyond the role, as the engine checked it. */
  asked: Document
  issuedAt: Date
  expiresAt: Date
  hardExpiresAt: Date
  limitedBy: LeaseLimit | null
  hardLimitedBy: LeaseLimit
  createDeadline: Date
  /** So many stuck leases on the target freeze it; 0 never does. */
  stuckFreeze: number
  /** SHA-256 of the key its caller may know it by, in hex; null without one. */
  idempotencyKey: string | null
  /** The grant that allows it and that it ends with; null for a lease without one. */
  grantId: string | null
}

/** Six failed tries make a lease stuck; one whose access is known to have ended does no harm and does not count. */
const STUCK_ON = (target: string): string =>
  `(select count(*) from leasehold.lease l where l.target_id = ${target} and l.state = 'revoking'
     and l.attempts >= 6 and l.access_ended_at is null)`

/** A grant under which a lease may be given now, never a drill. `expires_at` is not known before it is active. */
const GIVES = `g.lane <> 'drill' and g.state in ('activating', 'active') and (g.expires_at is null or g.expires_at > leasehold.ledger_now())`

/** Whoever ends a grant waits for those who issue under it, or they for it: then they find it ended. */
const LIVE_GRANT = `,
   live_grant as (
     select g.id from leasehold.access_grant g
     where g.id in (select distinct grant_id from intent where grant_id is not null) and ${GIVES}
     order by g.id for share)`

const UNDER_GRANT = 'and (i.grant_id is null or i.grant_id in (select id from live_grant))'

const insertIntentsSql = (underGrants: boolean): string => `with intent as materialized (
     select * from json_to_recordset($1) as i (id text, path text, mount_id text, role_id text, target_id text,
       token_id text, principal_id text, allowed_by jsonb, outlives_token boolean, account text, asked jsonb, issued_at timestamptz, expires_at timestamptz,
       hard_expires_at timestamptz, limited_by text, hard_limited_by text, create_deadline timestamptz,
       stuck_freeze integer, idempotency_key text, grant_id text)),
   live_token as (
     select id from leasehold.token
     where id in (select distinct decode(token_id, 'hex') from intent)
       and ended_at is null and (expires_at is null or expires_at > leasehold.ledger_now())
     order by id for share),
   live_target as (
     select id, ${STUCK_ON('target.id')} as stuck from leasehold.target
     where id in (select distinct target_id from intent) and removed_at is null
     order by id for share),
   live_mount as (
     select id from leasehold.mount
     where id in (select distinct mount_id from intent) and disabled_at is null
     order by id for share)${underGrants ? LIVE_GRANT : ''}
   insert into leasehold.lease (id, path, mount_id, role_id, target_id, token_id, principal_id, allowed_by,
     outlives_token, account, asked, state,
     issued_at, expires_at, hard_expires_at, limited_by,
     hard_limited_by, create_deadline, next_action_at, idempotency_key, grant_id)
   select i.id, i.path, i.mount_id, i.role_id, i.target_id, k.id, i.principal_id, i.allowed_by, i.outlives_token, i.account, i.asked, 'issuing',
     i.issued_at, i.expires_at, i.hard_expires_at, i.limited_by,
     i.hard_limited_by, i.create_deadline, i.create_deadline, decode(i.idempotency_key, 'hex'), i.grant_id
   from intent i
   join live_token k on k.id = decode(i.token_id, 'hex')
   join live_target t on t.id = i.target_id
   join live_mount m on m.id = i.mount_id
   where (i.stuck_freeze = 0 or i.stuck_freeze > t.stuck) ${underGrants ? UNDER_GRANT : ''}`

const insert = (underGrants: boolean): string => `${insertIntentsSql(underGrants)} returning id`

/** Each insert looks for its key a second time: for those alone who have one. In one order, so that two can meet. */
const insertWithKeys = (
  underGrants: boolean,
): string => `${insertIntentsSql(underGrants)} order by i.idempotency_key
  on conflict (principal_id, idempotency_key, path)
    where idempotency_key is not null and state in ('issuing', 'active') do nothing
  returning id`

/** Grants are looked at for those alone who have one, too. */
const INSERTS = {
  plain: { free: insert(false), granted: insert(true) },
  keyed: { free: insertWithKeys(false), granted: insertWithKeys(true) },
}

/**
 * Names the accounts in the ledger before they exist. Answers the ids written: an intent whose token has ended,
 * whose mount or target was removed meanwhile, whose target is frozen, whose grant is over, or whose key another usable
 * lease has, is left out. The share locks make such an end wait for us or us for it, so no lease slips past it.
 */
export async function insertIntents(db: Db, intents: Intent[]): Promise<Set<string>> {
  const inserts = INSERTS[intents.some(({ idempotencyKey }) => idempotencyKey !== null) ? 'keyed' : 'plain']
  const sql = inserts[intents.some(({ grantId }) => grantId !== null) ? 'granted' : 'free']
  const rows = await manyLocking<{ id: string }>(db, sql, [JSON.stringify(intents.map(toRecord))])
  return new Set(rows.map(({ id }) => id))
}

function toRecord(intent: Intent): Record<string, unknown> {
  return {
    id: intent.id,
    path: intent.path,
    mount_id: intent.mountId,
    role_id: intent.roleId,
    target_id: intent.targetId,
    token_id: intent.tokenId,
    principal_id: intent.principalId,
    allowed_by: intent.allowedBy,
    outlives_token: intent.outlivesToken,
    account: intent.account,
    asked: intent.asked,
    issued_at: intent.issuedAt,
    expires_at: intent.expiresAt,
    hard_expires_at: intent.hardExpiresAt,
    limited_by: intent.limitedBy,
    hard_limited_by: intent.hardLimitedBy,
    create_deadline: intent.createDeadline,
    stuck_freeze: intent.stuckFreeze,
    idempotency_key: intent.idempotencyKey,
    grant_id: intent.grantId,
  }
}

/** How many leases on the target cannot be ended. */
export async function countStuck(db: Db, targetId: string): Promise<number> {
  const row = await one<{ stuck: number }>(db, `select ${STUCK_ON('$1')} as stuck`, [targetId])
  return row?.stuck ?? 0
}

/** The state of a grant, and whether leases are given under it now; undefined for one there is not. */
export const findGiving = (db: Db, grantId: string): Promise<{ state: string; gives: boolean } | undefined> =>
  one(db, `select g.state, ${GIVES} as gives from leasehold.access_grant g where g.id = $1`, [grantId])

/** `expiresAt`: where the target gives less than the lease was to have. */
export type Made = { id: string; targetRef: string; expiresAt: Date | null }

/** issuing -> active. Answers the ids moved: one that is missing is being ended already and must not be handed out. */
export async function activate(db: Db, made: Made[]): Promise<Set<string>> {
  const rows = await manyLocking<{ id: string }>(
    db,
    `with locked as (
       select m.* from unnest($1::text[], $2::text[], $3::timestamptz[]) as m (id, target_ref, expires_at)
       join leasehold.lease l on l.id = m.id
       where l.state = 'issuing' order by l.id for update of l)
     update leasehold.lease l
     set state = 'active', target_ref = m.target_ref, expires_at = least(l.expires_at, m.expires_at),
       next_action_at = least(l.expires_at, m.expires_at)
     from locked m where l.id = m.id
     returning l.id`,
    [
      made.map(({ id }) => id),
      made.map(({ targetRef }) => targetRef),
      made.map(({ expiresAt }) => expiresAt),
    ],
  )
  return new Set(rows.map(({ id }) => id))
}

/** Keeps the target's own id of accounts that were made but will not be handed out: ending finds them by it. */
export function noteTargetRef(db: Db, id: string, targetRef: string): Promise<number> {
  return change(db, 'update leasehold.lease set target_ref = $2 where id = $1 and target_ref is null', [
    id,
    targetRef,
  ])
}

/** Live leases of a principal, whatever token they were made by. */
export async function countHeld(db: Db, principalId: string): Promise<number> {
  const row = await one<{ held: number }>(
    db,
    `select count(*) as held from leasehold.lease where principal_id = $1 and state <> 'revoked'`,
    [principalId],
  )
  return row?.held ?? 0
}

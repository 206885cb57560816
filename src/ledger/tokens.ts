import { change, type Db, many, one } from './db.ts'
import type { Document } from './documents.ts'
import type { Reading } from './reading.ts'

/** A token as the ledger knows it: never its text. Ids are SHA-256 in hex. */
export type Token = {
  id: string
  /** Null for a batch token. */
  accessor: string | null
  parentId: string | null
  type: 'service' | 'batch'
  policies: string[]
  /** Where it was made, such as `auth/token/create`. */
  path: string
  displayName: string
  metadata: Record<string, string> | null
  role: string | null
  renewable: boolean
  usesLeft: number | null
  ttlSeconds: number
  explicitMaxTtlSeconds: number
  periodSeconds: number
  boundCidrs: string[]
  expiresAt: Date | null
  hardExpiresAt: Date | null
  /** Null for a token that no login made, nor one under it. */
  entityId: string | null
  /** What it counts as without a login: the accessor of the token its tree begins with. Null: itself. */
  treeId: string | null
  /** What the login proved; null without one. */
  identity: Document | null
}

export type KnownToken = Token & {
  issuedAt: Date
  renewedAt: Date | null
  /** Neither ended nor past its end, and no token above it is: the sweep may not have come by yet. */
  live: boolean
  now: Date
}

const UNEXPIRED = (k: string): string =>
  `${k}.ended_at is null and (${k}.expires_at is null or ${k}.expires_at > leasehold.ledger_now())`

const LIVE = `${UNEXPIRED('k')} and not exists (
  with recursive above as (
    select p.parent_id, p.expires_at, p.ended_at from leasehold.token p where p.id = k.parent_id
    union all
    select p.parent_id, p.expires_at, p.ended_at from above a join leasehold.token p on p.id = a.parent_id)
  select from above a where not (${UNEXPIRED('a')}))`

const TOKEN = `encode(k.id, 'hex') as id, k.accessor, encode(k.parent_id, 'hex') as "parentId", k.type, k.policies,
  k.path, k.display_name as "displayName", k.metadata, k.role, k.renewable, k.uses_left as "usesLeft",
  k.ttl_seconds as "ttlSeconds", k.explicit_max_ttl_seconds as "explicitMaxTtlSeconds",
  k.period_seconds as "periodSeconds", k.bound_cidrs as "boundCidrs", k.entity_id as "entityId",
  k.tree_id as "treeId", k.identity, k.issued_at as "issuedAt",
  k.expires_at as "expiresAt", k.hard_expires_at as "hardExpiresAt", k.renewed_at as "renewedAt",
  ${LIVE} as live, leasehold.ledger_now() as now`

/** The rows there are, ended ones too: `live` tells. With what every request has to know, in the same trip. */
export async function readTokens(db: Db, ids: string[]): Promise<{ reading: Reading; tokens: KnownToken[] }> {
  const sinceMs = performance.now()
  const rows = await many<{ revision: number; now: Date } & (KnownToken | { id: null })>(
    db,
    `select v.number as revision, ${TOKEN}
     from leasehold.revision v left join leasehold.token k on k.id = any($1::bytea[])`,
    [ids.map((id) => Buffer.from(id, 'hex'))],
  )
  const [first] = rows
  if (!first) throw new Error('the ledger has lost its revision')
  const tokens = rows.filter((row): row is typeof row & KnownToken => row.id !== null)
  return { reading: { revision: first.revision, now: first.now, sinceMs }, tokens }
}

export const findToken = (db: Db, id: string): Promise<KnownToken | undefined> =>
  one<KnownToken>(db, `select ${TOKEN} from leasehold.token k where k.id = decode($1, 'hex')`, [id])

export const findTokenByAccessor = (db: Db, accessor: string): Promise<KnownToken | undefined> =>
  one<KnownToken>(db, `select ${TOKEN} from leasehold.token k where k.accessor = $1`, [accessor])

/**
 * Holds a live token to the end of the transaction: `share` so that it cannot end while something is made under it,
 * `update` to change it. Undefined when it is not live.
 */
export const lockLiveToken = (
  db: Db,
  id: string,
  strength: 'share' | 'update',
): Promise<KnownToken | undefined> =>
  one<KnownToken>(
    db,
    `select ${TOKEN} from leasehold.token k where k.id = decode($1, 'hex') and ${LIVE} for ${strength} of k`,
    [id],
  )

export async function listAccessors(db: Db): Promise<string[]> {
  const rows = await many<{ accessor: string }>(
    db,
    `select k.accessor from leasehold.token k
     where k.accessor is not null and ${UNEXPIRED('k')} order by k.accessor`,
  )
  return rows.map(({ accessor }) => accessor)
}

/** Whether it was written: not when a token of the same text exists or existed. */
export async function insertToken(db: Db, token: Token): Promise<boolean> {
  const rows = await change(
    db,
    `insert into leasehold.token (id, accessor, parent_id, type, policies, path, display_name, metadata, role,
       renewable, uses_left, ttl_seconds, explicit_max_ttl_seconds, period_seconds, bound_cidrs, expires_at,
       hard_expires_at, entity_id, tree_id, identity)
     values (decode($1, 'hex'), $2, decode($3, 'hex'), $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17,
       $18, $19, $20)
     on conflict (id) do nothing`,
    [
      token.id,
      token.accessor,
      token.parentId,
      token.type,
      token.policies,
      token.path,
      token.displayName,
      token.metadata,
      token.role,
      token.renewable,
      token.usesLeft,
      token.ttlSeconds,
      token.explicitMaxTtlSeconds,
      token.periodSeconds,
      token.boundCidrs,
      token.expiresAt,
      token.hardExpiresAt,
      token.entityId,
      token.treeId,
      token.identity,
    ],
  )
  return rows > 0
}

/** Makes an ended or expired root token good again: its text is fixed in embedded mode, so it cannot be made anew. */
export const reviveRootToken = (db: Db, id: string): Promise<number> =>
  change(
    db,
    `update leasehold.token
     set ended_at = null, parent_id = null, uses_left = null, ttl_seconds = 0, period_seconds = 0,
       explicit_max_ttl_seconds = 0, bound_cidrs = '{}', renewable = false, expires_at = null, hard_expires_at = null
     where id = decode($1, 'hex') and type = 'service' and policies = '{root}'
       and (ended_at is not null or parent_id is not null or uses_left is not null or expires_at is not null
         or hard_expires_at is not null or bound_cidrs <> '{}' or renewable)`,
    [id],
  )

export const moveTokenEnd = (
  db: Db,
  id: string,
  end: { expiresAt: Date; hardExpiresAt: Date | null },
): Promise<number> =>
  change(
    db,
    `update leasehold.token
     set expires_at = $2, hard_expires_at = $3, renewed_at = leasehold.ledger_now() where id = decode($1, 'hex')`,
    [id, end.expiresAt, end.hardExpiresAt],
  )

export type Spent = { id: string; usesBefore: number; usesLeft: number }

/** Takes uses from tokens that have a limit. Answers what each had, and has; one that is not in the answer had none. */
export const spendUses = (db: Db, spends: { id: string; uses: number }[]): Promise<Spent[]> =>
  many<Spent>(
    db,
    `with spend as (select decode(h, 'hex') as id, uses from unnest($1::text[], $2::integer[]) as s (h, uses)),
     locked as (
       select k.id, k.uses_left from leasehold.token k
       where k.id in (select id from spend) and k.uses_left > 0 and ${UNEXPIRED('k')}
       order by k.id for update)
     update leasehold.token k set uses_left = greatest(0, l.uses_left - s.uses)
     from locked l join spend s using (id) where k.id = l.id
     returning encode(k.id, 'hex') as id, l.uses_left as "usesBefore", k.uses_left as "usesLeft"`,
    [spends.map(({ id }) => id), spends.map(({ uses }) => uses)],
  )

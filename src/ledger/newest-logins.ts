import { type Db, many } from './db.ts'

/** A way in by which somebody came: their entity, and the role of its mount. */
export type Way = { entityId: string; role: string }

/**
 * The groups that the newest login of each of them by that way has said, of logins whose tokens still stand. A way
 * without one is left out.
 */
export const groupsOfNewestLogins = (db: Db, ways: readonly Way[]): Promise<(Way & { groups: string[] })[]> =>
  many(
    db,
    `select w.id as "entityId", w.role, n.groups
     from (select distinct * from unnest($1::text[], $2::text[]) as w (id, role)) w
     cross join lateral (
       select k.identity -> 'groups' as groups from leasehold.token k
       where k.entity_id = w.id and k.ended_at is null and k.parent_id is null
         and k.path not like 'auth/token/%'
         and coalesce(k.identity -> 'metadata' ->> 'role', '') = w.role
       order by k.issued_at desc limit 1) n
     where jsonb_typeof(n.groups) = 'array'`,
    [ways.map(({ entityId }) => entityId), ways.map(({ role }) => role)],
  )

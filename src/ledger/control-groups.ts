import { change, type Db, one } from './db.ts'

/** The longest that the wrapping token of a control group may live, in seconds; undefined where nobody has said it. */
export async function findControlGroupMaxTtl(db: Db): Promise<number | undefined> {
  const row = await one<{ seconds: number }>(
    db,
    'select max_ttl_seconds as seconds from leasehold.control_group_settings',
  )
  return row?.seconds
}

export const putControlGroupMaxTtl = (db: Db, seconds: number): Promise<number> =>
  change(
    db,
    `insert into leasehold.control_group_settings (max_ttl_seconds) values ($1)
     on conflict (only_row) do update set max_ttl_seconds = excluded.max_ttl_seconds`,
    [seconds],
  )

export const removeControlGroupSettings = (db: Db): Promise<number> =>
  change(db, 'delete from leasehold.control_group_settings')

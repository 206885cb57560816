import { change, type Db, many, one } from './db.ts'
import type { Document } from './documents.ts'

export type Mount = {
  id: string
  /** The name the wire knows it by wherever its path may have changed: `database_4x9k2m1c`. */
  accessor: string
  /** With its trailing slash; auth mounts begin with `auth/`. */
  path: string
  type: string
  description: string
  config: Document
  options: Document | null
}

/** Of the row `m`. */
export const MOUNT_ACCESSOR = `m.type || '_' || left(m.id, 8)`

const MOUNT = `m.id, ${MOUNT_ACCESSOR} as accessor, m.path, m.type, m.description, m.config, m.options`

export const listMounts = (db: Db): Promise<Mount[]> =>
  many<Mount>(db, `select ${MOUNT} from leasehold.mount m where disabled_at is null order by path`)

export const findMount = (db: Db, path: string): Promise<Mount | undefined> =>
  one<Mount>(db, `select ${MOUNT} from leasehold.mount m where disabled_at is null and path = $1`, [path])

/**
 * Enables a mount. False when its path lies at, above or below a live one: neither could be told from the other.
 * The lock makes two such calls wait for each other.
 */
export async function insertMount(db: Db, mount: Omit<Mount, 'accessor'>): Promise<boolean> {
  await db.query('lock table leasehold.mount in share row exclusive mode')
  const rows = await change(
    db,
    `insert into leasehold.mount (id, path, type, description, config, options)
     select $1, $2, $3, $4, $5, $6
     where not exists (select from leasehold.mount
       where disabled_at is null and (starts_with(path, $2) or starts_with($2, path)))`,
    [mount.id, mount.path, mount.type, mount.description, mount.config, mount.options],
  )
  return rows > 0
}

export const updateMount = (
  db: Db,
  mount: Pick<Mount, 'id' | 'description' | 'config' | 'options'>,
): Promise<number> =>
  change(db, 'update leasehold.mount set description = $2, config = $3, options = $4 where id = $1', [
    mount.id,
    mount.description,
    mount.config,
    mount.options,
  ])

/** The mount answers no more; its rows stay, for the leases that pin them. */
export const disableMount = (db: Db, id: string): Promise<number> =>
  change(
    db,
    'update leasehold.mount set disabled_at = leasehold.ledger_now() where id = $1 and disabled_at is null',
    [id],
  )

import { type Db, many } from './db.ts'
import type { Document } from './documents.ts'

/** A live lease that ends with something else on its target. */
export type TiedLease = {
  id: string
  account: string
  targetRef: string | null
  asked: Document
  targetId: string
  targetVersion: number
}

export const findTiedLeases = (db: Db): Promise<TiedLease[]> =>
  many<TiedLease>(
    db,
    `select l.id, l.account, l.target_ref as "targetRef", l.asked, l.target_id as "targetId", t.version as "targetVersion"
     from leasehold.lease l join leasehold.target t on t.id = l.target_id
     where l.state = 'active' and l.asked ? 'bound_object_uid'`,
  )

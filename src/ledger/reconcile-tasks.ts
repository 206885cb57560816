import { type Db, many, manyLocking, one } from './db.ts'
import type { Document } from './documents.ts'

/** What is done for every target now and again. */
export const TASKS = ['reconcile', 'canary'] as const
export type Task = (typeof TASKS)[number]

/** A target whose task is in a worker's hands; what is written of it with an older fence changes nothing. */
export type ClaimedTask = {
  task: Task
  fence: number
  targetId: string
  targetVersion: number
  targetName: string
  mountId: string
  mountPath: string
  engine: string
  capabilities: Document | null
  /** What came of it the last time. */
  outcome: Document | null
}

/** Longer than any target takes; a worker that died is made up for after it. */
const CLAIM = `interval '15 minutes'`

const claiming = (due: string, mayTake: string): string => `
  with due as (${due}),
    claimed as (
      insert into leasehold.upkeep as u (target_id, task, next_action_at, claimed_by)
      select id, task, leasehold.ledger_now() + ${CLAIM}, $1 from due
      on conflict (target_id, task) do update
        set next_action_at = excluded.next_action_at, claimed_by = excluded.claimed_by, fence = u.fence + 1
        where ${mayTake}
      returning *)
  select c.task, c.fence, t.id as "targetId", t.version as "targetVersion", t.name as "targetName",
    m.id as "mountId", m.path as "mountPath", t.engine, t.capabilities, c.outcome
  from claimed c join leasehold.target t on t.id = c.target_id join leasehold.mount m on m.id = t.mount_id`

const IS_DUE = 'u.next_action_at <= leasehold.ledger_now()'

const CLAIM_DUE = claiming(
  `select t.id, k.task from leasehold.target t
   join leasehold.mount m on m.id = t.mount_id
   cross join unnest($2::text[]) as k (task)
   left join leasehold.upkeep u on u.target_id = t.id and u.task = k.task
   where t.removed_at is null and m.disabled_at is null
     and coalesce(u.next_action_at, t.created_at + $4 * interval '1 millisecond') <= leasehold.ledger_now()
   order by t.id, k.task limit $3`,
  IS_DUE,
)

/**
 * Of workers that come at once for the same target, one gets it: the others find it no longer due. The first time is
 * `firstMs` after the target was enrolled, when it was tried.
 */
export const claimDueTasks = (
  db: Db,
  { worker, firstMs, limit }: { worker: string; firstMs: number; limit: number },
): Promise<ClaimedTask[]> => manyLocking<ClaimedTask>(db, CLAIM_DUE, [worker, TASKS, limit, firstMs])

const CLAIM_NOW = claiming(
  `select t.id, $3::text as task from leasehold.target t where t.id = $2`,
  `u.claimed_by is null or ${IS_DUE}`,
)

/** Due or not; undefined while somebody has it in hand. */
export const claimTask = (
  db: Db,
  { worker, targetId, task }: { worker: string; targetId: string; task: Task },
): Promise<ClaimedTask | undefined> => one<ClaimedTask>(db, CLAIM_NOW, [worker, targetId, task])

/** Keeps what came of it, and when it is due again. */
export async function finishTask(
  db: Db,
  { targetId, task, fence }: ClaimedTask,
  { ok, outcome, nextMs }: { ok: boolean; outcome: Document; nextMs: number },
): Promise<void> {
  await db.query(
    `update leasehold.upkeep
     set claimed_by = null, outcome = $4, finished_at = leasehold.ledger_now(),
       succeeded_at = case when $5 then leasehold.ledger_now() else succeeded_at end,
       next_action_at = leasehold.ledger_now() + $6 * interval '1 millisecond'
     where target_id = $1 and task = $2 and fence = $3`,
    [targetId, task, fence, outcome, ok, nextMs],
  )
}

export type TaskRow = {
  task: Task
  running: boolean
  finishedAt: Date | null
  succeededAt: Date | null
  nextAt: Date
  outcome: Document | null
}

export const findTasks = (db: Db, targetId: string): Promise<TaskRow[]> =>
  many<TaskRow>(
    db,
    `select task, claimed_by is not null and next_action_at > leasehold.ledger_now() as running,
       finished_at as "finishedAt", succeeded_at as "succeededAt", next_action_at as "nextAt", outcome
     from leasehold.upkeep where target_id = $1`,
    [targetId],
  )

/** For the gauges: what came of each task of the targets there are. */
export type TaskGauge = {
  mount: string
  target: string
  task: Task
  /** Since it last succeeded; null: it never has. */
  ageSeconds: number | null
  outcome: Document
}

export const readTaskGauges = (db: Db): Promise<TaskGauge[]> =>
  many<TaskGauge>(
    db,
    `select m.path as mount, t.name as target, u.task, u.outcome,
       extract(epoch from leasehold.ledger_now() - u.succeeded_at)::double precision as "ageSeconds"
     from leasehold.upkeep u join leasehold.target t on t.id = u.target_id
     join leasehold.mount m on m.id = t.mount_id
     where u.outcome is not null and t.removed_at is null and m.disabled_at is null`,
  )

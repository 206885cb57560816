import type { AuditEvent, Detail } from '../audit/event.ts'
import { about, type Facts, onBehalfOf, partOfIt } from '../audit/request.ts'
import type { Db, Ledger } from '../ledger/db.ts'
import {
  findGrant,
  type Grant,
  type GrantPatch,
  insertGrant,
  moveGrant,
  type NewGrant,
  noteGrant,
} from '../ledger/grants.ts'
import { BrokerError } from '../lib/errors.ts'
import { type Actor, shownActor } from './actor.ts'
import { type Capacity, type GrantEvent, type GrantState, type Lane, rowOf, TERMINAL } from './states.ts'

/** Puts down, in the same transaction, who has to be told of what happened. */
export type Tell = (
  db: Db,
  told: { grant: Grant; event: GrantEvent; actor: Actor | null; detail: Readonly<Record<string, Detail>> },
) => Promise<unknown>

type RecordedMove = {
  /** As it was read: somebody who moved it since has won. */
  grant: Grant
  event: GrantEvent
  to: GrantState
  who: Capacity
  /** Null for a timer or a worker. */
  actor: Actor | null
  /** `nextActionAt` stays unless it is said; in a terminal state there is none. */
  set?: GrantPatch
  detail?: Readonly<Record<string, Detail>>
}

export type Moves = {
  /** The first of a grant's events; undefined when its idempotency key was used before. Throws as `record` does. */
  begin(
    db: Db,
    grant: NewGrant,
    move: Pick<RecordedMove, 'event' | 'set' | 'detail'> & { actor: Actor },
  ): Promise<Grant | undefined>
  /**
   * The one way a grant changes: inside its caller's transaction, together with its event, what is told of it and its
   * part in the audit log. Undefined when somebody else has moved the grant since it was read; one move a transaction.
   * Throws when the machine has no such row: whoever asks has to refuse before it comes to this.
   */
  record(db: Db, move: RecordedMove): Promise<Grant | undefined>
  /** Of what leaves a grant in its state and needs no row: its event, what is told of it and its part in the audit log. */
  note(db: Db, note: Pick<RecordedMove, 'grant' | 'event' | 'who' | 'actor' | 'detail'>): Promise<Grant>
  /** Runs `work` in a transaction of its own, as a timer or a worker of ours; its event is the move's. */
  byItself<T>(work: (db: Db) => Promise<T>): Promise<T>
  /** Does one of several moves of a transaction that is for something else; its event stands beside the other's. */
  asPart<T>(work: () => Promise<T>): Promise<T>
}

const eventOf = ({ details }: Facts): AuditEvent | undefined =>
  details && {
    type: 'system',
    what: { operation: `grant_${details.event}` },
    outcome: {},
    details,
  }

export function createMoves({ ledger, tell }: { ledger: Ledger; tell: Tell }): Moves {
  const done = async (
    db: Db,
    grant: Grant,
    from: string | null,
    { event, actor, detail }: Pick<Parameters<Tell>[1], 'event' | 'actor' | 'detail'>,
  ): Promise<Grant> => {
    await tell(db, { grant, event, actor, detail })
    about({
      details: {
        grant_id: grant.id,
        from,
        to: grant.state,
        event,
        lane: grant.lane,
        plan_hash: grant.planHash,
        ...(actor && provedBy(actor, grant.now)),
        ...detail,
      },
    })
    return grant
  }

  return {
    async begin(db, grant, { event, actor, set = {}, detail = {} }) {
      const to = grant.state as GrantState
      mustBeAllowed({ from: null, event, to, who: 'requester', lane: grant.lane as Lane })
      const made = await insertGrant(db, grant, set, { event, actor: shownActor(actor), detail })
      return made && done(db, made, null, { event, actor, detail })
    },
    async record(db, { grant, event, to, who, actor, set = {}, detail = {} }) {
      mustBeAllowed({ from: grant.state as GrantState, event, to, who, lane: grant.lane as Lane })
      const moved = await moveGrant(db, grant, {
        to,
        set: TERMINAL.has(to) ? { ...set, nextActionAt: null } : set,
        event,
        actor: actor && shownActor(actor),
        detail: { ...detail, who },
      })
      return moved && done(db, moved, grant.state, { event, actor, detail })
    },
    async note(db, { grant, event, who, actor, detail = {} }) {
      await noteGrant(db, grant.id, { event, actor: actor && shownActor(actor), detail: { ...detail, who } })
      const noted = await findGrant(db, grant.id)
      if (!noted) throw new Error(`grant ${grant.id} is gone`)
      return done(db, noted, noted.state, { event, actor, detail })
    },
    byItself: (work) =>
      onBehalfOf(
        {
          facts: {},
          once: true,
          closed: false,
          event: (_, facts) => eventOf(facts),
        },
        () => ledger.transaction(work),
      ),
    asPart: (work) => partOfIt(eventOf, work),
  }
}

/** How somebody had proved who they are, and how long ago. */
const provedBy = (
  { amr, auth_time }: Actor,
  now: Date,
): { amr: string[]; login_age_seconds: number | null } => ({
  amr: [...amr],
  login_age_seconds: auth_time === null ? null : Math.floor(now.getTime() / 1_000 - auth_time),
})

function mustBeAllowed(move: Parameters<typeof rowOf>[0]): void {
  if (rowOf(move)) return
  const { from, event, to, who } = move
  throw new Error(`no row lets ${who} take a grant from ${from} to ${to} by ${event}`)
}

/** Everything that comes too late, or to the wrong state, is told so. */
export const stateRefusal = ({ state, version }: Pick<Grant, 'state' | 'version'>): BrokerError =>
  new BrokerError('conflict', `the request is ${state}`, { data: { state, version } })

import type { Detail } from '../audit/event.ts'
import { about } from '../audit/request.ts'
import type { Db } from '../ledger/db.ts'
import { openGrantsOf } from '../ledger/grant-timers.ts'
import { endVotes } from '../ledger/grant-votes.ts'
import { findGrant, type Grant } from '../ledger/grants.ts'
import { BrokerError } from '../lib/errors.ts'
import { ACTION, INCIDENT_SYSTEM, partiesIn } from './access-actions.ts'
import type { AccessParts } from './access-parts.ts'
import { type Act, act, type GrantAction } from './actions.ts'
import type { Actor } from './actor.ts'
import { dated, nextLook, timesOf } from './clock.ts'
import { deciding, won } from './deciding.ts'
import type { Endings, GrantEnding } from './ending.ts'
import { asOneOf } from './parties.ts'
import type { Situation } from './situation.ts'
import { after } from './waiting.ts'

/** Every way in which people, or what is learnt of them, end an access. */
export type GivingUp = {
  /** Rows 18, 24 and 25: by its requester, or by any one approver, officer or owner. */
  end(ask: Act & { reason: string }): Promise<void>
  /** Row 18, by its requester while it is being activated. */
  cancel(ask: Act): Promise<void>
  /** Rows 11 and 27: at once before access, and within the policy's grace after. */
  incidentClosed(ask: Act & { reason: string }, options: { isIncidentSystem: boolean }): Promise<void>
  /** Rows 11, 18 and 27, of all that somebody asked for: they are no longer one of us. */
  requesterDisabled(actor: Actor, requesterId: string): Promise<string[]>
}

type Parts = AccessParts & { endings: Endings }

export function createGivingUp(parts: Parts): GivingUp {
  return {
    end: ({ reason, ...ask }) => ending(parts, ask, ACTION.end, (situation) => wayOut(situation, reason)),
    cancel: (ask) => ending(parts, ask, ACTION.cancel, (situation) => wayOut(situation, '')),
    incidentClosed: (ask, { isIncidentSystem }) => incidentClosed(parts, ask, isIncidentSystem),
    async requesterDisabled(actor, requesterId) {
      const ended = await deciding(parts.ledger, async (db) => {
        const found = await disableAll(db, parts, await openGrantsOf(db, requesterId), { actor })
        about({ details: { requester: requesterId, ended_requests: found.map(({ id }) => id) } })
        return found
      })
      for (const { wakeTargets } of ended) wakeTargets?.()
      for (const { id, wakeTargets } of ended) if (wakeTargets) await parts.endings.carryOut(id)
      return ended.map(({ id }) => id)
    },
  }
}

/** Begins the end in one transaction, and carries it out as far as it goes while its caller waits. */
async function ending(
  { ledger, endings }: Parts,
  ask: Act,
  action: GrantAction,
  how: (situation: Situation) => Omit<GrantEnding, 'grant' | 'actor'>,
): Promise<void> {
  await act(ledger, ask, action, async (db, situation) => {
    const { grant, actor } = situation
    won(await endings.begin(db, { ...how(situation), grant, actor }))
    return undefined
  })
  await endings.carryOut(ask.grantId)
}

function wayOut(situation: Situation, text: string): Omit<GrantEnding, 'grant' | 'actor'> {
  const parties = partiesIn(situation)
  const detail = text === '' ? {} : { comment: text }
  if (parties.has('requester')) {
    const isActivating = situation.grant.state === 'activating'
    return isActivating
      ? { event: 'cancel', who: 'requester', reason: 'cancelled', detail }
      : { event: 'return', who: 'requester', reason: 'returned', detail }
  }
  const who = asOneOf(parties, ['approver', 'officer', 'owner'])
  return { event: 'revoke', who, reason: 'revoked', detail }
}

async function incidentClosed(
  { ledger, moves, endings, wakeLook }: Parts,
  { reason, ...ask }: Act & { reason: string },
  isIncidentSystem: boolean,
): Promise<void> {
  const who = isIncidentSystem ? 'incident' : 'officer'
  let isEnding = false
  await act(
    ledger,
    ask,
    isIncidentSystem ? INCIDENT_SYSTEM : ACTION.incidentClosed,
    async (db, situation) => {
      const { grant, actor, policy } = situation
      const detail = reason === '' ? {} : { comment: reason }
      if (grant.state === 'pending' || grant.state === 'approved') {
        const because = 'the incident is closed'
        const set = { endReason: 'incident_closed' }
        won(
          await moves.record(db, {
            grant,
            event: 'void',
            to: 'voided',
            who,
            actor,
            set,
            detail: { ...detail, because },
          }),
        )
        await endVotes(db, { grantId: grant.id, round: 0, because })
        return undefined
      }
      if (timesOf(grant).incident_closes_at !== undefined) {
        throw new BrokerError('conflict', 'the incident is closed already')
      }
      const { incident_grace } = policy.spec
      if (incident_grace === 0) {
        won(
          await endings.begin(db, {
            grant,
            event: 'incident_closed',
            who,
            actor,
            reason: 'incident_closed',
            detail,
          }),
        )
        isEnding = true
        return undefined
      }
      const closesAt = after(grant.now, incident_grace).toISOString()
      const closing = { ...grant.detail, incident_closes_at: closesAt }
      const nextActionAt = nextLook({ ...grant, detail: closing })
      won(
        await moves.record(db, {
          grant,
          event: 'incident_closed',
          to: grant.state as 'active' | 'suspended',
          who,
          actor,
          set: { detail: closing, nextActionAt },
          detail: { ...detail, ends_at: closesAt },
        }),
      )
      wakeLook(dated(closesAt), grant.now)
      return undefined
    },
  )
  if (isEnding) await endings.carryOut(ask.grantId)
}

const BEFORE: ReadonlySet<string> = new Set(['pending', 'approved'])
const DURING: ReadonlySet<string> = new Set(['activating', 'active', 'suspended'])

type Disabling = { actor: Actor | null; told?: Readonly<Record<string, Detail>> }
type Disabled = { wakeTargets?: () => void }

/**
 * Rows 11, 18 and 27 for these grants of somebody who was disabled, in one transaction of its caller's, each move with an
 * event of its own. Answers those that there was something left of; `wakeTargets`, for after the commit, where there was
 * access. `told`: what is known of it besides.
 */
export async function disableAll(
  db: Db,
  parts: Pick<Parts, 'moves' | 'endings'>,
  ids: readonly string[],
  disabling: Disabling,
): Promise<(Disabled & { id: string })[]> {
  const disabled: (Disabled & { id: string })[] = []
  for (const id of ids) {
    const grant = await findGrant(db, id)
    const done = grant && (await parts.moves.asPart(() => disableOne(db, parts, grant, disabling)))
    if (done) disabled.push({ ...done, id })
  }
  return disabled
}

async function disableOne(
  db: Db,
  { moves, endings }: Pick<Parts, 'moves' | 'endings'>,
  grant: Grant,
  { actor, told = {} }: Disabling,
): Promise<Disabled | undefined> {
  const because = 'its requester was disabled'
  const by = { grant, who: 'identity', actor } as const
  if (BEFORE.has(grant.state)) {
    const set = { endReason: 'requester_disabled' }
    won(await moves.record(db, { ...by, event: 'void', to: 'voided', set, detail: { ...told, because } }))
    await endVotes(db, { grantId: grant.id, round: 0, because })
    return {}
  }
  if (!DURING.has(grant.state)) return undefined
  const reason = 'requester_disabled'
  return won(await endings.begin(db, { ...by, event: 'requester_disabled', reason, detail: told }))
}

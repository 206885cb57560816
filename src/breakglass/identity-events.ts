import type { Detail } from '../audit/event.ts'
import { about } from '../audit/request.ts'
import type { Db } from '../ledger/db.ts'
import type { SomePerson } from '../ledger/grant-reviews.ts'
import { findGrant } from '../ledger/grants.ts'
import {
  areDisabled,
  type DisabledPerson,
  disabledPeople,
  findDisabledPerson,
  grantsOfPerson,
  liftDisabled,
  lockPerson,
  putPersonWord,
  rememberSecurityEvent,
} from '../ledger/identity-events.ts'
import { type DoomedLease, doom } from '../ledger/lease-ending.ts'
import { markSignedOut } from '../ledger/people-logins.ts'
import { endTokensOfPerson } from '../ledger/token-ending.ts'
import { dropKeysOfPerson } from '../ledger/webauthn-keys.ts'
import { BrokerError } from '../lib/errors.ts'
import { newId } from '../lib/ids.ts'
import type { AccessParts } from './access-parts.ts'
import { deciding, won } from './deciding.ts'
import type { Endings } from './ending.ts'
import { disableAll } from './give-up.ts'
import { loseVotes } from './lost-votes.ts'
import { suspendIn } from './suspension.ts'

/** What an issuer says of somebody, proved to be its word. */
type PersonEvent = {
  /** By which it is known when it comes again. */
  id: string
  jti: string
  issuer: string
  mount: string
  issuedAt: Date
  forgetAt: Date
  types: readonly string[]
  subject: string
  /** Undefined where that is nobody whom we know: it is on record, and nothing comes of it. */
  whom: SomePerson | undefined
  effects: ReadonlySet<'disable' | 'enable' | 'sign_out' | 'suspend'>
}

export type IdentityEvents = {
  /**
   * Does all that comes of an event in one transaction, and once however often it comes: from its commit on the person
   * is out, what they asked for is ending or suspended, and their votes are gone. Workers carry it out.
   */
  take(event: PersonEvent): Promise<void>
  /** The newest first; no more than 1000. */
  disabled(): Promise<DisabledPerson[]>
  /** Lets somebody in again whose issuer does not say so itself. Throws 404. */
  lift(id: string): Promise<void>
}

type Parts = AccessParts & { endings: Endings }

const MOST_SHOWN = 1_000

export function createIdentityEvents(parts: Parts): IdentityEvents {
  const { ledger } = parts
  return {
    async take(event) {
      const { afterwards } = await deciding(ledger, (db) => takeIn(db, parts, event))
      for (const wake of afterwards) wake()
    },
    disabled: () => disabledPeople(ledger, MOST_SHOWN),
    lift: (id) =>
      ledger.transaction(async (db) => {
        const found = await findDisabledPerson(db, id)
        if (!found) throw new BrokerError('not_found', '')
        about({ details: { person: found.person, disabled_by: found.event } })
        await liftDisabled(db, found, newId)
      }),
  }
}

/** What there is to do after the commit, and what is told of it. */
type Done = { afterwards: (() => void)[]; did: Record<string, Detail> }

async function takeIn(db: Db, parts: Parts, event: PersonEvent): Promise<Done> {
  const done: Done = { afterwards: [], did: {} }
  const isNew = await rememberSecurityEvent(db, { id: event.id, expiresAt: event.forgetAt })
  if (isNew && event.whom && event.effects.size > 0) {
    await lockPerson(db, event.whom)
    await apply(db, parts, event, event.whom, done)
  }
  const known = event.whom !== undefined
  const { issuer, jti, types, subject } = event
  about({
    details: {
      ...{ issuer, jti, event_types: [...types], subject, subject_known: known, repeated: !isNew },
      ...done.did,
    },
  })
  return done
}

async function apply(db: Db, parts: Parts, event: PersonEvent, whom: SomePerson, done: Done): Promise<void> {
  const { effects } = event
  const told = { issuer: event.issuer, jti: event.jti, event_types: [...event.types] }
  // Of two words in one token the one that keeps somebody out is safe to believe.
  const disabled = effects.has('disable') && (await noteWord(db, event, whom, true))
  if (effects.has('enable') && !effects.has('disable')) {
    const isNews = await noteWord(db, event, whom, false)
    // Who was disabled by another mount is so still.
    done.did.enabled = isNews && !(await areDisabled(db, [whom]))[0]
  }
  if (effects.has('disable')) done.did.disabled = disabled
  if (disabled) await endWhatTheyAsked(db, parts, { whom, told, done })
  else if (effects.has('suspend')) await suspendWhatTheyHave(db, parts, { whom, told, done })
  if (!disabled && !effects.has('sign_out')) return
  const because = disabled ? 'the voter was disabled' : 'the sessions of the voter were revoked'
  done.did.lost_votes = await loseVotes(db, parts.moves, { whom, because, told })
  const ended = await endTokensOfPerson(db, whom)
  await markSignedOut(db, whom)
  // Whoever had their credential may have enrolled a key of their own, which outlives every token.
  if (disabled || effects.has('suspend')) done.did.security_keys_removed = await dropKeysOfPerson(db, whom)
  const outliving = disabled ? await doom(db, { outliving: whom }, 'token_ended') : []
  done.afterwards.push(() => wakeAll(parts, [...ended.targetIds, ...targetsOf(outliving)]))
  done.did.tokens_ended = ended.tokenIds.length
  done.did.leases_ending = ended.leases + outliving.length
}

/** False where a newer word is known, of its issuer or of an operator: one that comes late is no news. */
const noteWord = (
  db: Db,
  { types, jti, issuedAt, mount, forgetAt }: PersonEvent,
  whom: SomePerson,
  disabled: boolean,
): Promise<boolean> =>
  putPersonWord(
    db,
    whom,
    { disabled, event: types.join(' '), jti, saidAt: issuedAt, mount, expiresAt: forgetAt },
    newId,
  )

type Told = { whom: SomePerson; told: Readonly<Record<string, Detail>>; done: Done }

/** Rows 11, 18 and 27. */
async function endWhatTheyAsked(db: Db, parts: Parts, { whom, told, done }: Told): Promise<void> {
  const ids = await grantsOfPerson(db, whom, OPEN)
  const ended = await disableAll(db, parts, ids, { actor: null, told })
  for (const { wakeTargets } of ended) if (wakeTargets) done.afterwards.push(wakeTargets)
  done.did.ended_requests = ended.map(({ id }) => id)
}

/** Row 22. What is only being made is no access yet that could be suspended: making it fails. */
async function suspendWhatTheyHave(db: Db, parts: Parts, { whom, told, done }: Told): Promise<void> {
  const { moves, endings } = parts
  const suspended: string[] = []
  for (const id of await grantsOfPerson(db, whom, ['activating', 'active'])) {
    const grant = await findGrant(db, id)
    if (!grant) continue
    const detail = { ...told, because: 'its issuer warns of the requester' }
    const by = { grant, who: 'system', actor: null, detail } as const
    await moves.asPart(async () => {
      if (grant.state === 'active') {
        const doomed = await suspendIn(db, moves, by)
        done.afterwards.push(() => wakeAll(parts, targetsOf(doomed)))
        return
      }
      const failed = { event: 'activation_failed', reason: 'activation_failed' } as const
      done.afterwards.push(won(await endings.begin(db, { ...by, ...failed })).wakeTargets)
    })
    suspended.push(id)
  }
  done.did.suspended_requests = suspended
}

const targetsOf = (doomed: readonly DoomedLease[]): string[] => doomed.map(({ targetId }) => targetId)

const wakeAll = ({ wake }: Pick<Parts, 'wake'>, targetIds: readonly string[]): void => {
  for (const targetId of new Set(targetIds)) wake(targetId)
}

const OPEN = ['pending', 'approved', 'activating', 'active', 'suspended']

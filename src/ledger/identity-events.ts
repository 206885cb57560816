import { change, type Db, many, one } from './db.ts'
import type { SomePerson } from './grant-reviews.ts'

/** What issuers say of people by Security Event Tokens: which were taken, and who may not come in. */

/** Whether it is new. Of two at once with the same id one is, and the other waits to hear it. */
export async function rememberSecurityEvent(
  db: Db,
  { id, expiresAt }: { id: string; expiresAt: Date },
): Promise<boolean> {
  const rows = await change(
    db,
    `insert into leasehold.security_event (id, expires_at) values (decode($1, 'hex'), $2)
     on conflict (id) do nothing`,
    [id, expiresAt],
  )
  return rows > 0
}

const namesOf = ({ id, person }: SomePerson): string[] => [id, person].filter((name) => name !== '').sort()
const lockOf = (name: string): string => `person ${name}`

const LOCKING = { alone: 'pg_advisory_xact_lock', together: 'pg_advisory_xact_lock_shared' } as const

/** All in one order, whoever asks: two who want several of the same never wait for each other. */
const lockNames = (db: Db, names: readonly string[], how: keyof typeof LOCKING) =>
  db.query(
    `select ${LOCKING[how]}(s.lock)
     from (select distinct hashtextextended(name, 0) as lock from unnest($1::text[]) name order by 1) s`,
    [names.map(lockOf)],
  )

/** Until the end of the transaction nobody logs in as this person, and nobody else changes whether they may. */
export async function lockPerson(db: Db, whom: SomePerson): Promise<void> {
  await lockNames(db, namesOf(whom), 'alone')
}

/**
 * For each of them, whether they are disabled. Whoever is about to disable one of the others waits until the transaction
 * is over.
 */
export async function areDisabled(db: Db, people: readonly SomePerson[]): Promise<boolean[]> {
  const names = [...new Set(people.flatMap(namesOf))]
  if (names.length === 0) return people.map(() => false)
  // A statement of its own, before: one that had to wait would read what was there before it waited.
  await lockNames(db, names, 'together')
  const rows = await many<{ person: string }>(
    db,
    'select distinct person from leasehold.disabled_person where person = any($1) and disabled',
    [names],
  )
  const disabled = new Set(rows.map(({ person }) => person))
  return people.map((whom) => namesOf(whom).some((name) => disabled.has(name)))
}

/** An issuer's word on a person. `expiresAt`: how long it has to be kept once they may come in. */
type PersonWord = {
  disabled: boolean
  event: string
  jti: string
  saidAt: Date
  mount: string
  expiresAt: Date
}

/** Names under which somebody was disabled by the same event: an address may not tell by now who it was. */
async function disabledTogether(db: Db, names: readonly string[], mount: string): Promise<string[]> {
  const rows = await many<{ person: string }>(
    db,
    `select o.person from leasehold.disabled_person d
     join leasehold.disabled_person o on o.jti = d.jti and o.mount = d.mount and o.disabled
     where d.person = any($1) and d.mount = $2 and d.disabled`,
    [names, mount],
  )
  return [...new Set([...names, ...rows.map(({ person }) => person)])]
}

/**
 * The word of one mount, which leaves that of every other as it is. False where a newer one of the mount is known, or an
 * operator has let the person in since: that one stands. `newId` gives the id of one of whom nothing was said yet.
 */
export async function putPersonWord(
  db: Db,
  whom: SomePerson,
  word: PersonWord,
  newId: () => string,
): Promise<boolean> {
  const names = word.disabled ? namesOf(whom) : await disabledTogether(db, namesOf(whom), word.mount)
  const rows = await change(
    db,
    `insert into leasehold.disabled_person as d (id, person, disabled, event, jti, said_at, mount, expires_at)
     select id, person, $3, $4, $5, $6, $7, case when $3 then null else $8::timestamptz end
     from unnest($1::text[], $2::text[]) as w (id, person)
     where not exists (select from leasehold.disabled_person l
       where $3 and l.person = any($2) and l.mount = '${BY_OPERATOR}' and l.said_at > $6)
     on conflict (person, mount) do update set disabled = excluded.disabled, event = excluded.event,
       jti = excluded.jti, said_at = excluded.said_at, expires_at = excluded.expires_at,
       since = case when d.disabled and excluded.disabled then d.since else leasehold.ledger_now() end
     where d.said_at <= excluded.said_at`,
    [names.map(newId), names, word.disabled, word.event, word.jti, word.saidAt, word.mount, word.expiresAt],
  )
  return rows > 0
}

/** In place of a mount: no mount has an empty path. */
const BY_OPERATOR = ''

export type DisabledPerson = {
  id: string
  person: string
  event: string
  jti: string
  mount: string
  since: Date
}

const DISABLED = 'select id, person, event, jti, mount, since from leasehold.disabled_person where disabled'

/** The newest first. */
export const disabledPeople = (db: Db, limit: number): Promise<DisabledPerson[]> =>
  many<DisabledPerson>(db, `${DISABLED} order by since desc, id limit $1`, [limit])

export const findDisabledPerson = (db: Db, id: string): Promise<DisabledPerson | undefined> =>
  one<DisabledPerson>(db, `${DISABLED} and id = $1`, [id])

/**
 * Lets somebody in again, whichever mounts have disabled them, until an issuer says otherwise anew. What was said before
 * stays said: it may be somebody else who sends it again, to a mount that has not heard it.
 */
export async function liftDisabled(
  db: Db,
  { person, mount }: Pick<DisabledPerson, 'person' | 'mount'>,
  newId: () => string,
): Promise<void> {
  const names = (await disabledTogether(db, [person], mount)).sort()
  await lockNames(db, names, 'alone')
  await change(db, 'delete from leasehold.disabled_person where person = any($1) and disabled', [names])
  // Issuers tell the time in seconds; and nothing that is older than a week is taken of them.
  await change(
    db,
    `insert into leasehold.disabled_person (id, person, disabled, event, jti, said_at, mount, expires_at)
     select id, person, false, '', '', date_trunc('second', leasehold.ledger_now()), '${BY_OPERATOR}',
       leasehold.ledger_now() + interval '8 days'
     from unnest($1::text[], $2::text[]) as w (id, person)
     on conflict (person, mount) do update set said_at = excluded.said_at, expires_at = excluded.expires_at`,
    [names.map(newId), names],
  )
}

/**
 * The entity of a subject of a mount, and who that is by its newest login of the issuer's, ended ones of people too. Of a
 * login of another issuer it does not tell who that is: they are not this one's to speak of.
 */
export const personOfSubject = (
  db: Db,
  { mountId, claim, subject, issuer }: { mountId: string; claim: string; subject: string; issuer: string },
): Promise<SomePerson | undefined> =>
  one<SomePerson>(
    db,
    `select e.id, coalesce(n.iss || '#' || n.sub, '') as person
     from leasehold.entity e left join lateral (
       select t.identity -> 'claims' ->> 'iss' as iss, t.identity -> 'claims' ->> 'sub' as sub
       from (
         select k.identity, k.issued_at from leasehold.token k
         where k.entity_id = e.id and k.ended_at is null
         union all
         select k.identity, k.issued_at from leasehold.token k
         where k.entity_id = e.id and k.parent_id is null and k.identity ->> 'kind' = 'human') t
       where t.identity -> 'claims' ->> 'iss' = $4
       order by t.issued_at desc limit 1) n on true
     where e.mount_id = $1 and e.claim = $2 and e.subject = $3`,
    [mountId, claim, subject, issuer],
  )

/** Of a column that holds somebody as they were when they acted. */
const isOf = (id: string, actor: string): string =>
  `(${id} = $1 or ($2 <> '' and ${actor} ->> 'person' = $2))`

/** Grants that somebody asked for, in any of these states, the oldest first. */
export async function grantsOfPerson(
  db: Db,
  { id, person }: SomePerson,
  states: readonly string[],
): Promise<string[]> {
  const rows = await many<{ id: string }>(
    db,
    `select g.id from leasehold.access_grant g
     where g.state = any($3) and ${isOf('g.requester_id', 'g.requester')} order by g.requested_at, g.id`,
    [id, person, states],
  )
  return rows.map((row) => row.id)
}

/** Grants, in any of these states, on which a vote of somebody stands. */
export async function grantsVotedOn(
  db: Db,
  { id, person }: SomePerson,
  states: readonly string[],
): Promise<string[]> {
  const rows = await many<{ id: string }>(
    db,
    `select distinct g.id from leasehold.access_grant g
     join leasehold.grant_vote v on v.grant_id = g.id and v.ended_at is null
     where g.state = any($3) and ${isOf('v.voter_id', 'v.voter')} order by g.id`,
    [id, person, states],
  )
  return rows.map((row) => row.id)
}

import type { Facts, Session } from './connections.ts'
import { isServerError, isStatementFault } from './errors.ts'
import { many } from './isolate.ts'
import { actAs, spreads } from './makers.ts'
import { identifier, literal, nameArray } from './sql.ts'
import type { Target } from './target.ts'

/** Each statement of a creator reads all that it has made. */
const ROOM = 150
/** So many accounts a session makes as one creator before it looks for another, or for one at all. */
const TURN = 50
const TRIES = 3
const MAX_NAME_BYTES = 63
const DUPLICATE_OBJECT = '42710'

type Creator = { name: string; ours: boolean; full: boolean }

/**
 * Has the session act as one of our creator roles, one with room left, made when there is none: `NOLOGIN CREATEROLE`, and
 * nobody but the admin account may become it. Where that may not be, it goes on as the admin account. Outside of any
 * transaction; for `count` accounts.
 */
export async function actAsCreator(
  session: Session,
  facts: Facts,
  { creatorRoles }: Target,
  count: number,
): Promise<void> {
  if (!spreads(facts) || facts.functions || creatorRoles === 0) return actAs(session, facts, null)
  if ((facts.acting?.left ?? 0) <= 0) {
    await actAs(session, facts, null)
    const name = await chooseCreator(session, facts, creatorRoles)
    await actAs(session, facts, name ?? null)
    facts.acting = { name: name ?? facts.admin, left: TURN }
  }
  if (facts.acting) facts.acting.left -= count
}

/** The creator that the session acts as, if it does. */
export const creatorOf = ({ acting, admin }: Facts): string | undefined =>
  acting && acting.name !== admin ? acting.name : undefined

async function chooseCreator(session: Session, facts: Facts, most: number): Promise<string | undefined> {
  for (let tries = 0; tries < TRIES; tries += 1) {
    const known = (await session.query(creatorsQuery(facts, most))).rows as Creator[]
    const ours = known.filter((creator) => creator.ours)
    const free = namesFor(facts, most).find((name) => known.every((creator) => creator.name !== name))
    const choice = anyOf(ours.filter(({ full }) => !full)) ?? (free === undefined ? anyOf(ours) : undefined)
    if (choice) return choice.name
    if (free === undefined) return undefined
    const made = await makeCreator(session, facts, free)
    if (made === 'made') return free
    if (made === 'refused') return anyOf(ours)?.name
  }
  return undefined
}

const anyOf = <Item>(items: readonly Item[]): Item | undefined =>
  items[Math.floor(Math.random() * items.length)]

const namesFor = ({ admin }: Facts, most: number): string[] =>
  Array.from({ length: most }, (_, i) => {
    const name = Buffer.from(`leasehold_creator_${i + 1}_${admin}`)
      .subarray(0, MAX_NAME_BYTES)
      .toString()
    return name.replace(/\ufffd$/, '')
  })

/**
 * Ours is one that we hold and nobody else is in: of a role that another admin made for us to find, that other would end
 * and open again what we make.
 */
const creatorsQuery = (facts: Facts, most: number): string => `
  SELECT c.rolname AS name,
         c.rolcreaterole AND NOT c.rolcanlogin AND NOT c.rolsuper
           AND coalesce((SELECT bool_or(k.admin_option) AND bool_or(k.set_option) AND bool_and(r.rolname = ${literal(facts.admin)})
                         FROM pg_auth_members k JOIN pg_roles r ON r.oid = k.member WHERE k.roleid = c.oid), false) AS ours,
         (SELECT count(*) FROM (SELECT FROM pg_auth_members m WHERE m.member = c.oid LIMIT ${ROOM}) AS made) >= ${ROOM} AS full
  FROM pg_roles c WHERE c.rolname = ANY (${nameArray(namesFor(facts, most))})`

/** For a transaction. What it makes is not to come with more than the right to take it. */
export const makeCreatorText = ({ admin }: Facts, name: string): string =>
  `CREATE ROLE ${identifier(name)} NOLOGIN CREATEROLE;
   GRANT ${identifier(name)} TO ${identifier(admin)} WITH INHERIT FALSE, SET TRUE;
   COMMENT ON ROLE ${identifier(name)} IS ${literal(`leasehold: makes accounts for ${admin}`)}`

async function makeCreator(
  session: Session,
  facts: Facts,
  name: string,
): Promise<'made' | 'taken' | 'refused'> {
  try {
    await many(session, `BEGIN; ${makeCreatorText(facts, name)}; COMMIT`)
    return 'made'
  } catch (error) {
    if (!isStatementFault(error)) throw error
    await session.query('ROLLBACK')
    // Another session may have been faster.
    return isServerError(error) && error.code === DUPLICATE_OBJECT ? 'taken' : 'refused'
  }
}

/** Lets a creator give groups, as the admin account may; where that one may not, the creator may not either. */
export async function lendGroups(
  session: Session,
  { admin }: Facts,
  creator: string,
  groups: readonly string[],
): Promise<void> {
  for (const group of groups) {
    try {
      await many(
        session,
        `BEGIN; SET LOCAL ROLE ${identifier(admin)};
         GRANT ${identifier(group)} TO ${identifier(creator)} WITH ADMIN TRUE, INHERIT FALSE, SET FALSE; COMMIT`,
      )
    } catch (error) {
      if (!isStatementFault(error)) throw error
      await session.query('ROLLBACK')
    }
  }
}

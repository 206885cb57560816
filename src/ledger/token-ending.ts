import { change, type Db, type Ledger, many } from './db.ts'
import type { SomePerson } from './grant-reviews.ts'
import { doom } from './lease-ending.ts'
import { tokensByKeysOf } from './webauthn-keys.ts'

/** What ended, and what is to end with it. */
export type TokensEnded = {
  tokenIds: string[]
  /** Of those tokens that have one. */
  accessors: string[]
  /** How many leases end with them, and on which targets. */
  leases: number
  targetIds: string[]
}

/** The principal by whom tokens are ended, where that is somebody and not time or their own last use. */
type EndedBy = { by?: string | undefined }

/** Ends tokens, all below them, and every lease they made, in one transaction. */
export const endTokens = (ledger: Ledger, ids: string[], by: EndedBy = {}): Promise<TokensEnded> =>
  ledger.transaction((db) => endTrees(db, ids, by))

/** The same for at most `limit` tokens whose time is over. Tokens that another sweep has in hand are left to it. */
export const endExpired = (ledger: Ledger, limit: number): Promise<TokensEnded> =>
  ledger.transaction(async (db) => {
    const expired = await many<{ id: string }>(
      db,
      `select encode(id, 'hex') as id from leasehold.token
         where ended_at is null and expires_at <= leasehold.ledger_now()
         order by expires_at limit $1 for update skip locked`,
      [limit],
    )
    return endTrees(
      db,
      expired.map(({ id }) => id),
    )
  })

/** Ends every token that logins through a mount have led to, with all below them. */
export async function endTokensOfMount(db: Db, mountId: string): Promise<TokensEnded> {
  const tokens = await many<{ id: string }>(
    db,
    `select encode(k.id, 'hex') as id from leasehold.entity e
     join leasehold.token k on k.entity_id = e.id and k.ended_at is null where e.mount_id = $1`,
    [mountId],
  )
  const ids = [...tokens.map(({ id }) => id), ...(await tokensByKeysOf(db, mountId))]
  return endTrees(db, [...new Set(ids)])
}

/**
 * Ends every token by which somebody comes in, by whichever mount and under whichever token it was made. Run it in a
 * transaction, in which nobody can log in as them.
 */
export const endTokensOfPerson = (db: Db, { id, person }: SomePerson): Promise<TokensEnded> =>
  endAllFound(db, async () => {
    const tokens = await many<{ id: string }>(
      db,
      `select encode(k.id, 'hex') as id from leasehold.token k
       where k.entity_id = $1 and k.ended_at is null
       union
       select encode(k.id, 'hex') from leasehold.token k
       where ${PERSON_HASH} = hashtextextended($2, 0) and k.ended_at is null and k.identity is not null and $2 <> ''
         and (k.identity -> 'claims' ->> 'iss') || '#' || (k.identity -> 'claims' ->> 'sub') = $2`,
      [id, person],
    )
    return tokens.map((token) => token.id)
  })

/** Ends what `find` finds of live tokens, against the will of whoever has them, until it finds none. */
export async function endAllFound(db: Db, find: () => Promise<string[]>): Promise<TokensEnded> {
  const ended: TokensEnded[] = []
  for (;;) {
    const ids = await find()
    // Once more: somebody may have been making an orphan under one of them, and can make none any more.
    if (ids.length === 0) return allOf(ended)
    ended.push(await endTrees(db, ids, { by: '' }))
  }
}

/** As the index on it has it. */
const PERSON_HASH = `hashtextextended((k.identity -> 'claims' ->> 'iss') || '#' || (k.identity -> 'claims' ->> 'sub'), 0)`

const allOf = (ended: readonly TokensEnded[]): TokensEnded => ({
  tokenIds: ended.flatMap(({ tokenIds }) => tokenIds),
  accessors: ended.flatMap(({ accessors }) => accessors),
  leases: ended.reduce((sum, { leases }) => sum + leases, 0),
  targetIds: [...new Set(ended.flatMap(({ targetIds }) => targetIds))],
})

/** Of these accessors, those whose tokens somebody else has ended than whom they were for. */
export async function revokedAmong(db: Db, accessors: readonly string[]): Promise<string[]> {
  const rows = await many<{ accessor: string }>(
    db,
    'select accessor from leasehold.token where accessor = any($1) and revoked',
    [accessors],
  )
  return rows.map(({ accessor }) => accessor)
}

/** Ends one token and its leases; the tokens below it live on as orphans. */
export const endAndOrphan = (ledger: Ledger, id: string, by: EndedBy = {}): Promise<TokensEnded> =>
  ledger.transaction(async (db) => {
    const ids = await lockUnended(db, 'id', [id])
    await change(
      db,
      `update leasehold.token set parent_id = null where parent_id = decode($1, 'hex') and ended_at is null`,
      [id],
    )
    return markEnded(db, ids, by)
  })

/** Run it in a transaction, which is run again when two trees meet in the middle. */
export async function endTrees(db: Db, ids: string[], by: EndedBy = {}): Promise<TokensEnded> {
  const doomed = new Set<string>()
  // Level by level, each locked before the next is read: a token locked here gets no more children, so the
  // statement that reads the next level sees every child there will ever be.
  let level = await lockUnended(db, 'id', ids)
  while (level.length > 0) {
    for (const id of level) doomed.add(id)
    level = (await lockUnended(db, 'parent_id', level)).filter((id) => !doomed.has(id))
  }
  return markEnded(db, [...doomed], by)
}

async function lockUnended(db: Db, column: 'id' | 'parent_id', ids: string[]): Promise<string[]> {
  if (ids.length === 0) return []
  const rows = await many<{ id: string }>(
    db,
    `select encode(id, 'hex') as id from leasehold.token
     where ${column} in (select decode(h, 'hex') from unnest($1::text[]) h) and ended_at is null
     order by leasehold.token.id for update`,
    [ids],
  )
  return rows.map(({ id }) => id)
}

async function markEnded(db: Db, tokenIds: string[], { by }: EndedBy): Promise<TokensEnded> {
  if (tokenIds.length === 0) return { tokenIds, accessors: [], leases: 0, targetIds: [] }
  const rows = await many<{ accessor: string | null }>(
    db,
    `update leasehold.token set ended_at = leasehold.ledger_now(),
       revoked = $2::text is not null and $2 is distinct from entity_id
     where id in (select decode(h, 'hex') from unnest($1::text[]) h)
     returning accessor`,
    [tokenIds, by ?? null],
  )
  const leases = await doom(db, { tokenIds }, 'token_ended')
  return {
    tokenIds,
    accessors: rows.flatMap(({ accessor }) => accessor ?? []),
    leases: leases.length,
    targetIds: [...new Set(leases.map(({ targetId }) => targetId))],
  }
}

import { change, type Db, many, one } from './db.ts'

/** A browser that is signed in to the console. `id` is the SHA-256 of its cookie, in hex. */
export type ConsoleSessionRow = {
  id: string
  tokenId: string
  /** The token and how it was come by; opened with the cookie alone. */
  sealed: Buffer
  expiresAt: Date
}

/** Lasts `seconds` at most, and no longer than its token may; answers when it ends. Undefined: the token is over. */
export async function insertConsoleSession(
  db: Db,
  { id, tokenId, sealed, seconds }: Omit<ConsoleSessionRow, 'expiresAt'> & { seconds: number },
): Promise<Date | undefined> {
  const row = await one<{ expiresAt: Date }>(
    db,
    `insert into leasehold.console_session (id, token_id, sealed, created_at, expires_at)
     select decode($1, 'hex'), k.id, $3, leasehold.ledger_now(),
       least(leasehold.ledger_now() + $4::integer * interval '1 second', k.hard_expires_at)
     from leasehold.token k
     where k.id = decode($2, 'hex') and k.ended_at is null
       and (k.expires_at is null or k.expires_at > leasehold.ledger_now())
     returning expires_at as "expiresAt"`,
    [id, tokenId, sealed, seconds],
  )
  return row?.expiresAt
}

export const findConsoleSession = (db: Db, id: string): Promise<ConsoleSessionRow | undefined> =>
  one<ConsoleSessionRow>(
    db,
    `select encode(id, 'hex') as id, encode(token_id, 'hex') as "tokenId", sealed, expires_at as "expiresAt"
     from leasehold.console_session where id = decode($1, 'hex') and expires_at > leasehold.ledger_now()`,
    [id],
  )

export const dropConsoleSession = (db: Db, id: string): Promise<number> =>
  change(db, `delete from leasehold.console_session where id = decode($1, 'hex')`, [id])

/** Which of these are neither over nor signed out, and whose token lives. */
export async function liveConsoleSessions(db: Db, ids: readonly string[]): Promise<Set<string>> {
  const rows = await many<{ id: string }>(
    db,
    `select encode(s.id, 'hex') as id
     from unnest($1::text[]) as a (id)
     join leasehold.console_session s on s.id = decode(a.id, 'hex')
     join leasehold.token k on k.id = s.token_id
     where s.expires_at > leasehold.ledger_now() and k.ended_at is null
       and (k.expires_at is null or k.expires_at > leasehold.ledger_now())`,
    [ids],
  )
  return new Set(rows.map(({ id }) => id))
}

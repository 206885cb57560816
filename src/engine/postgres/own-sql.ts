import type pg from 'pg'
import { EngineError } from '../engine.ts'
import type { Statement } from '../sql-token.ts'
import { type Facts, SAFE_SEARCH_PATH, type Session } from './connections.ts'
import { many } from './isolate.ts'
import { render, type SlotValues } from './statements.ts'

/** By the extended protocol, where the server itself refuses a text of several statements, should our lexer be wrong. */
const alone = (text: string): pg.QueryConfig & { queryMode: 'extended' } => ({ text, queryMode: 'extended' })

/** Runs statements we did not write, under the search path they were written for, and checks who we are after. */
export async function runOwnSql(
  session: Session,
  { admin }: Facts,
  statements: readonly Statement[],
  values: SlotValues,
): Promise<void> {
  await session.query('SET LOCAL search_path TO DEFAULT')
  for (const statement of statements) await session.query(alone(render(statement, values)))
  const results = await many(
    session,
    `SET LOCAL search_path = ${SAFE_SEARCH_PATH}; SELECT current_user AS effective, session_user AS login`,
  )
  const who = results.at(-1)?.rows[0]
  if (who.effective !== admin || who.login !== admin) {
    throw new EngineError('failed', 'they changed the role of our session')
  }
}

import type { Connection } from 'mysql2/promise'

// biome-ignore lint/suspicious/noExplicitAny: a row has what its query asks for
export type Row = Record<string, any>

/** One connection at work. Rows are empty for statements that answer none. */
export type Session = {
  /** One statement. */
  run(statement: string): Promise<Row[]>
  /** Several, in one round trip unless the connection takes them one at a time; the first that fails is the last. */
  many(statements: readonly string[]): Promise<Row[][]>
}

/** Above what the server gives a statement, for servers that no longer answer at all. */
const ANSWER_TIMEOUT_MS = 40_000

export function sessionOn(connection: Connection, oneAtATime: boolean): Session {
  const ask = async (sql: string): Promise<unknown> =>
    (await connection.query({ sql, timeout: ANSWER_TIMEOUT_MS }))[0]
  const run = async (statement: string): Promise<Row[]> => rowsOf(await ask(statement))
  return {
    run,
    async many(statements) {
      if (oneAtATime || statements.length < 2) {
        const answers: Row[][] = []
        for (const statement of statements) answers.push(await run(statement))
        return answers
      }
      const answer = await ask(statements.join('; '))
      return (answer as unknown[]).map(rowsOf)
    },
  }
}

const rowsOf = (answer: unknown): Row[] => (Array.isArray(answer) ? (answer as Row[]) : [])

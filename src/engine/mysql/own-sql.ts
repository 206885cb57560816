import { EngineError } from '../engine.ts'
import type { Statement } from '../sql-token.ts'
import { toEngineError } from './errors.ts'
import { type HashPlugin, hashFor, nativeHash } from './hash.ts'
import type { Dialect } from './server.ts'
import type { Session } from './session.ts'
import { type PasswordForms, render, type SlotValues } from './statements.ts'

/**
 * Runs statements we did not write, each alone: the session was opened so that the server itself refuses a text of
 * several, should our lexer be wrong.
 */
export async function runOwnSql(
  session: Session,
  statements: readonly Statement[],
  values: SlotValues,
): Promise<void> {
  for (const statement of statements) {
    const text = render(statement, values)
    try {
      await session.run(text)
    } catch (error) {
      throw withoutPassword(error, values.password?.plain)
    }
  }
}

/** Servers quote what they do not understand, cut off anywhere: less of a password than this tells nothing. */
const TELLING_LENGTH = 6

function withoutPassword(error: unknown, plain: string | undefined): unknown {
  if (plain === undefined) return error
  const { kind, message } = toEngineError(error)
  for (let length = plain.length; length >= Math.min(TELLING_LENGTH, plain.length); length -= 1) {
    const start = plain.slice(0, length)
    if (start !== '' && message.includes(start)) {
      return new EngineError(kind, message.replaceAll(start, '[password]'))
    }
  }
  return error
}

export async function passwordForms(plain: string, dialect: Dialect): Promise<PasswordForms> {
  const hashes: Partial<Record<HashPlugin, string>> = {
    mysql_native_password: nativeHash(plain),
    [dialect.plugin]: await hashFor(dialect.plugin, plain),
  }
  return { plain, hashes, identified: (plugin) => dialect.identified(hashes, plugin) }
}

import { escapeIdentifier, escapeLiteral } from 'pg'
import { EngineError } from '../engine.ts'
import {
  checkedStatements,
  checkSlots,
  fillSlots,
  leadingWords,
  SqlSyntaxError,
  type Statement,
  type Token,
} from '../sql-token.ts'
import { splitStatements, tokenize } from './sql-lexer.ts'

/**
 * A role's own SQL. It is refused when the role is written if it could not run safely, and its slots are filled so
 * that no value can leave its place: every value is held to an alphabet in which no SQL quoting, comment or
 * dollar quote can be opened or closed, at any depth of nesting. A bare slot is quoted as well.
 */

export type SlotValues = {
  name: string
  /** A SCRAM verifier; the plain password never reaches the target. */
  verifier?: string
  /** In the dialect's layout, `2006-01-02 15:04:05-0700`. */
  expiration?: string
}

const SLOT_KINDS: Record<string, keyof SlotValues> = {
  name: 'name',
  username: 'name',
  password: 'verifier',
  expiration: 'expiration',
}

const ALPHABETS: Record<keyof SlotValues, RegExp> = {
  // No `--`: in a string that is executed later it would start a comment.
  name: /^(?!-|.*--|.*-$)[A-Za-z0-9_.@-]{1,63}$/,
  verifier: /^SCRAM-SHA-256\$\d+:[A-Za-z0-9+/=]+\$[A-Za-z0-9+/=]+:[A-Za-z0-9+/=]+$/,
  expiration: /^\d{4,6}-\d\d-\d\d \d\d:\d\d:\d\d[+-]\d{4}$/,
}

export const nameFitsSlots = (name: string): boolean => ALPHABETS.name.test(name)

/** Checks a field of statements as written by a user, and throws a `BrokerError` that names it. */
export const checkStatements = (field: string, sources: readonly string[]): Statement[] =>
  checkedStatements(
    field,
    () => parseStatements(sources),
    (statement) => {
      checkSlots(statement, (slot) => Object.hasOwn(SLOT_KINDS, slot), JOINS_A_SLOT)
      refuseSessionControl(statement)
    },
  )

export const parseStatements = (sources: readonly string[]): Statement[] =>
  sources.flatMap((source) => splitStatements(tokenize(source)))

/** `E{{password}}` would become another kind of string. */
const JOINS_A_SLOT = /[\w$"'&]/

const TRANSACTION_WORDS = new Set(
  'BEGIN START COMMIT END ROLLBACK ABORT SAVEPOINT RELEASE DISCARD'.split(' '),
)

/** What guards the transaction a role's own SQL runs in; changing it would take the guard away. */
const GUARDS = new Set(
  `ROLE SESSION SESSION_AUTHORIZATION TRANSACTION CONSTRAINTS ALL STATEMENT_TIMEOUT LOCK_TIMEOUT
   TRANSACTION_TIMEOUT IDLE_IN_TRANSACTION_SESSION_TIMEOUT STANDARD_CONFORMING_STRINGS`.split(/\s+/),
)

function refuseSessionControl(statement: Statement): void {
  const [head = '', second = '', third = ''] = leadingWords(statement, 3)
  if (TRANSACTION_WORDS.has(head) || (head === 'PREPARE' && second === 'TRANSACTION')) {
    throw new SqlSyntaxError(`${head} is not allowed: the statements run in a transaction of ours`)
  }
  if (head !== 'SET' && head !== 'RESET') return
  const setting = second === 'LOCAL' ? third : second
  if (GUARDS.has(setting)) throw new SqlSyntaxError(`${head} ${setting} is not allowed`)
}

const GRANTS_OBJECTS = /\bgrant\b[^;]*\bon\b[^;]*\bto\b[^;]*\{\{\s*(?:name|username)\s*\}\}/i

/** Whether a statement gives the account rights on objects of its own, which each object's ACL then lists. */
export const grantsObjects = (statements: readonly Statement[]): boolean =>
  statements.some((statement) =>
    GRANTS_OBJECTS.test(statement.map(({ kind, text }) => (kind === 'blank' ? ' ' : text)).join('')),
  )

/** The statement with its slots filled. Throws rather than let a value through that could leave its slot. */
export function render(statement: Statement, values: SlotValues): string {
  return statement.map((token) => renderToken(token, values)).join('')
}

function renderToken(token: Token, values: SlotValues): string {
  // Comments stay as they are, so a slot in one need not be known.
  if (token.kind === 'blank') return token.text
  return fillSlots(token.text, (slot) => {
    const kind = SLOT_KINDS[slot]
    const value = kind && values[kind]
    if (!kind || value === undefined) {
      throw new EngineError('failed', `the slot {{${slot}}} has no value in this statement`)
    }
    if (!ALPHABETS[kind].test(value)) {
      throw new EngineError(
        'failed',
        `the value for the slot {{${slot}}} holds characters that are not allowed`,
      )
    }
    if (token.kind !== 'slot') return value
    return kind === 'name' ? escapeIdentifier(value) : escapeLiteral(value)
  })
}

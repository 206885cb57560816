import { BrokerError } from '../lib/errors.ts'

/** What the lexers of all SQL dialects have in common; where tokens begin and end is each dialect's own. */

export type TokenKind = 'blank' | 'word' | 'name' | 'string' | 'coded' | 'body' | 'slot' | 'mark'

/**
 * blank: white space or a comment. word: a keyword, a bare name or a number. name: a quoted name. string: a quoted
 * text. coded: a text whose content has rules of its own, such as bits. body: $$…$$. slot: a bare {{…}}.
 */
export type Token = { kind: TokenKind; text: string }

export type Statement = readonly Token[]

export class SqlSyntaxError extends Error {
  constructor(message: string) {
    super(message)
    this.name = 'SqlSyntaxError'
  }
}

export const SLOT = /\{\{\s*([A-Za-z_]\w*)\s*\}\}/

export const slotsIn = (text: string): string[] =>
  [...text.matchAll(new RegExp(SLOT, 'g'))].map(([, slot]) => slot as string)

/** The text with its slots filled by what `fill` answers. */
export const fillSlots = (text: string, fill: (slot: string) => string): string =>
  text.replace(new RegExp(SLOT, 'g'), (_, slot: string) => fill(slot))

/** The whole text in tokens, of which `next` answers the one that begins at a place. */
export function tokensOf(sql: string, next: (sql: string, at: number) => Token): Token[] {
  const tokens: Token[] = []
  let at = 0
  while (at < sql.length) {
    const token = next(sql, at)
    tokens.push(token)
    at += token.text.length
  }
  return tokens
}

/** Statements of a field, each of them checked; what is wrong with one throws a `BrokerError` that names the field. */
export function checkedStatements(
  field: string,
  parse: () => Statement[],
  check: (statement: Statement) => void,
): Statement[] {
  try {
    const statements = parse()
    statements.forEach(check)
    return statements
  } catch (error) {
    if (!(error instanceof SqlSyntaxError)) throw error
    throw new BrokerError('invalid_request', `${field}: ${error.message}`)
  }
}

/** Whether one of these slots stands anywhere but in a comment. */
export const usesSlot = (statements: readonly Statement[], slots: readonly string[]): boolean =>
  statements.some((statement) =>
    statement.some(
      ({ kind, text }) => kind !== 'blank' && slotsIn(text).some((slot) => slots.includes(slot)),
    ),
  )

/** Slots must be known, and bare ones stand apart: `app_{{name}}` would become two tokens. */
export function checkSlots(statement: Statement, known: (slot: string) => boolean, marks: RegExp): void {
  statement.forEach((token, i) => {
    if (token.kind === 'blank') return
    for (const slot of slotsIn(token.text)) {
      if (!known(slot)) throw new SqlSyntaxError(`the slot {{${slot}}} is not known`)
      if (token.kind === 'coded') {
        throw new SqlSyntaxError(`the slot {{${slot}}} cannot stand in a U&, B or X string`)
      }
    }
    if (token.kind !== 'slot') return
    const beside = [statement[i - 1], statement[i + 1]]
    const touches = (other: Statement[number] | undefined): boolean =>
      other !== undefined && other.kind !== 'blank' && (other.kind === 'slot' || marks.test(other.text))
    if (beside.some(touches)) {
      throw new SqlSyntaxError(
        `the slot ${token.text} must stand apart from what is beside it, or inside quotes`,
      )
    }
  })
}

/** The first words in capitals, quoted ones too: `SET "role" TO x` sets the role as well. */
export const leadingWords = (statement: Statement, count: number): string[] =>
  statement
    .filter(({ kind }) => kind !== 'blank')
    .slice(0, count)
    .map(({ kind, text }) => (kind === 'name' ? text.slice(1, -1) : text).toUpperCase())

/** Statements cut at every `;` in bare SQL; pieces that hold nothing are left out. */
export function splitAtSemicolons(
  tokens: readonly Token[],
  isInside: (token: Token, before: readonly Token[]) => boolean = () => false,
): Token[][] {
  const statements: Token[][] = []
  let current: Token[] = []
  for (const token of tokens) {
    const inside = isInside(token, current)
    if (token.kind === 'mark' && token.text === ';' && !inside) {
      statements.push(current)
      current = []
    } else current.push(token)
  }
  statements.push(current)
  return statements.filter((statement) => statement.some(({ kind }) => kind !== 'blank'))
}

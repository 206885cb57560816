import { SLOT, SqlSyntaxError, type Token, type TokenKind, tokensOf } from '../sql-token.ts'

/**
 * Cuts the SQL of MySQL and MariaDB into tokens, far enough to know what is a text, a quoted name, a comment or bare
 * SQL. Read as with the `sql_mode` that our sessions set: backslashes escape, and `"` quotes text.
 */

const LETTER = 'A-Za-z_$\\u0080-\\uffff'

const SHAPES: readonly (readonly [TokenKind, RegExp])[] = [
  // Two dashes begin a comment only with a blank or a control character behind them; elsewhere they are two signs.
  // Blanks are those of ASCII, and of the two ends of a line only one ends a comment.
  ['blank', /[ \t-\r]+|#[^\n]*|--(?=[\0- \x7f]|$)[^\n]*/y],
  ['coded', /[bBxX]'[^']*'/y],
  ['string', /[nN]?'[^'\\]*(?:(?:''|\\[\s\S])[^'\\]*)*'|"[^"\\]*(?:(?:""|\\[\s\S])[^"\\]*)*"/y],
  ['name', /`[^`]*(?:``[^`]*)*`/y],
  ['slot', new RegExp(SLOT, 'y')],
  ['word', new RegExp(`[${LETTER}0-9]+`, 'y')],
]

const OPENS_QUOTE = /^(?:[bBxXnN]?'|"|`)/

export const tokenize = (sql: string): Token[] => tokensOf(sql, nextToken)

function nextToken(sql: string, at: number): Token {
  if (sql.startsWith('/*', at)) return { kind: 'blank', text: comment(sql, at) }
  for (const [kind, shape] of SHAPES) {
    shape.lastIndex = at
    const text = shape.exec(sql)?.[0]
    if (text === undefined) continue
    // An N string that is not closed must not be taken for a word and another text.
    if (kind === 'word' && OPENS_QUOTE.test(sql.slice(at, at + 2))) break
    return { kind, text }
  }
  if (OPENS_QUOTE.test(sql.slice(at, at + 2))) throw new SqlSyntaxError('a quote is not closed')
  return { kind: 'mark', text: sql[at] as string }
}

/** What stands in some comments is run, by some versions: nobody could say what such a statement does. */
function comment(sql: string, at: number): string {
  if (/^\/\*M?!/.test(sql.slice(at, at + 4))) {
    throw new SqlSyntaxError('a comment that is run (/*! or /*M!) is not allowed')
  }
  const end = sql.indexOf('*/', at + 2)
  if (end < 0) throw new SqlSyntaxError('a comment is not closed')
  return sql.slice(at, end + 2)
}

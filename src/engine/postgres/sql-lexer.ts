import {
  SLOT,
  SqlSyntaxError,
  splitAtSemicolons,
  type Token,
  type TokenKind,
  tokensOf,
} from '../sql-token.ts'

/**
 * Cuts PostgreSQL text into tokens, far enough to know what is a string, a quoted name, a dollar-quoted body, a
 * comment or bare SQL. Strings are read as with `standard_conforming_strings = on`, which our sessions set.
 */

const LETTER = 'A-Za-z_\\u0080-\\uffff'

const SHAPES: readonly (readonly [TokenKind, RegExp])[] = [
  ['blank', /\s+|--[^\r\n]*/y],
  // An E string may go on after a line break, still with backslash escapes.
  [
    'string',
    /[eE]'[^'\\]*(?:(?:''|\\[\s\S])[^'\\]*)*'(?:[ \t]*[\r\n]\s*'[^'\\]*(?:(?:''|\\[\s\S])[^'\\]*)*')*/y,
  ],
  ['coded', /[uU]&'[^']*(?:''[^']*)*'|[uU]&"[^"]*(?:""[^"]*)*"|[bBxX]'[^']*'/y],
  ['string', /[nN]?'[^']*(?:''[^']*)*'/y],
  ['name', /"[^"]*(?:""[^"]*)*"/y],
  ['slot', new RegExp(SLOT, 'y')],
  ['word', new RegExp(`[${LETTER}][${LETTER}0-9$]*|[0-9]+`, 'y')],
]

const OPENS_STRING = /^(?:[eEbBxXnN]?'|[uU]&['"])/

const BODY_START = new RegExp(`\\$(?:[${LETTER}][${LETTER}0-9]*)?\\$`, 'y')

export const tokenize = (sql: string): Token[] => tokensOf(sql, nextToken)

function nextToken(sql: string, at: number): Token {
  if (sql.startsWith('/*', at)) return { kind: 'blank', text: blockComment(sql, at) }
  for (const [kind, shape] of SHAPES) {
    shape.lastIndex = at
    const text = shape.exec(sql)?.[0]
    if (text === undefined) continue
    // An E string that is not closed must not be taken for a word and a plain string.
    if (kind === 'word' && OPENS_STRING.test(sql.slice(at, at + 3))) break
    return { kind, text }
  }
  BODY_START.lastIndex = at
  const delimiter = BODY_START.exec(sql)?.[0]
  if (delimiter !== undefined) return { kind: 'body', text: bodyText(sql, at, delimiter) }
  const mark = sql[at] as string
  if (mark === '"' || OPENS_STRING.test(sql.slice(at, at + 3)))
    throw new SqlSyntaxError('a quote is not closed')
  return { kind: 'mark', text: mark }
}

function bodyText(sql: string, at: number, delimiter: string): string {
  const end = sql.indexOf(delimiter, at + delimiter.length)
  if (end < 0) throw new SqlSyntaxError(`the quote ${delimiter} is not closed`)
  return sql.slice(at, end + delimiter.length)
}

/** Block comments nest, so no regular expression finds their end. */
function blockComment(sql: string, at: number): string {
  let depth = 0
  for (let i = at; i < sql.length; i += 1) {
    if (sql.startsWith('/*', i)) {
      depth += 1
      i += 1
    } else if (sql.startsWith('*/', i)) {
      depth -= 1
      i += 1
      if (depth === 0) return sql.slice(at, i + 1)
    }
  }
  throw new SqlSyntaxError('a comment is not closed')
}

/** Splits at every `;` that stands in bare SQL, except inside BEGIN ATOMIC … END. Pieces of blanks are left out. */
export function splitStatements(tokens: readonly Token[]): Token[][] {
  let atomicDepth = 0
  return splitAtSemicolons(tokens, (token, before) => {
    atomicDepth = depthAfter(token, before, atomicDepth)
    return atomicDepth > 0
  })
}

/** Inside a function written as BEGIN ATOMIC … END, only that END and those of CASE close what was opened. */
function depthAfter(token: Token, before: readonly Token[], depth: number): number {
  if (token.kind !== 'word') return depth
  const word = token.text.toUpperCase()
  if (word === 'ATOMIC') {
    const last = before.findLast(({ kind }) => kind !== 'blank')
    return last?.text.toUpperCase() === 'BEGIN' && makesRoutine(before) ? depth + 1 : depth
  }
  if (depth === 0) return 0
  if (word === 'CASE') return depth + 1
  return word === 'END' ? depth - 1 : depth
}

/** In front of a routine's body, outside of any brackets. Anywhere else the two words are names, and taking them for more would hide the end of a statement. */
function makesRoutine(tokens: readonly Token[]): boolean {
  const words = tokens.filter(({ kind }) => kind !== 'blank').slice(0, 4)
  const start = words.map(({ text }) => text.toUpperCase()).join(' ')
  const count = (mark: string): number =>
    tokens.filter(({ kind, text }) => kind === 'mark' && text === mark).length
  return count('(') === count(')') && /^CREATE (OR REPLACE )?(FUNCTION|PROCEDURE)( |$)/.test(start)
}

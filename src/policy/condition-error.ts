import { type ASTNode, EvaluationError, ParseError, TypeError as TypeFault } from '@marcbachmann/cel-js'
import { nearest } from '../lib/nearest.ts'
import { quoted, sourceOf } from './acl/source.ts'
import { OWN_FAILURE } from './condition-claims.ts'
import { PREFIX } from './condition-functions.ts'
import { asCall, operandsOf } from './condition-tree.ts'
import { fieldsOf, isVariable } from './condition-values.ts'

/** A condition that is refused. `line` and `column` are 1-based in its text; a column counts UTF-16 units. */
export class ConditionError extends Error {
  readonly line: number
  readonly column: number

  constructor(message: string, text: string, offset: number) {
    super(message)
    this.name = 'ConditionError'
    const { line, column } = sourceOf(text).position(Math.max(0, Math.min(offset, text.length)))
    this.line = line
    this.column = column
  }
}

export const unknownField = (of: string, field: string): string =>
  `${of} has no field ${quoted(field)}${suggestion(field, isVariable(of) ? fieldsOf(of) : [])}`

export function suggestion(word: string, candidates: Iterable<string>): string {
  const alike = [...candidates].filter((candidate) => candidate[0] === word[0])
  const meant = nearest(word.slice(0, 40), alike, Math.min(2, word.length >> 1))
  return meant === undefined ? '' : `; did you mean ${quoted(meant)}?`
}

/** Where the name of a called function stands: the library points at the start of what it is called on. */
export function nameOffset(node: ASTNode, name: string): number {
  const receiver = asCall(node)?.receiver
  if (!receiver) return node.start
  const found = node.input.indexOf(name, receiver.end)
  return found < 0 ? node.start : found
}

/** The library's refusal in our words. */
export function refusal(error: unknown, text: string): ConditionError {
  if (error instanceof ParseError) return refusalOf(unparsed(error, text), text)
  if (error instanceof TypeFault) return refusalOf(illTyped(error), text)
  // A stack that ran out, or a fault of the library: either way this text has no meaning here.
  return new ConditionError('the condition cannot be read', text, 0)
}

const refusalOf = ({ message, offset }: Blame, text: string) => new ConditionError(message, text, offset)

type Blame = { message: string; offset: number }

const TOKENS: Readonly<Record<string, string>> = {
  EOF: 'the end',
  LPAREN: '"("',
  RPAREN: '")"',
  LBRACKET: '"["',
  RBRACKET: '"]"',
  LBRACE: '"{"',
  RBRACE: '"}"',
  DOT: '"."',
  COMMA: '","',
  COLON: '":"',
  QUESTION: '"?"',
  IDENTIFIER: 'a name',
}

function unparsed(error: ParseError, text: string): Blame {
  const { start: offset = 0, end = offset } = error.range ?? {}
  const there = offset >= text.length ? 'the end' : quoted(wordAt(text, offset, end))
  const expected = /^Expected (\w+),/.exec(error.summary)?.[1] ?? ''
  switch (error.code) {
    case 'limit_exceeded':
      return { message: 'the condition is too large or nested too deeply', offset }
    case 'expected_token':
      return { message: `${TOKENS[expected] ?? expected} is missing before ${there}`, offset }
    case 'unexpected_token':
    case 'unexpected_character':
      return { message: `${there} is not expected here`, offset }
    case 'invalid_macro_argument':
      return { message: 'a name is needed here, as in exists(x, …)', offset }
    default:
      return { message: lowerFirst(error.summary), offset }
  }
}

const wordAt = (text: string, start: number, end: number): string =>
  end > start + 1 ? text.slice(start, end) : String.fromCodePoint(text.codePointAt(start) ?? 0)

function illTyped(error: TypeFault): Blame {
  const { node, code } = error
  const message = lowerFirst(typeWords(error.summary))
  if (!node) return { message, offset: error.range?.start ?? 0 }
  const offset = node.start
  const type = /(?:got|of type) '([^']+)'/.exec(message)?.[1] ?? 'something else'
  switch (code) {
    case 'no_such_key':
      return node.op === '.'
        ? { message: unknownField(checkedType(node.args[0]) ?? 'it', node.args[1]), offset: node.pos }
        : { message, offset }
    case 'invalid_logical_operand': {
      const wrong = operandsOf(node).find((operand) => !/^(bool|dyn)/.test(checkedType(operand) ?? 'bool'))
      const said = `${node.op} joins what is true or false, and this is a ${type}`
      return { message: said, offset: wrong?.start ?? offset }
    }
    case 'invalid_comprehension_range':
      return { message: `only a list or a map has entries, and this is a ${type}`, offset }
    case 'invalid_macro_argument':
      return { message: 'has needs a field, as in has(principal.claims.team)', offset }
    case 'no_matching_overload': {
      const name = unprefixed(asCall(node)?.name ?? '')
      return { message: callMismatch(message, name), offset: nameOffset(node, name) }
    }
    default:
      return { message: operatorMismatch(message), offset }
  }
}

const unprefixed = (name: string): string => (name.startsWith(PREFIX) ? name.slice(PREFIX.length) : name)

/** Set by the library while it checks types, though not in its declarations; without it a message says a little less. */
const checkedType = (node: ASTNode): string | undefined =>
  (node as { checkedType?: { name?: string } }).checkedType?.name

function callMismatch(summary: string, name: string): string {
  const [, receiver, values] = /'(?:(.+)\.)?\w+\((.*)\)'$/.exec(summary) ?? []
  return `${name}${receiver ? ` of a ${receiver}` : ''} does not take (${values ?? ''})`
}

function operatorMismatch(summary: string): string {
  const [, left, operator, right] =
    /^no such overload: (.+) (==|!=|<=|>=|[-+*/%<>]|in) (.+)$/.exec(summary) ?? []
  if (operator !== undefined) return `${operator} does not work between ${left} and ${right}`
  const [, sign, value] = /^no such overload: ([-!])(.+)$/.exec(summary) ?? []
  return sign === undefined ? summary : `${sign} does not work on a ${value}`
}

const lowerFirst = (text: string): string => text.charAt(0).toLowerCase() + text.slice(1)

const typeWords = (summary: string): string =>
  summary
    .replaceAll('google.protobuf.Timestamp', 'timestamp')
    .replaceAll('google.protobuf.Duration', 'duration')
    .replaceAll(PREFIX, '')
    .replaceAll(/dyn<(\w+)>/g, '$1')

const REASONS: Readonly<Record<string, string>> = {
  division_by_zero: 'it divides by zero',
  modulo_by_zero: 'it divides by zero',
  numeric_overflow: 'a number is out of range',
  index_out_of_bounds: 'a list is shorter than that',
}

/** The library's texts for these hold names of types only; its others may hold a value from the claims. */
const SAFE: ReadonlySet<string> = new Set([
  OWN_FAILURE,
  'no_such_overload',
  'invalid_logical_operand',
  'invalid_condition_type',
])

/** Why an evaluation failed, without any value that is not in the condition's own text. */
export function reasonOf(error: unknown): string {
  if (!(error instanceof EvaluationError)) return 'it could not be evaluated'
  const { code, node } = error
  const summary = lowerFirst(typeWords(error.summary))
  if (code === 'no_matching_overload')
    return callMismatch(summary, unprefixed((node && asCall(node)?.name) ?? ''))
  if (SAFE.has(code)) return operatorMismatch(summary)
  if (code === 'no_such_key')
    return node?.op === '.' ? `there is no ${quoted(node.args[1])}` : 'a key is missing'
  return REASONS[code] ?? 'it could not be evaluated'
}

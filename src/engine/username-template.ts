import { createHash, randomUUID } from 'node:crypto'
import { BrokerError } from '../lib/errors.ts'
import { randomBase62 } from '../lib/ids.ts'
import { formatGoTime } from './go-time.ts'

/**
 * The part of Go's text/template that account names are written in: text, `{{ … }}` actions with pipes and
 * parentheses, the inputs below and the functions of `FUNCTIONS`. No `if`, no `range`, no variables.
 */

export type NameInputs = { DisplayName: string; RoleName: string; LeaseID: string }
export type NameTemplate = (inputs: NameInputs, now: Date) => string

type Value = string | number
type Scope = { inputs: NameInputs; now: Date }
type Expression = (scope: Scope) => Value

const MAX_TEMPLATE_LENGTH = 4_096
const MAX_RANDOM_LENGTH = 1_000
const TRIED_WITH: NameInputs = { DisplayName: 'display', RoleName: 'role', LeaseID: '0'.repeat(24) }

const invalid = (reason: string): BrokerError =>
  new BrokerError('invalid_request', `invalid username template: ${reason}`)

/** Compiles and runs the template once, so that what fails later fails when the target is written. */
export function compileNameTemplate(template: string): NameTemplate {
  if (template.length > MAX_TEMPLATE_LENGTH) throw invalid('it is too long')
  const parts = splitActions(template).map((part) => ('text' in part ? part.text : parseAction(part.action)))
  const run: NameTemplate = (inputs, now) =>
    parts.map((part) => (typeof part === 'string' ? part : String(part({ inputs, now })))).join('')
  run(TRIED_WITH, new Date(0))
  return run
}

type Part = { text: string } | { action: string }

/** Text and actions in turn. `{{-` and `-}}` trim the white space beside them, as in Go; comments vanish. */
function splitActions(template: string): Part[] {
  const parts: Part[] = []
  let rest = template
  for (;;) {
    const start = rest.indexOf('{{')
    if (start < 0) return [...parts, { text: rest }]
    const action = /^\{\{(-\s)?((?:"(?:[^"\\]|\\.)*"|`[^`]*`|(?!\s-\}\}|\}\})[\s\S])*)(\s-)?\}\}/.exec(
      rest.slice(start),
    )
    if (!action) throw invalid('an action is not closed')
    const [whole, trimBefore, body = '', trimAfter] = action
    const text = rest.slice(0, start)
    parts.push({ text: trimBefore ? text.trimEnd() : text })
    if (!/^\s*\/\*[\s\S]*\*\/\s*$/.test(body)) parts.push({ action: body })
    rest = rest.slice(start + whole.length)
    if (trimAfter) rest = rest.trimStart()
  }
}

const TOKEN = /\s*(?:("(?:[^"\\]|\\.)*")|(`[^`]*`)|(-?\d+)(?![\w.])|(\.\w+)|(\w+)|([|()]))/y

type Token = { kind: 'text' | 'number' | 'field' | 'word' | 'mark'; text: string }

function tokens(action: string): Token[] {
  const found: Token[] = []
  const source = action.trim()
  TOKEN.lastIndex = 0
  while (TOKEN.lastIndex < source.length) {
    const at = TOKEN.lastIndex
    const match = TOKEN.exec(source)
    if (!match) throw invalid(`"${source.slice(at, at + 20)}" is not understood`)
    const [, quoted, raw, number, field, word, mark] = match
    if (quoted !== undefined) found.push({ kind: 'text', text: unquote(quoted) })
    else if (raw !== undefined) found.push({ kind: 'text', text: raw.slice(1, -1) })
    else if (number !== undefined) found.push({ kind: 'number', text: number })
    else if (field !== undefined) found.push({ kind: 'field', text: field.slice(1) })
    else if (word !== undefined) found.push({ kind: 'word', text: word })
    else found.push({ kind: 'mark', text: mark as string })
  }
  return found
}

function unquote(quoted: string): string {
  try {
    return JSON.parse(quoted) as string
  } catch {
    throw invalid(`${quoted} is not a text`)
  }
}

function parseAction(action: string): Expression {
  const waiting = tokens(action)
  const pipeline = parsePipeline(waiting)
  if (waiting.length > 0) throw invalid(`"${waiting[0]?.text}" is out of place`)
  return pipeline
}

/** `a b | c d` is `c d (a b)`: what comes before a pipe is the last argument of what comes after. */
function parsePipeline(waiting: Token[]): Expression {
  let value = parseCommand(waiting, undefined)
  while (waiting[0]?.text === '|' && waiting[0].kind === 'mark') {
    waiting.shift()
    value = parseCommand(waiting, value)
  }
  return value
}

function parseCommand(waiting: Token[], piped: Expression | undefined): Expression {
  const head = waiting[0]
  if (head?.kind !== 'word') {
    if (piped) throw invalid('a pipe must lead to a function')
    return parseOperand(waiting)
  }
  waiting.shift()
  const implementation = Object.hasOwn(FUNCTIONS, head.text) ? FUNCTIONS[head.text] : undefined
  if (!implementation) throw invalid(`function "${head.text}" is not known`)
  const operands: Expression[] = []
  while (waiting.length > 0 && !isEnd(waiting[0] as Token)) operands.push(parseOperand(waiting))
  if (piped) operands.push(piped)
  return (scope) => {
    const values = operands.map((operand) => operand(scope))
    if (implementation.arity >= 0 && values.length !== implementation.arity) {
      throw invalid(`${head.text} takes ${implementation.arity} arguments`)
    }
    return implementation.run(values, scope)
  }
}

const isEnd = (token: Token): boolean => token.kind === 'mark' && token.text !== '('

function parseOperand(waiting: Token[]): Expression {
  const token = waiting.shift()
  if (!token) throw invalid('an action is empty')
  switch (token.kind) {
    case 'text':
      return () => token.text
    case 'number':
      return () => Number(token.text)
    case 'field':
      if (!Object.hasOwn(TRIED_WITH, token.text)) throw invalid(`.${token.text} is not known`)
      return ({ inputs }) => inputs[token.text as keyof NameInputs]
    case 'mark': {
      if (token.text !== '(') throw invalid(`"${token.text}" is out of place`)
      const inner = parsePipeline(waiting)
      if (waiting.shift()?.text !== ')') throw invalid('a parenthesis is not closed')
      return inner
    }
    case 'word': {
      // A function without arguments may stand as an argument itself: `printf "%d" unix_time`.
      waiting.unshift(token)
      return parseCommand([waiting.shift() as Token], undefined)
    }
  }
}

type Implementation = { arity: number; run: (values: Value[], scope: Scope) => Value }

/** An implementation that takes exactly the arguments it names. */
const of = (arity: number, run: (values: string[], scope: Scope) => Value): Implementation => ({
  arity,
  run: (values, scope) => run(values.map(String), scope),
})

function count(text: string | undefined, max: number): number {
  const number = Number(text)
  if (!Number.isInteger(number) || number < 1 || number > max) throw invalid(`${text} is not a length`)
  return number
}

const hash = (text: string): string => createHash('sha256').update(text).digest('hex')

/** Keeps what fits and replaces the rest by 8 characters of its hash, so that long names stay apart. */
function truncateWithHash([length, text = '']: string[]): string {
  const kept = count(length, MAX_RANDOM_LENGTH)
  if (kept <= 8) throw invalid('truncate_sha256 needs a length of more than 8')
  if (text.length <= kept) return text
  return text.slice(0, kept - 8) + hash(text.slice(kept - 8)).slice(0, 8)
}

function printf(values: Value[]): string {
  const [format, ...rest] = values
  const text = String(format).replace(/%(.)/g, (_, verb: string) => {
    if (verb === '%') return '%'
    const value = rest.shift()
    if (value === undefined) throw invalid('printf has too few arguments')
    if (!'sdvqx'.includes(verb)) throw invalid(`printf does not know %${verb}`)
    if (verb === 'q') return JSON.stringify(String(value))
    if (verb === 'x')
      return typeof value === 'number' ? value.toString(16) : Buffer.from(value).toString('hex')
    return String(value)
  })
  if (rest.length > 0) throw invalid('printf has too many arguments')
  return text
}

const FUNCTIONS: Record<string, Implementation> = {
  random: of(1, ([length]) => randomBase62(count(length, MAX_RANDOM_LENGTH))),
  truncate: of(2, ([length, text = '']) => text.slice(0, count(length, MAX_RANDOM_LENGTH))),
  truncate_sha256: of(2, truncateWithHash),
  uppercase: of(1, ([text = '']) => text.toUpperCase()),
  lowercase: of(1, ([text = '']) => text.toLowerCase()),
  replace: of(3, ([before = '', after = '', text = '']) => text.replaceAll(before, () => after)),
  sha256: of(1, ([text = '']) => hash(text)),
  base64: of(1, ([text = '']) => Buffer.from(text).toString('base64')),
  decode_base64: of(1, ([text = '']) => Buffer.from(text, 'base64').toString()),
  hex: of(1, ([text = '']) => Buffer.from(text).toString('hex')),
  decode_hex: of(1, ([text = '']) => Buffer.from(text, 'hex').toString()),
  unix_time: of(0, (_, { now }) => Math.trunc(now.getTime() / 1_000)),
  unix_time_millis: of(0, (_, { now }) => now.getTime()),
  timestamp: of(1, ([layout = ''], { now }) => formatGoTime(layout, now)),
  uuid: of(0, () => randomUUID()),
  printf: { arity: -1, run: printf },
  print: { arity: -1, run: (values) => values.join('') },
}

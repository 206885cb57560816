import { found, quoted, type Source } from './source.ts'
import { hclString, heredoc, type Read } from './strings.ts'
import { checkNesting, type Entry, type ObjectValue, type StringValue, type Value } from './value.ts'

const BLANK = /[\s\uFEFF]+|(?:#|\/\/)[^\n]*/y
const WORD = /[\p{L}_][\p{L}\p{N}_.-]*/uy
const NUMBER = /-?(?:0[xX][0-9a-fA-F]+|\d+(?:\.\d+)?(?:[eE][+-]?\d+)?)(?![\w.])/y

type Cursor = {
  source: Source
  /** What comes after blanks and comments: one character, or '' at the end. */
  peek(): string
  at(): number
  advance(length: number): void
  match(shape: RegExp): string | undefined
}

function cursorOver(source: Source): Cursor {
  const { text } = source
  let at = 0

  const match = (shape: RegExp): string | undefined => {
    shape.lastIndex = at
    return shape.exec(text)?.[0]
  }

  const skipBlank = (): void => {
    for (;;) {
      const blank = match(BLANK)
      if (blank !== undefined) {
        at += blank.length
      } else if (text.startsWith('/*', at)) {
        const end = text.indexOf('*/', at + 2)
        if (end < 0) source.fail(at, 'comment not terminated')
        at = end + 2
      } else return
    }
  }

  return {
    source,
    peek() {
      skipBlank()
      return text[at] ?? ''
    },
    at: () => at,
    advance(length) {
      at += length
    },
    match,
  }
}

/** Reads the HCL (version 1) that policies are written in. Throws `PolicyError`. */
export function parseHcl(source: Source): ObjectValue {
  const cursor = cursorOver(source)
  const entries: Entry[] = []
  while (cursor.peek() !== '') entries.push(entry(cursor, 1))
  return { kind: 'object', entries, at: 0 }
}

/** `key = value`, or `key "label" { … }`, which is the object `{key: {label: {…}}}` written shorter. */
function entry(cursor: Cursor, depth: number): Entry {
  const keys: StringValue[] = []
  for (let next = key(cursor); next !== undefined; next = key(cursor)) {
    keys.push(next)
    checkNesting(cursor.source, next.at, depth + keys.length)
  }
  const [first, ...labels] = keys
  if (first === undefined) return refuse(cursor, 'expected a key')
  const sign = cursor.peek()
  if (sign === '=' && labels.length > 0) return refuse(cursor, `expected '{' after ${nameOf(keys)}`)
  if (sign !== '=' && sign !== '{') return refuse(cursor, `expected '=' or '{' after ${nameOf(keys)}`)
  if (sign === '=') cursor.advance(1)
  const written = anyValue(cursor, depth + keys.length)
  // A comma between entries is allowed and means nothing.
  if (cursor.peek() === ',') cursor.advance(1)
  const value = labels.reduceRight<Value>(
    (inner, label) => ({ kind: 'object', entries: [{ key: label, value: inner }], at: label.at }),
    written,
  )
  return { key: first, value }
}

function key(cursor: Cursor): StringValue | undefined {
  if (cursor.peek() === '"') return take(cursor, hclString)
  const word = cursor.match(WORD)
  if (word === undefined) return undefined
  const at = cursor.at()
  cursor.advance(word.length)
  return { kind: 'string', value: word, at, runs: [{ from: 0, at }] }
}

function take(cursor: Cursor, read: (source: Source, at: number) => Read): StringValue {
  const { value, end } = read(cursor.source, cursor.at())
  cursor.advance(end - cursor.at())
  return value
}

function anyValue(cursor: Cursor, depth: number): Value {
  const first = cursor.peek()
  checkNesting(cursor.source, cursor.at(), depth)
  if (first === '"') return take(cursor, hclString)
  if (first === '<') return take(cursor, heredoc)
  if (first === '{') return object(cursor, depth)
  if (first === '[') return list(cursor, depth)
  const at = cursor.at()
  const number = cursor.match(NUMBER)
  const word = number ?? cursor.match(WORD)
  if (word === undefined) return refuse(cursor, 'expected a value')
  if (number === undefined && word !== 'true' && word !== 'false') {
    return cursor.source.fail(at, `expected a value, got ${quoted(word)}; text needs double quotes`)
  }
  cursor.advance(word.length)
  return number === undefined
    ? { kind: 'boolean', value: word === 'true', at }
    : { kind: 'number', value: numberOf(number), at }
}

function object(cursor: Cursor, depth: number): ObjectValue {
  const at = cursor.at()
  cursor.advance(1)
  const entries: Entry[] = []
  while (cursor.peek() !== '}') {
    if (cursor.peek() === '') return unclosed(cursor, '{', at)
    entries.push(entry(cursor, depth))
  }
  cursor.advance(1)
  return { kind: 'object', entries, at }
}

function list(cursor: Cursor, depth: number): Value {
  const at = cursor.at()
  cursor.advance(1)
  const items: Value[] = []
  while (cursor.peek() !== ']') {
    if (cursor.peek() === '') return unclosed(cursor, '[', at)
    items.push(anyValue(cursor, depth + 1))
    const next = cursor.peek()
    if (next === ',') cursor.advance(1)
    else if (next !== ']' && next !== '') return refuse(cursor, "expected ',' or ']'")
  }
  cursor.advance(1)
  return { kind: 'list', items, at }
}

const refuse = (cursor: Cursor, expected: string): never =>
  cursor.source.fail(cursor.at(), `${expected}, got ${found(cursor.source.text, cursor.at())}`)

const unclosed = (cursor: Cursor, bracket: string, at: number): never =>
  refuse(cursor, `'${bracket}' from line ${cursor.source.position(at).line} is not closed`)

const nameOf = (keys: readonly StringValue[]): string => keys.map(({ value }) => quoted(value)).join(' ')

/** Hexadecimal after a minus sign is a number to HCL and none to JavaScript. */
const numberOf = (text: string): number => (text.startsWith('-') ? -Number(text.slice(1)) : Number(text))

import { found, type Source } from './source.ts'
import { jsonString } from './strings.ts'
import { checkNesting, type Entry, type ObjectValue, type Value } from './value.ts'

const LITERAL = /-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?(?![\w.])|(?:true|false|null)(?!\w)/y

/** Reads a JSON object, knowing where everything stands: `JSON.parse` does not tell. Throws `PolicyError`. */
export function parseJson(source: Source): ObjectValue {
  const { text } = source
  let at = 0

  const skipBlank = (): void => {
    while (' \t\r\n\uFEFF'.includes(text[at] ?? 'x')) at += 1
  }

  const expect = (mark: string): void => {
    skipBlank()
    if (text[at] !== mark) source.fail(at, `expected '${mark}', got ${found(text, at)}`)
    at += 1
  }

  /** The members between two brackets; a comma at the end is an error, as JSON has it. */
  const members = (close: string, member: () => void): void => {
    at += 1
    skipBlank()
    if (text[at] === close) {
      at += 1
      return
    }
    for (;;) {
      member()
      skipBlank()
      if (text[at] !== ',') break
      at += 1
    }
    expect(close)
  }

  const string = () => {
    skipBlank()
    if (text[at] !== '"') source.fail(at, `expected a string in double quotes, got ${found(text, at)}`)
    const { value, end } = jsonString(source, at)
    at = end
    return value
  }

  const object = (depth: number): ObjectValue => {
    const start = at
    const entries: Entry[] = []
    members('}', () => {
      const key = string()
      expect(':')
      entries.push({ key, value: anyValue(depth + 1) })
    })
    return { kind: 'object', entries, at: start }
  }

  const anyValue = (depth: number): Value => {
    skipBlank()
    checkNesting(source, at, depth)
    const start = at
    if (text[at] === '{') return object(depth)
    if (text[at] === '"') return string()
    if (text[at] === '[') {
      const items: Value[] = []
      members(']', () => items.push(anyValue(depth + 1)))
      return { kind: 'list', items, at: start }
    }
    LITERAL.lastIndex = at
    const word = LITERAL.exec(text)?.[0]
    if (word === undefined) return source.fail(at, `expected a value, got ${found(text, at)}`)
    at += word.length
    if (word === 'null') return { kind: 'null', at: start }
    if (word === 'true' || word === 'false') return { kind: 'boolean', value: word === 'true', at: start }
    return { kind: 'number', value: Number(word), at: start }
  }

  skipBlank()
  const root = object(1)
  skipBlank()
  if (at < text.length) source.fail(at, `expected the end of the document, got ${found(text, at)}`)
  return root
}

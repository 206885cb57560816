import { quoted, type Source } from './source.ts'
import { type StringValue, stringBuilder } from './value.ts'

/** A string and the offset behind it. */
export type Read = { value: StringValue; end: number }

type Escapes = { single: Readonly<Record<string, string>>; coded: RegExp }

const HCL_ESCAPES: Escapes = {
  // biome-ignore format: one line reads as the table it is
  single: { a: '\x07', b: '\b', f: '\f', n: '\n', r: '\r', t: '\t', v: '\v', '\\': '\\', '"': '"' },
  coded: /([0-7]{3})|x([0-9a-fA-F]{2})|u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8})/y,
}

const JSON_ESCAPES: Escapes = {
  single: { b: '\b', f: '\f', n: '\n', r: '\r', t: '\t', '/': '/', '\\': '\\', '"': '"' },
  coded: /()()u([0-9a-fA-F]{4})()/y,
}

const HIGHEST_CODE_POINT = 0x10ffff

export const hclString = (source: Source, at: number): Read =>
  quotedString(source, at, HCL_ESCAPES, /[^"\\\r\n]*/y)

export const jsonString = (source: Source, at: number): Read =>
  // biome-ignore lint/suspicious/noControlCharactersInRegex: JSON forbids exactly these
  quotedString(source, at, JSON_ESCAPES, /[^"\\\x00-\x1f]*/y)

/** Reads from the opening quote at `at`; `ordinary` is what needs no thought. */
function quotedString(source: Source, at: number, escapes: Escapes, ordinary: RegExp): Read {
  const { text } = source
  const built = stringBuilder(at)
  let next = at + 1
  for (;;) {
    ordinary.lastIndex = next
    const piece = ordinary.exec(text)?.[0] ?? ''
    built.add(piece, next)
    next += piece.length
    if (text[next] === '"') return { value: built.done(), end: next + 1 }
    if (text[next] !== '\\') return source.fail(at, 'literal not terminated')
    const [character, length] = escaped(source, next, escapes)
    built.add(character, next)
    next += length
  }
}

/** What the backslash at `at` stands for, and how long it was written. */
function escaped(source: Source, at: number, { single, coded }: Escapes): [string, number] {
  const letter = source.text[at + 1] ?? ''
  if (Object.hasOwn(single, letter)) return [single[letter] as string, 2]
  coded.lastIndex = at + 1
  const [all = '', octal, ...hex] = coded.exec(source.text) ?? []
  const code = octal ? Number.parseInt(octal, 8) : Number.parseInt(hex.find(Boolean) ?? '', 16)
  if (all === '' || code > HIGHEST_CODE_POINT) return source.fail(at, 'illegal char escape')
  return [String.fromCodePoint(code), all.length + 1]
}

const HEREDOC_START = /<<(-?)([\p{L}\p{N}_]+)\r?\n/uy

/** Reads `<<EOT` or `<<-EOT` at `at`. The last line's break belongs to the text. */
export function heredoc(source: Source, at: number): Read {
  HEREDOC_START.lastIndex = at
  const [start, dash, marker] = HEREDOC_START.exec(source.text) ?? []
  if (start === undefined) {
    return source.fail(at, 'heredoc: expected << and a marker, and the text from the next line on')
  }
  const lines: { from: number; to: number }[] = []
  let from = at + start.length
  while (from < source.text.length) {
    const newline = source.text.indexOf('\n', from)
    const to = newline < 0 ? source.text.length : newline + 1
    const line = source.text.slice(from, to).replace(/\r?\n$/, '')
    if (line.trimStart() === marker) {
      const indent = line.slice(0, line.length - marker.length)
      return { value: joined(source, at, lines, dash ? indent : ''), end: from + line.length }
    }
    lines.push({ from, to })
    from = to
  }
  return source.fail(at, `heredoc not terminated: no line that is only ${quoted(marker ?? '')}`)
}

/** Takes the closing marker's indentation from every line, unless one has less: then all stay as written. */
function joined(
  source: Source,
  at: number,
  lines: readonly { from: number; to: number }[],
  indent: string,
): StringValue {
  const cut = lines.every(({ from }) => source.text.startsWith(indent, from)) ? indent.length : 0
  const built = stringBuilder(at)
  for (const { from, to } of lines) built.add(source.text.slice(from + cut, to), from + cut)
  return built.done()
}

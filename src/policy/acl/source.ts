/** A policy document that is refused. `line` and `column` are 1-based in the document; a column counts UTF-16 units. */
export class PolicyError extends Error {
  readonly line: number
  readonly column: number
  /** What is wrong, without the place and the opening words of `message`. */
  readonly reason: string

  constructor(reason: string, { line, column }: Position) {
    super(`failed to parse policy: At ${line}:${column}: ${reason}`)
    this.name = 'PolicyError'
    this.line = line
    this.column = column
    this.reason = reason
  }
}

export type Position = { line: number; column: number }

/** A document's text, and the places in it. */
export type Source = {
  text: string
  position(offset: number): Position
  /** Throws a `PolicyError` that points at the offset. */
  fail(offset: number, reason: string): never
}

export function sourceOf(text: string): Source {
  let starts: number[] | undefined

  const position = (offset: number): Position => {
    starts ??= lineStarts(text)
    let [low, high] = [0, starts.length - 1]
    while (low < high) {
      const middle = (low + high + 1) >> 1
      if ((starts[middle] as number) <= offset) low = middle
      else high = middle - 1
    }
    return { line: low + 1, column: offset - (starts[low] as number) + 1 }
  }

  return {
    text,
    position,
    fail(offset, reason) {
      throw new PolicyError(reason, position(offset))
    },
  }
}

export function lineStarts(text: string): number[] {
  const starts = [0]
  for (let at = text.indexOf('\n'); at >= 0; at = text.indexOf('\n', at + 1)) starts.push(at + 1)
  return starts
}

const LONGEST_QUOTE = 80

/** A caller's text for a message: in quotes, and short. */
export const quoted = (text: string): string =>
  JSON.stringify(text.length > LONGEST_QUOTE ? `${text.slice(0, LONGEST_QUOTE)}…` : text)

/** What stands at an offset, for a message. */
export const found = (text: string, at: number): string =>
  at < text.length ? quoted(String.fromCodePoint(text.codePointAt(at) as number)) : 'EOF'

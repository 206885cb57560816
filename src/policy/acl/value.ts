import type { Source } from './source.ts'

/** What HCL and JSON both come down to. `at` is the offset in the document where the value starts. */
export type Value =
  | StringValue
  | { kind: 'number'; value: number; at: number }
  | { kind: 'boolean'; value: boolean; at: number }
  | { kind: 'null'; at: number }
  | { kind: 'list'; items: readonly Value[]; at: number }
  | ObjectValue

export type StringValue = { kind: 'string'; value: string; at: number; runs: readonly Run[] }

/** Entries in the order written; the same key may come twice, and the reader decides what that means. */
export type ObjectValue = { kind: 'object'; entries: readonly Entry[]; at: number }

export type Entry = { key: StringValue; value: Value }

/** From index `from` of a decoded string on, its text stands in the document at `at`, character for character. */
type Run = { from: number; at: number }

/** Deeper than any policy needs, and far from the end of the stack. */
const MAX_NESTING = 16

/** Where the character at `index` of a decoded string was written. */
export function offsetOf({ runs, at }: StringValue, index: number): number {
  let [low, high] = [0, runs.length]
  while (low < high) {
    const middle = (low + high) >> 1
    if ((runs[middle] as Run).from <= index) low = middle + 1
    else high = middle
  }
  const run = runs[low - 1]
  return run ? run.at + index - run.from : at
}

/** Puts a decoded string together from its pieces, and remembers where each was written. */
export function stringBuilder(at: number): { add(piece: string, at: number): void; done(): StringValue } {
  const pieces: string[] = []
  const runs: Run[] = []
  let length = 0
  return {
    add(piece, from) {
      if (piece === '') return
      runs.push({ from: length, at: from })
      pieces.push(piece)
      length += piece.length
    },
    done: () => ({ kind: 'string', value: pieces.join(''), at, runs }),
  }
}

export function checkNesting(source: Source, at: number, depth: number): void {
  if (depth > MAX_NESTING) source.fail(at, `nested more than ${MAX_NESTING} deep`)
}

/** The value as JavaScript has it. */
export function plain(value: Value): unknown {
  switch (value.kind) {
    case 'null':
      return null
    case 'list':
      return value.items.map(plain)
    case 'object':
      return Object.fromEntries(value.entries.map((entry) => [entry.key.value, plain(entry.value)]))
    default:
      return value.value
  }
}

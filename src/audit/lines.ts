export type Line = {
  /** From 1. */
  line: number
  /** Undefined when it is too long, or no UTF-8. */
  text: string | undefined
  /** False for a last line without its line feed. */
  ended: boolean
}

/** A checkpoint that names tens of thousands of writers has a few megabytes. */
const MAX_LINE_BYTES = 16 * 1024 * 1024
const LINE_FEED = 10

const UTF8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })

/** Splits before decoding, so pieces may end inside a character; a line that is too long costs no memory. */
export async function* splitLines(bytes: AsyncIterable<Uint8Array>): AsyncGenerator<Line> {
  let pieces: Uint8Array[] = []
  let length = 0
  let line = 1

  const keep = (piece: Uint8Array): void => {
    length += piece.length
    if (length <= MAX_LINE_BYTES) pieces.push(piece)
    else pieces = []
  }

  const take = (ended: boolean): Line => {
    const taken = { line, text: length <= MAX_LINE_BYTES ? decoded(pieces) : undefined, ended }
    pieces = []
    length = 0
    line += 1
    return taken
  }

  for await (const piece of bytes) {
    let from = 0
    for (let end = piece.indexOf(LINE_FEED); end >= 0; end = piece.indexOf(LINE_FEED, from)) {
      keep(piece.subarray(from, end))
      from = end + 1
      yield take(true)
    }
    if (from < piece.length) keep(piece.subarray(from))
  }
  if (length > 0) yield take(false)
}

function decoded(pieces: Uint8Array[]): string | undefined {
  try {
    return UTF8.decode(Buffer.concat(pieces))
  } catch {
    return undefined
  }
}

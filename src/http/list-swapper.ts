/** Above every limit of Node's parser on a head, a chunk's size line or a trailer line. */
const LINE_LIMIT = 128 * 1024

const CR = 13
const LF = 10
const HEAD_END = '\r\n\r\n'

/** The letters of either verb, by place, and what each becomes: LIST turns into LINK and LINK into LIST. */
const SWAPS = [swap('L', 'L'), swap('I', 'I'), swap('S', 'N'), swap('T', 'K')]

function swap(a: string, b: string): Readonly<Record<number, number>> {
  return { [a.charCodeAt(0)]: b.charCodeAt(0), [b.charCodeAt(0)]: a.charCodeAt(0) }
}

type Step = 'between' | 'verb' | 'head' | 'body' | 'chunkSize' | 'chunk' | 'trailer' | 'lost'

/**
 * Follows the requests of one connection through its bytes, however they are cut, and swaps LIST and LINK where a
 * request line begins: in place, and nowhere else. What it does not understand makes it leave all that follows alone.
 */
export function listSwapper(): (bytes: Buffer) => void {
  let step: Step = 'between'
  /** Letters of the verb seen, and bytes of a body or chunk still to come. */
  let count = 0
  /** The head, size line or trailer line so far, and its last three characters. */
  let line = ''
  let tail = ''

  const enter = (next: Step, from = 0): void => {
    step = next
    count = from
    line = ''
    tail = ''
  }

  const keep = (text: string): void => {
    line += text
    // Apart from `line`, which stays a rope until it is whole: cutting it at each byte would copy it each time.
    tail = (tail + text).slice(-(HEAD_END.length - 1))
    if (line.length > LINE_LIMIT) enter('lost')
  }

  const skip = (bytes: Buffer, at: number, next: Step): number => {
    const taken = Math.min(count, bytes.length - at)
    count -= taken
    if (count === 0) enter(next)
    return at + taken
  }

  /** Reads up to the line's end; gives the whole line to `ended`. */
  const readLine = (bytes: Buffer, at: number, ended: (line: string) => void): number => {
    const end = bytes.indexOf(LF, at)
    keep(bytes.toString('latin1', at, end < 0 ? bytes.length : end + 1))
    if (end < 0) return bytes.length
    if (step !== 'lost') ended(line)
    return end + 1
  }

  const steps: Record<Step, (bytes: Buffer, at: number) => number> = {
    between: (bytes, at) => {
      if (bytes[at] === CR || bytes[at] === LF) return at + 1
      enter('verb')
      return at
    },
    verb: (bytes, at) => {
      const other = SWAPS[count]?.[bytes[at] as number]
      if (other === undefined) {
        enter('head')
        return at
      }
      bytes[at] = other
      count += 1
      return at + 1
    },
    head: (bytes, at) => {
      const end = endOfHead(tail, bytes, at)
      keep(bytes.toString('latin1', at, end ?? bytes.length))
      if (end === undefined || step === 'lost') return bytes.length
      const framing = framingOf(line)
      if (framing === undefined) enter('lost')
      else if (framing === 'chunked') enter('chunkSize')
      else if (framing === 0) enter('between')
      else enter('body', framing)
      return end
    },
    body: (bytes, at) => skip(bytes, at, 'between'),
    chunkSize: (bytes, at) =>
      readLine(bytes, at, (text) => {
        const size = /^([\da-f]{1,12})[ \t]*(?:;.*)?\r\n$/i.exec(text)?.[1]
        if (size === undefined) enter('lost')
        else if (Number.parseInt(size, 16) === 0) enter('trailer')
        else enter('chunk', Number.parseInt(size, 16) + '\r\n'.length)
      }),
    chunk: (bytes, at) => skip(bytes, at, 'chunkSize'),
    trailer: (bytes, at) => readLine(bytes, at, (text) => enter(text === '\r\n' ? 'between' : 'trailer')),
    lost: (bytes) => bytes.length,
  }

  return (bytes) => {
    for (let at = 0; at < bytes.length; ) at = steps[step](bytes, at)
  }
}

/** Where the head ends, when it does in these bytes; `tail` is what came before them. */
function endOfHead(tail: string, bytes: Buffer, at: number): number | undefined {
  if (tail !== '') {
    const seam = tail + bytes.toString('latin1', at, at + HEAD_END.length - 1)
    const across = seam.indexOf(HEAD_END)
    if (across >= 0) return at + across + HEAD_END.length - tail.length
  }
  const within = bytes.indexOf(HEAD_END, at, 'latin1')
  return within < 0 ? undefined : within + HEAD_END.length
}

/** A first look, since most requests have no body. */
const FRAMED = /\r\n(?:content-l|transfer-e)/i

/** The length of the body a head announces. Undefined when that is not plain, as after CONNECT. */
function framingOf(head: string): number | 'chunked' | undefined {
  if (head.startsWith('CONNECT ')) return undefined
  if (!FRAMED.test(head)) return 0
  const fields = [...head.matchAll(/\r\n(content-length|transfer-encoding)[ \t]*:([^\r]*)/gi)]
  if (fields.length === 0) return 0
  const [, name = '', value = ''] = fields[0] ?? []
  if (fields.length > 1) return undefined
  if (name.toLowerCase() === 'transfer-encoding') {
    return value.trim().toLowerCase() === 'chunked' ? 'chunked' : undefined
  }
  return /^[ \t]*\d{1,15}[ \t]*$/.test(value) ? Number(value) : undefined
}

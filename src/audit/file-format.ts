import { canonicalJson } from './canonical.ts'
import type { StoredEvent } from './chain.ts'
import type { StoredCheckpoint } from './checkpoint.ts'
import { type Line, splitLines } from './lines.ts'
import type { Problem } from './problems.ts'

/**
 * An exported log is JSON lines, each ended by a line feed and in canonical JSON:
 *
 *   {"leasehold_audit":1}                                       the format
 *   {"checkpoint":{"jws":…,"number":…}}                         all checkpoints, by number
 *   {"event":{"at":…,"body":…,"hash":…,"seq":…,"writer":…}}     all events, each writer's by seq
 *   {"end":{"checkpoints":…,"events":…}}                        how many there were
 *
 * Checkpoints come first, so that a file is verified as it is read, and because a log in use must be exported that
 * way: an event committed in between is one too many, not one too few.
 */
export async function* writeAuditFile(
  checkpoints: AsyncIterable<StoredCheckpoint>,
  events: AsyncIterable<StoredEvent>,
): AsyncGenerator<string> {
  const written = { checkpoints: 0, events: 0 }
  yield lineOf(FORMAT)
  for await (const { number, jws } of checkpoints) {
    written.checkpoints += 1
    yield lineOf({ checkpoint: { number, jws } })
  }
  for await (const { writer, seq, at, body, hash } of events) {
    written.events += 1
    yield lineOf({ event: { writer, seq, at, body, hash } })
  }
  yield lineOf({ end: written })
}

const FORMAT = { leasehold_audit: 1 }

const lineOf = (value: unknown): string => `${canonicalJson(value)}\n`

/**
 * Reads an exported log in one pass: `checkpoints` first, to its end, and then `events`. What is wrong with the file
 * itself goes to `report`, and reading goes on behind it.
 */
export function readAuditFile(
  bytes: AsyncIterable<Uint8Array>,
  report: (problem: Problem) => void,
): { checkpoints: AsyncIterable<StoredCheckpoint>; events: AsyncIterable<StoredEvent> } {
  let cutOff = false
  const entries = readEntries(splitLines(bytes), (problem) => {
    cutOff ||= problem.kind === 'truncated'
    report(problem)
  })
  const read = { checkpoints: 0, events: 0 }
  /** The entry that ended the checkpoints. */
  let ahead: Entry | undefined

  const next = async (): Promise<Entry | undefined> => {
    const taken = ahead
    ahead = undefined
    if (taken) return taken
    const { value, done } = await entries.next()
    return done ? undefined : value
  }

  async function* checkpoints(): AsyncGenerator<StoredCheckpoint> {
    for (let entry = await next(); entry; entry = await next()) {
      if (!('checkpoint' in entry)) {
        ahead = entry
        return
      }
      read.checkpoints += 1
      yield entry.checkpoint
    }
  }

  async function* events(): AsyncGenerator<StoredEvent> {
    for (let entry = await next(); entry; entry = await next()) {
      if ('end' in entry) return checkEnd(entry, read, await next(), report)
      if ('checkpoint' in entry) report(flaw(entry.line, 'is a checkpoint behind an event'))
      else {
        read.events += 1
        yield entry.event
      }
    }
    const message = 'the file has no last line that counts its events: its end is missing'
    if (!cutOff) report({ kind: 'truncated', message })
  }

  return { checkpoints: checkpoints(), events: events() }
}

type Counts = { checkpoints: number; events: number }
type Entry = { line: number } & ({ checkpoint: StoredCheckpoint } | { event: StoredEvent } | { end: Counts })

const flaw = (line: number, what: string): Problem => ({
  kind: 'malformed',
  line,
  message: `line ${line} of the file ${what}`,
})

function checkEnd(
  { line, end }: Extract<Entry, { end: unknown }>,
  read: Counts,
  behind: Entry | undefined,
  report: (problem: Problem) => void,
): void {
  if (behind) report(flaw(behind.line, 'stands behind the end'))
  if (end.checkpoints !== read.checkpoints || end.events !== read.events) {
    const said = `${end.checkpoints} checkpoints and ${end.events} events`
    report(flaw(line, `counts ${said}, the file holds ${read.checkpoints} and ${read.events}`))
  }
}

async function* readEntries(
  lines: AsyncIterable<Line>,
  report: (problem: Problem) => void,
): AsyncGenerator<Entry> {
  for await (const { line, text, ended } of lines) {
    if (!ended) {
      report({ kind: 'truncated', line, message: `line ${line} of the file, the last, is cut off` })
      return
    }
    if (line === 1) {
      if (text !== canonicalJson(FORMAT)) report(flaw(line, 'does not say that it is an audit log'))
      continue
    }
    const said = text === undefined ? undefined : parsed(text)
    if (said) yield { line, ...said }
    else report(flaw(line, 'is not one of an audit log'))
  }
}

type Said = { checkpoint: StoredCheckpoint } | { event: StoredEvent } | { end: Counts }

/** Only text this writer would have written: what a strict reader does not see, nobody else must see either. */
function parsed(text: string): Said | undefined {
  try {
    const said: unknown = JSON.parse(text)
    return isSaid(said) && canonicalJson(said) === text ? said : undefined
  } catch {
    return undefined
  }
}

const SHAPES: Record<string, Record<string, 'number' | 'string'>> = {
  checkpoint: { number: 'number', jws: 'string' },
  event: { writer: 'string', seq: 'number', at: 'string', body: 'string', hash: 'string' },
  end: { checkpoints: 'number', events: 'number' },
}

function isSaid(value: unknown): value is Said {
  if (typeof value !== 'object' || value === null) return false
  const [[kind = '', members] = [], ...others] = Object.entries(value)
  const shape = Object.hasOwn(SHAPES, kind) ? SHAPES[kind] : undefined
  if (!shape || others.length > 0 || typeof members !== 'object' || members === null) return false
  const given = Object.entries(members)
  return (
    given.length === Object.keys(shape).length &&
    given.every(([name, member]) => typeof member === shape[name])
  )
}

import { createHash } from 'node:crypto'
import type { AuditCopies } from '../ledger/audit.ts'

/** An event as it rests in the ledger and in files; each member is text or number exactly as it was hashed. */
export type StoredEvent = {
  writer: string
  /** 1 for a writer's first event, and no number left out. */
  seq: number
  /** RFC 3339 in UTC with microseconds; never earlier than the writer's event before. */
  at: string
  /** Canonical JSON, kept as text. */
  body: string
  /** SHA-256 in hex over the event and the hash of the one before. */
  hash: string
  /** What a ledger repeats of the event for questions, and nothing hashes; absent in files. */
  copies?: AuditCopies
}

/** The end of a writer's chain; `seq` 0 when it has no event yet. */
export type ChainHead = { writer: string; seq: number; hash: string; at: string }

export const WRITER_PATTERN = /^[0-9a-z][0-9a-z-]{0,63}$/
/** Of one length, so that times compare as text. */
const TIME_PATTERN = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z$/
export const HASH_PATTERN = /^[0-9a-f]{64}$/

/** Whether a text is a time as the log writes it. */
export const isTime = (at: string): boolean => TIME_PATTERN.test(at) && !Number.isNaN(Date.parse(at))

/** A new, empty chain. Its first event is bound to the writer's name, so a chain cannot be passed off as another's. */
export function startChain(writer: string): ChainHead {
  if (!WRITER_PATTERN.test(writer))
    throw new Error(`an audit writer cannot be called ${JSON.stringify(writer)}`)
  return { writer, seq: 0, hash: sha256(`leasehold audit chain v1\n${writer}`), at: '' }
}

/**
 * The next event of a chain, and the chain's end after it. A time before the last event's (the ledger's clock was set
 * back) becomes that event's time. Throws when `at` has not the form of `StoredEvent`.
 */
export function link(
  head: ChainHead,
  { at, body }: { at: string; body: string },
): { event: StoredEvent; head: ChainHead } {
  if (!isTime(at)) throw new Error(`an audit event cannot be dated ${JSON.stringify(at)}`)
  const placed = { writer: head.writer, seq: head.seq + 1, at: at < head.at ? head.at : at, body }
  const hash = hashOf(head.hash, placed)
  return { event: { ...placed, hash }, head: { writer: head.writer, seq: placed.seq, at: placed.at, hash } }
}

/**
 * An event's hash, given that of the one before. Fields are joined by line feeds, which only the last can hold, so no
 * two events are hashed as the same text; `sha256sum` can follow it.
 */
export const hashOf = (previous: string, { writer, seq, at, body }: Omit<StoredEvent, 'hash'>): string =>
  sha256(`leasehold audit event v1\n${previous}\n${writer}\n${seq}\n${at}\n${body}`)

export const sha256 = (text: string): string => createHash('sha256').update(text, 'utf8').digest('hex')

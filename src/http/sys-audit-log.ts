import { isTime } from '../audit/chain.ts'
import type { AuditLog, AuditQuestion, NextPage } from '../audit/log.ts'
import type { AuditHash } from '../audit/parameters.ts'
import { BrokerError } from '../lib/errors.ts'
import { bool, type Decoded, defaulted, type Fields, int, oneOf, required, text } from './fields.ts'
import { type Answer, handle, type Route } from './route.ts'

const QUESTION_FIELDS = {
  from: text,
  to: text,
  principal: text,
  lease_id: text,
  target: text,
  type: oneOf('request', 'login', 'lease_step', 'system', 'close'),
  path: text,
  grant: text,
  newest: bool,
  limit: defaulted(int, 100),
  after: text,
} satisfies Fields

const HASH_FIELDS = { input: required(text, 'the "input" parameter is empty') } satisfies Fields

const MAX_LIMIT = 1_000

/** The log itself, where the dialect wants a sink. */
const OWN_PATH = 'leasehold/'

/** Questions to the audit log, relative to `sys/`. */
export function sysAuditLogRoutes(parts: {
  auditLog: AuditLog
  auditHash: AuditHash
  auditSinks: { list(): Promise<{ path: string }[]> }
}): Route[] {
  return [
    {
      path: 'leasehold/audit',
      // The log says who did what from where: as guarded as the dialect's own list of sinks.
      on: { read: handle(QUESTION_FIELDS, ({ fields }) => ask(parts.auditLog, fields), { sudo: true }) },
    },
    {
      path: 'leasehold/audit/checkpoint',
      on: {
        read: handle({}, async () => {
          const newest = await parts.auditLog.newestCheckpoint()
          return newest && { data: { number: newest.number, hash: newest.hash, checkpoint: newest.jws } }
        }),
      },
    },
    {
      path: 'leasehold/audit/state',
      on: {
        read: handle({}, async () => ({ data: shownState(await parts.auditLog.state()) }), { sudo: true }),
      },
    },
    {
      path: 'audit-hash/:path*',
      on: {
        update: handle(HASH_FIELDS, async ({ capture, fields }) => {
          const path = `${capture('path')}/`
          // One key hashes for all of them: every sink gets the same events.
          if (path !== OWN_PATH && !(await parts.auditSinks.list()).some((sink) => sink.path === path)) {
            throw new BrokerError('invalid_request', `unknown audit backend ${JSON.stringify(path)}`)
          }
          return { data: { hash: parts.auditHash(fields.input) } }
        }),
      },
    },
  ]
}

function shownState({ eventsEstimate, writers, checkpoint, now }: Awaited<ReturnType<AuditLog['state']>>) {
  return {
    events_estimate: eventsEstimate,
    writers: writers.map(({ writer, lastSeq, lastAt }) => ({ writer, last_seq: lastSeq, last_at: lastAt })),
    checkpoint: checkpoint
      ? { number: checkpoint.number, hash: checkpoint.hash, made_at: checkpoint.madeAt.toISOString() }
      : null,
    now: now.toISOString(),
  }
}

async function ask(log: AuditLog, fields: Decoded<typeof QUESTION_FIELDS>): Promise<Answer> {
  const { events, next } = await log.find(questionOf(fields))
  return { data: { events, next: next ? cursorOf(next) : null } }
}

function questionOf({
  from,
  to,
  lease_id,
  after,
  limit,
  ...same
}: Decoded<typeof QUESTION_FIELDS>): AuditQuestion {
  if (limit < 1 || limit > MAX_LIMIT) {
    throw new BrokerError('invalid_request', `limit: expected a number from 1 to ${MAX_LIMIT}`)
  }
  const page = after ? pageOf(after) : undefined
  return {
    ...same,
    limit,
    leaseId: lease_id,
    from: from === undefined ? undefined : timeOf('from', from),
    to: to === undefined ? page?.to : timeOf('to', to),
    after: page?.after,
  }
}

const RFC_3339 = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.(\d{1,9}))?(?:Z|[+-]\d\d:\d\d)$/

/** As the log writes it: to the microsecond, which a `Date` does not hold. */
function timeOf(name: string, sent: string): string {
  const [matched, fraction = ''] = RFC_3339.exec(sent) ?? []
  const time = new Date(sent)
  const sentence = `${name}: expected a time in RFC 3339, such as 2026-01-31T09:00:00Z`
  if (matched === undefined || Number.isNaN(time.getTime())) {
    throw new BrokerError('invalid_request', sentence)
  }
  const at = `${time.toISOString().slice(0, 19)}.${fraction.slice(0, 6).padEnd(6, '0')}Z`
  if (!isLedgerTime(at)) throw new BrokerError('invalid_request', sentence)
  return at
}

/** The ledger's calendar has the day: it knows no year 0. */
const isLedgerTime = (at: string): boolean =>
  isTime(at) && !at.startsWith('0000') && new Date(at).toISOString().startsWith(at.slice(0, 19))

const cursorOf = ({ after: { at, writer, seq }, to }: NextPage): string =>
  Buffer.from(JSON.stringify([at, writer, seq, to])).toString('base64url')

/** A cursor is no secret and gives no right: a made-up one begins elsewhere in what the caller may read anyway. */
function pageOf(cursor: string): NextPage {
  const [at, writer, seq, to, ...more] = membersOf(cursor)
  if (
    isPlaceTime(at) &&
    typeof writer === 'string' &&
    !writer.includes('\0') &&
    Number.isSafeInteger(seq) &&
    isPlaceTime(to) &&
    more.length === 0
  ) {
    return { after: { at, writer, seq: seq as number }, to }
  }
  throw new BrokerError('invalid_request', 'after: expected what an earlier answer gave as next')
}

/** Infinite ones are left behind by tampering alone, and asked for like others. */
const isPlaceTime = (at: unknown): at is string =>
  typeof at === 'string' && (isLedgerTime(at) || /^-?infinity$/.test(at))

function membersOf(cursor: string): unknown[] {
  try {
    const members: unknown = JSON.parse(Buffer.from(cursor, 'base64url').toString('utf8'))
    return Array.isArray(members) ? members : []
  } catch {
    return []
  }
}

import {
  type DetailedLease,
  type LeasePage,
  type LeasePlace,
  type LeaseQuestion,
  LIVE_STATES,
  type ListedLease,
  type ListedState,
} from '../lease/listing.ts'
import { wireLeaseId } from '../lease/wire-id.ts'
import { BrokerError } from '../lib/errors.ts'
import { ID_PATTERN } from '../lib/ids.ts'
import type { Principal } from '../policy/principal.ts'
import type { PageFields } from './sys-listings.ts'

const MOST_ON_A_PAGE = 200

const invalid = (text: string) => new BrokerError('invalid_request', text)

/** What a page was asked for; throws for what cannot be. */
export function readLeaseQuestion(fields: PageFields): LeaseQuestion {
  const { limit, cursor, prefix, target, mount, grant } = fields
  if (limit < 1 || limit > MOST_ON_A_PAGE) {
    throw invalid(`limit: expected a number from 1 to ${MOST_ON_A_PAGE}`)
  }
  return {
    states: statesOf(fields.state ?? []),
    after: cursor ? placeOf(cursor) : undefined,
    limit,
    prefix: prefix || undefined,
    targetName: target || undefined,
    mountPath: mount ? `${mount.replace(/\/+$/, '')}/` : undefined,
    grantId: grant || undefined,
  }
}

function statesOf(asked: readonly string[]): ListedState[] {
  const names = asked.filter((name) => name !== '')
  const wrong = names.find((name) => name !== 'revoked' && !LIVE_STATES.some((state) => state === name))
  if (wrong !== undefined) throw invalid(`state: expected some of ${LIVE_STATES.join(', ')}, or revoked`)
  if (names.includes('revoked') && names.length > 1) {
    throw invalid('state: leases that are over are listed by themselves; ask for revoked alone')
  }
  return names.length > 0 ? (names as ListedState[]) : ['issuing', 'active', 'revoking']
}

const PLACE_TIME = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z$/

const cursorOf = ({ at, id }: LeasePlace): string =>
  Buffer.from(JSON.stringify([at, id])).toString('base64url')

/** It gives no right: a made-up one begins elsewhere in what its caller may read anyway. */
function placeOf(cursor: string): LeasePlace {
  try {
    const [at, id, ...more] = JSON.parse(Buffer.from(cursor, 'base64url').toString('utf8'))
    const isTime = typeof at === 'string' && PLACE_TIME.test(at) && !Number.isNaN(Date.parse(at))
    if (isTime && ID_PATTERN.test(id) && more.length === 0) return { at, id }
  } catch {
    // Said below.
  }
  throw invalid('cursor: expected what an earlier answer gave')
}

const time = (at: Date | null): string | null => at?.toISOString() ?? null

function shownLease(lease: ListedLease) {
  const { path, mountPath } = lease
  return {
    lease_id: wireLeaseId(lease),
    id: lease.id,
    path,
    role: path.slice(path.lastIndexOf('/') + 1),
    mount: mountPath,
    target: lease.targetName,
    engine: lease.engine,
    account: lease.account,
    principal: lease.principalId,
    principal_name: lease.principalName,
    state: lease.state,
    stuck: lease.stuck,
    issued_at: time(lease.issuedAt),
    expires_at: time(lease.expiresAt),
    hard_expires_at: time(lease.hardExpiresAt),
    renewed_at: time(lease.renewedAt),
    limited_by: lease.limitedBy,
    grant_id: lease.grantId,
    next_action_at: time(lease.nextActionAt),
    attempts: lease.attempts,
    last_error: lease.lastError ?? '',
    end_reason: lease.endReason,
    access_ended_at: time(lease.accessEndedAt),
    ended_at: time(lease.endedAt),
  }
}

export const shownLeasePage = ({ leases, next }: LeasePage, now: Date) => ({
  leases: leases.map(shownLease),
  cursor: next ? cursorOf(next) : null,
  now: now.toISOString(),
})

export function shownDetail(
  lease: DetailedLease,
  { holder, may }: { holder: Principal | undefined; may: { renew: boolean; revoke: boolean } },
) {
  return {
    ...shownLease(lease),
    now: time(lease.now),
    renewable: lease.renewable,
    revocability: lease.revocability,
    holder: holder ? shownHolder(holder) : null,
    allowed_by: lease.allowedBy,
    timeline: timelineOf(lease),
    receipt: lease.receipt,
    may,
  }
}

const shownHolder = ({ displayName, accessor, identity: { kind, mount, subject, groups } }: Principal) => ({
  display_name: displayName,
  kind,
  mount,
  subject,
  accessor,
  groups,
})

type Moment = { at: string; what: string; detail: Readonly<Record<string, unknown>> | null }

/** What happened to it, in order. */
function timelineOf(lease: DetailedLease): Moment[] {
  const { issuedAt, renewedAt, renewals, expiresAt, endReason, accessEndedAt, endedAt, steps } = lease
  const at = (when: Date | null, what: string, detail: Moment['detail'] = null): Moment[] =>
    when ? [{ at: when.toISOString(), what, detail }] : []
  return [
    ...at(issuedAt, 'issued'),
    ...at(renewedAt, 'renewed', { times: renewals }),
    ...at(endReason === 'expired' ? expiresAt : null, 'due'),
    ...steps.map(({ step, at, evidence }) => ({ at, what: step, detail: evidence })),
    ...at(accessEndedAt, 'access_ended'),
    ...at(endedAt, 'ended', { reason: endReason }),
  ].sort((a, b) => Date.parse(a.at) - Date.parse(b.at))
}

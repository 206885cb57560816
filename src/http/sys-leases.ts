import { about } from '../audit/request.ts'
import type { Lease, LeaseBook } from '../lease/book.ts'
import type { Outcome } from '../lease/end.ts'
import type { Ender } from '../lease/ender.ts'
import type { Renew } from '../lease/renew.ts'
import { BrokerError } from '../lib/errors.ts'
import type { Principal } from '../policy/principal.ts'
import { deniedBy } from './denial.ts'
import { bool, defaulted, duration, type Fields, text } from './fields.ts'
import { shownTerms } from './lease-answers.ts'
import { mayTouch } from './own-leases.ts'
import { renewalChecks } from './renewal-checks.ts'
import { type Answer, type Call, handle, type Route } from './route.ts'

type Parts = {
  book: LeaseBook
  renew: Renew
  ender: Ender
  /** Who asked for a lease, as that token proved it, whether or not it still lives. */
  holder: (tokenId: string) => Promise<Principal>
}

const RENEW_FIELDS = { lease_id: text, increment: duration } satisfies Fields
const REVOKE_FIELDS = { lease_id: text, sync: defaulted(bool, true) } satisfies Fields

/** `sys/leases/*` and its four legacy spellings, relative to `sys/`. */
export function sysLeaseRoutes(parts: Parts): Route[] {
  const { book, ender } = parts
  return [
    {
      path: 'leases',
      on: {
        read: handle({ type: text, limit: text }, (call) => stuckLeases(book, call.fields), { sudo: true }),
      },
    },
    {
      path: 'leases/count',
      on: {
        read: handle({ type: text, include_child_namespaces: bool }, (call) =>
          countStuck(book, call.fields.type),
        ),
      },
    },
    { path: 'leases/tidy', on: { update: handle({}, async () => TIDY_STARTED) } },
    {
      path: 'leases/lookup',
      on: {
        update: handle({ lease_id: text }, (call) => lookUp(parts, call)),
        list: handle({}, async () => keys(await book.keys('')), { sudo: true }),
      },
    },
    {
      path: 'leases/lookup/:prefix*',
      on: {
        list: handle({}, async ({ capture }) => keys(await book.keys(withSlash(capture('prefix')))), {
          sudo: true,
        }),
      },
    },
    {
      path: 'leases/renew',
      on: { update: handle(RENEW_FIELDS, (call) => renewLease(parts, call, call.fields.lease_id)) },
    },
    {
      path: 'leases/renew/:url_lease_id*',
      on: {
        update: handle(RENEW_FIELDS, async (call) => {
          const { lease_id, ...judged } = await meant(call, 'renew')
          return renewLease(parts, { ...call, ...judged }, lease_id)
        }),
      },
    },
    {
      path: 'leases/revoke',
      on: { update: handle(REVOKE_FIELDS, (call) => revoke(parts, call, call.fields.lease_id)) },
    },
    {
      path: 'leases/revoke/:url_lease_id*',
      on: {
        update: handle(REVOKE_FIELDS, async (call) => {
          const { lease_id, ...judged } = await meant(call, 'revoke')
          return revoke(parts, { ...call, ...judged }, lease_id)
        }),
      },
    },
    {
      path: 'leases/revoke-prefix/:prefix*',
      on: {
        update: handle({ prefix: text, sync: defaulted(bool, true) }, (call) => revokePrefix(ender, call), {
          sudo: true,
        }),
      },
    },
    {
      path: 'leases/revoke-force/:prefix*',
      on: { update: handle({ prefix: text }, (call) => revokeForce(ender, call), { sudo: true }) },
    },
  ]
}

/** A lease in the body counts before the one in the path, and policy has judged the path: it is asked about the other. */
async function meant(
  { capture, fields, policy, principal, parameters, ...judged }: Call<{ lease_id: typeof text }>,
  verb: 'renew' | 'revoke',
): Promise<{ lease_id: string } & Pick<Call, 'decision' | 'path'>> {
  const inPath = capture('url_lease_id')
  const { lease_id = inPath } = fields
  if (lease_id === inPath) return { lease_id, decision: judged.decision, path: judged.path }
  const path = `sys/leases/${verb}/${lease_id}`
  const decision = await policy.decide({ principal, operation: 'update', path, parameters })
  if (!decision.allowed) throw deniedBy(decision)
  return { lease_id, decision, path }
}

const STUCK_LIMIT = 10_000

const TIDY_STARTED: Answer = {
  status: 202,
  warnings: [
    'Tidy operation successfully started. Any information from the operation will be printed to the server logs.',
  ],
}

const keys = (found: string[]): Answer => ({ data: { keys: found } })

const withSlash = (prefix: string): string => (prefix.endsWith('/') ? prefix : `${prefix}/`)

function requireLeaseId(leaseId: string | undefined): string {
  if (!leaseId) throw new BrokerError('invalid_request', 'lease_id must be specified')
  return leaseId
}

async function lookUp(parts: Parts, call: Call<{ lease_id: typeof text }>): Promise<Answer> {
  const leaseId = requireLeaseId(call.fields.lease_id)
  const lease = await parts.book.find(leaseId, mayTouch(call))
  // In the dialect an ended lease is unknown; its history is in the receipt.
  if (lease.state === 'revoked') throw new BrokerError('invalid_request', 'invalid lease')
  return { data: shownLease(leaseId, lease) }
}

function shownLease(leaseId: string, lease: Lease): Record<string, unknown> {
  return {
    id: leaseId,
    path: lease.path,
    issue_time: lease.issuedAt.toISOString(),
    expire_time: lease.expiresAt.toISOString(),
    last_renewal: lease.renewedAt?.toISOString() ?? null,
    ttl: Math.trunc((lease.expiresAt.getTime() - lease.now.getTime()) / 1_000),
    renewable: lease.renewable,
    state: lease.state,
    account: lease.account,
    target: lease.targetName,
    expires_at: lease.expiresAt.toISOString(),
    hard_expires_at: lease.hardExpiresAt.toISOString(),
    limited_by: lease.limitedBy,
    grant_id: lease.grantId,
    revocability: lease.capabilities?.revocability ?? 'bounded',
    access_ended_at: lease.accessEndedAt?.toISOString() ?? null,
    end_reason: lease.endReason,
    revoke_attempts: lease.attempts,
    revoke_error: lease.lastError ?? '',
    steps: lease.steps,
  }
}

async function renewLease(
  parts: Parts,
  call: Call<typeof RENEW_FIELDS>,
  sentLeaseId: string | undefined,
): Promise<Answer> {
  const leaseId = requireLeaseId(sentLeaseId)
  const terms = await parts.renew({
    leaseId,
    incrementSeconds: call.fields.increment || undefined,
    ...renewalChecks(call, parts.holder),
  })
  return {
    lease: { id: leaseId, renewable: true, durationSeconds: terms.ttlSeconds },
    warnings: terms.warnings,
    leasehold: shownTerms(terms),
  }
}

async function revoke(
  parts: Parts,
  call: Call<typeof REVOKE_FIELDS>,
  sentLeaseId: string | undefined,
): Promise<Answer> {
  const leaseId = requireLeaseId(sentLeaseId)
  const { fields } = call
  const lease = await parts.book.find(leaseId, mayTouch(call)).catch(ignoreUnknown)
  // Revoking what is not there has succeeded, in the dialect.
  if (!lease || lease.state === 'revoked') return fields.sync ? undefined : { status: 202 }
  about({ lease_id: leaseId, target: lease.targetName })
  if (!fields.sync) {
    await parts.ender.doom({ ids: [lease.id] }, 'revoked')
    return { status: 202 }
  }
  const outcomes = await parts.ender.endNow({ ids: [lease.id] }, 'revoked')
  const failure = outcomes.find(({ state }) => state !== 'revoked')
  if (failure) throw new BrokerError('invalid_request', `failed to revoke entry: ${reasonOf(failure)}`)
  return undefined
}

function ignoreUnknown(error: unknown): undefined {
  if (error instanceof BrokerError && error.message === 'invalid lease') return undefined
  throw error
}

const reasonOf = (outcome: Outcome): string =>
  `${outcome.error ?? 'it cannot be proved gone yet'}; it is being tried again in the background`

async function revokePrefix(
  ender: Ender,
  { fields, capture }: Call<{ prefix: typeof text; sync: ReturnType<typeof defaulted<boolean>> }>,
): Promise<Answer> {
  const under = capture('prefix')
  if (!fields.sync) {
    await ender.doom({ under }, 'revoked')
    return { status: 202 }
  }
  const outcomes = await ender.endNow({ under }, 'revoked')
  const failed = outcomes.findIndex(({ state }) => state !== 'revoked')
  const failure = outcomes[failed]
  if (!failure) return undefined
  throw new BrokerError(
    'invalid_request',
    `failed to revoke "${failure.leaseId}" (${failed + 1} / ${outcomes.length}): ${reasonOf(failure)}`,
  )
}

/** Where the dialect drops what it cannot end, we keep trying; the caller is told it is done with either way. */
async function revokeForce(ender: Ender, { capture }: Call): Promise<Answer> {
  await ender.endNow({ under: capture('prefix') }, 'revoked')
  return undefined
}

async function stuckLeases(book: LeaseBook, fields: { type?: string; limit?: string }): Promise<Answer> {
  requireIrrevocable(fields.type)
  const limit = parseLimit(fields.limit)
  const stuck = await book.stuck(limit)
  return {
    data: {
      lease_count: stuck.length,
      leases: stuck.map(({ leaseId, mountAccessor, error }) => ({
        lease_id: leaseId,
        mount_id: mountAccessor,
        error,
      })),
    },
    warnings:
      limit === STUCK_LIMIT && stuck.length === limit
        ? [`more than ${limit} leases; use limit=none to see all`]
        : [],
  }
}

async function countStuck(book: LeaseBook, type: string | undefined): Promise<Answer> {
  requireIrrevocable(type)
  const counts = await book.countStuck()
  return {
    data: {
      lease_count: counts.reduce((sum, { count }) => sum + count, 0),
      counts: Object.fromEntries(counts.map(({ accessor, count }) => [accessor, count])),
    },
  }
}

function requireIrrevocable(type: string | undefined): void {
  if (type !== 'irrevocable') throw new BrokerError('not_found', '')
}

function parseLimit(limit: string | undefined): number | null {
  if (limit === undefined || limit === '') return STUCK_LIMIT
  if (limit === 'none') return null
  const count = Number(limit)
  if (!Number.isSafeInteger(count) || count <= 0) {
    throw new BrokerError('invalid_request', `invalid 'limit' parameter: "${limit}"`)
  }
  return count
}

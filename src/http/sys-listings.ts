import { about } from '../audit/request.ts'
import type { Ender } from '../lease/ender.ts'
import type { DetailedLease, LeaseListing, OwnedLease } from '../lease/listing.ts'
import type { LeaseSummary, Window } from '../lease/summary.ts'
import type { TargetHealth } from '../lease/target-listing.ts'
import { splitLeaseId, wireLeaseId } from '../lease/wire-id.ts'
import { BrokerError } from '../lib/errors.ts'
import { type Principal, principalId } from '../policy/principal.ts'
import { commaList, type Decoded, defaulted, type Fields, int, oneOf, text } from './fields.ts'
import { mayTouch, touching } from './own-leases.ts'
import { type Answer, type Call, handle, type Route } from './route.ts'
import { readLeaseQuestion, shownDetail, shownLeasePage } from './sys-listings-shown.ts'

type Parts = {
  listing: LeaseListing
  ender: Ender
  /** Who asked for a lease, as that token proved it, whether or not it still lives. */
  holder: (tokenId: string) => Promise<Principal>
  listTargets: () => Promise<TargetHealth[]>
  summary: (window: Window) => Promise<LeaseSummary>
  now: () => Promise<Date>
}

const PAGE_FIELDS = {
  state: commaList,
  prefix: text,
  target: text,
  mount: text,
  grant: text,
  limit: defaulted(int, 50),
  cursor: text,
} satisfies Fields

export type PageFields = Decoded<typeof PAGE_FIELDS>

const ALL_FIELDS = { ...PAGE_FIELDS, principal: text } satisfies Fields

const REVOKE_FIELDS = { ids: commaList } satisfies Fields

const SUMMARY_FIELDS = { window: defaulted(oneOf('hour', 'day', 'week'), 'hour') } satisfies Fields

const MOST_AT_ONCE = 500

/** What the operators' pages show, relative to `sys/`. Whoever lists all leases needs a rule that says so. */
export function sysListingRoutes(parts: Parts): Route[] {
  const { listing, now } = parts
  return [
    {
      path: 'leasehold/leases',
      on: {
        read: handle(ALL_FIELDS, async ({ fields }) => {
          const question = { ...readLeaseQuestion(fields), principalId: fields.principal || undefined }
          return { data: shownLeasePage(await listing.page(question), await now()) }
        }),
      },
    },
    {
      path: 'leasehold/leases-self',
      on: {
        read: handle(PAGE_FIELDS, async ({ fields, principal }) => {
          const question = { ...readLeaseQuestion(fields), ...heldBy(principal) }
          return { data: shownLeasePage(await listing.page(question), await now()) }
        }),
      },
    },
    {
      path: 'leasehold/leases/revoke',
      on: { update: handle(REVOKE_FIELDS, async (call) => ({ data: await revokeAll(parts, call) })) },
    },
    {
      path: 'leasehold/leases/:lease_id*',
      on: { read: handle({}, (call) => readDetail(parts, call)) },
    },
    {
      path: 'leasehold/targets',
      on: {
        read: handle({}, async () => ({
          data: { targets: await parts.listTargets(), now: (await now()).toISOString() },
        })),
      },
    },
    {
      path: 'leasehold/summary',
      on: {
        read: handle(SUMMARY_FIELDS, async ({ fields: { window } }) => ({
          data: shownSummary(window, await parts.summary(window)),
        })),
      },
    },
  ]
}

/** In place of a lease that there is not: whoever may not have those of others is not told which there are. */
const NOBODYS = { id: '', path: '', tokenId: '', principalId: '' }

async function readDetail(parts: Parts, call: Call): Promise<Answer> {
  const leaseId = call.capture('lease_id')
  const lease = await parts.listing.detail(leaseId)
  await mayTouch(call)(lease ?? { ...NOBODYS, ...splitLeaseId(leaseId) })
  if (!lease) throw new BrokerError('not_found', 'there is no such lease')
  const [holder, may] = await Promise.all([
    parts.holder(lease.tokenId).catch(() => undefined),
    mayDo(call, lease),
  ])
  return { data: shownDetail(lease, { holder, may }) }
}

/** What the caller could do to it next: a page offers nothing that would be refused. */
async function mayDo(call: Call, lease: DetailedLease): Promise<{ renew: boolean; revoke: boolean }> {
  const may = async (verb: 'renew' | 'revoke'): Promise<boolean> => {
    const [operation, path, parameters] = [
      'update',
      `sys/leases/${verb}`,
      { lease_id: wireLeaseId(lease) },
    ] as const
    const decision = await call.policy.decide({ principal: call.principal, operation, path, parameters })
    if (!decision.allowed) return false
    return (await touching({ ...call, decision, operation, path, parameters })(lease)) === undefined
  }
  const [renew, revoke] = await Promise.all([
    lease.renewable && may('renew'),
    lease.state !== 'revoked' && may('revoke'),
  ])
  return { renew, revoke }
}

type Outcome = 'started' | 'already_ended' | 'unknown' | 'denied'

/** Begins to end many, and waits for none: from here on each ends by itself. One that may not be is no reason to keep the others. */
async function revokeAll({ listing, ender, now }: Parts, call: Call<typeof REVOKE_FIELDS>) {
  const ids = [...new Set(call.fields.ids ?? [])]
  if (ids.length === 0 || ids.length > MOST_AT_ONCE) {
    throw new BrokerError('invalid_request', `ids: expected 1 to ${MOST_AT_ONCE} lease ids`)
  }
  const owners = await listing.owners(ids)
  const refusal = touching(call)
  const judged = await Promise.all(
    ids.map(async (id) => {
      const lease = owners.get(id)
      const refused = (await refusal(lease ?? NOBODYS)) !== undefined
      return { id, lease: refused ? undefined : lease, outcome: outcomeOf(lease, refused) }
    }),
  )
  const started = judged.flatMap(({ lease, outcome }) => (lease && outcome === 'started' ? [lease] : []))
  about({ details: { leases: started.length, lease_ids: started.slice(0, NAMED_AT_MOST).map(wireLeaseId) } })
  if (started.length > 0) await ender.doom({ ids: started.map(({ id }) => id) }, 'revoked')
  return {
    outcomes: judged.map(({ id, lease, outcome }) => ({
      id,
      lease_id: lease ? wireLeaseId(lease) : null,
      outcome,
    })),
    started: started.length,
    now: (await now()).toISOString(),
  }
}

/** The event of one request names so many; the workers' events name each. */
const NAMED_AT_MOST = 50

function outcomeOf(lease: OwnedLease | undefined, refused: boolean): Outcome {
  if (refused) return 'denied'
  if (!lease) return 'unknown'
  return lease.state === 'revoked' ? 'already_ended' : 'started'
}

function shownSummary(window: Window, summary: LeaseSummary) {
  const { from, to, bucketSeconds, truncated, buckets, counts } = summary
  const ms = (value: number | null): number | null => (value === null ? null : Math.round(value))
  return {
    window,
    from: from.toISOString(),
    to: to.toISOString(),
    bucket_seconds: bucketSeconds,
    truncated,
    buckets: buckets.map(({ at, p50, p95, p99, max, ...numbers }) => ({
      at: at.toISOString(),
      ...numbers,
      lag_p50_ms: ms(p50),
      lag_p95_ms: ms(p95),
      lag_p99_ms: ms(p99),
      lag_max_ms: ms(max),
    })),
    counts,
    issue_rate_per_minute: Math.round(summary.issuedPerMinute * 10) / 10,
    now: to.toISOString(),
  }
}

/** Those of whoever logged in; without a login those of the token alone, as others of its tree were given to others. */
const heldBy = (principal: Principal) => ({
  principalId: principalId(principal),
  ...(principal.entityId === '' && { tokenId: principal.tokenId }),
})

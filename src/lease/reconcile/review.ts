import type { Sighting, Spec, Survey } from '../../engine/engine.ts'
import type { Db } from '../../ledger/db.ts'
import { countLiveLeases } from '../../ledger/lease-queries.ts'
import {
  doomIfStanding,
  endAnew,
  FIRST_PAGE,
  keepSightings,
  type Place,
  roleSpecs,
  type Standing,
  standingLeases,
} from '../../ledger/reconcile-leases.ts'
import { wireLeaseId } from '../wire-id.ts'
import { foundEvent, PAGE, type Scan, type ScanParts } from './parts.ts'
import { type Finding, note } from './report.ts'

/** What a page of leases showed, each with what there is to say of it. */
type Seen = {
  gone: Standing[]
  changed: { lease: Standing; seen: readonly string[] }[]
  letIn: Standing[]
  keep: { id: string; renewals: number; traits: Spec }[]
}

/**
 * Holds live leases against their accounts. The ledger is read before the target, and what is done about it asks again
 * whether the lease still stands as it was read: so a lease that ended or was renewed in between is not taken for one
 * that somebody else changed. Without proof of which server answers, no lease is closed for having no account.
 */
export async function reviewLeases(parts: ScanParts, scan: Scan, isProven: boolean): Promise<void> {
  const { survey } = scan.target.engine
  if (!survey) return
  const { targetId } = scan.claim
  const roles: Roles = new Map()
  // Leases that are renewed meanwhile come round again, which must not go on for ever.
  const most = 2 * (await countLiveLeases(parts.ledger, targetId)) + PAGE
  for (let after: Place | undefined = FIRST_PAGE; after && scan.report.leases < most; ) {
    parts.goOn()
    const page: Standing[] = await standingLeases(parts.ledger, { targetId, after, limit: PAGE })
    await learnRoles(parts.ledger, page, roles)
    const sightings = page.length === 0 ? [] : await survey.look(page.map((lease) => asAsked(lease, roles)))
    const seen = judgeAll(survey, page, sightings, roles)
    scan.report.leases += page.length
    if (seen.keep.length > 0) await keepSightings(parts.ledger, targetId, seen.keep)
    if (!isProven) warnOfGone(scan, seen.gone.splice(0))
    await act(parts, scan, seen)
    after = page.length < PAGE ? undefined : page.at(-1)
  }
}

const accountOf = ({ id, account, targetRef }: Standing) => ({ leaseId: id, name: account, targetRef })

/** One object for all leases of a role: engines remember by it what they read there. */
type Roles = Map<string, Spec>

async function learnRoles(db: Db, page: readonly Standing[], roles: Roles): Promise<void> {
  const unknown = new Set(page.map(({ roleId }) => roleId).filter((id) => !roles.has(id)))
  if (unknown.size === 0) return
  for (const [id, spec] of await roleSpecs(db, unknown)) roles.set(id, spec)
}

const roleOf = ({ roleId }: Standing, roles: Roles): Spec => roles.get(roleId) ?? {}

const asAsked = (lease: Standing, roles: Roles) => ({ account: accountOf(lease), role: roleOf(lease, roles) })

function judgeAll(
  survey: Survey,
  page: readonly Standing[],
  sightings: readonly (Sighting | null)[],
  roles: Roles,
): Seen {
  const seen: Seen = { gone: [], changed: [], letIn: [], keep: [] }
  page.forEach((lease, i) => {
    const sighting = sightings[i]
    if (lease.state === 'revoking') {
      if (sighting?.enabled) seen.letIn.push(lease)
    } else if (sighting) judgeOne(survey, lease, sighting, roleOf(lease, roles), seen)
    else if (sighting === null) seen.gone.push(lease)
  })
  return seen
}

function judgeOne(survey: Survey, lease: Standing, sighting: Sighting, role: Spec, seen: Seen): void {
  const { lifetimeMs, hardLifetimeMs, firstTraits, firstRenewals, renewals } = lease
  const { changes, keep } = survey.judge(sighting, {
    account: accountOf(lease),
    role,
    lifetimeMs,
    hardLifetimeMs,
    first: firstTraits && { traits: firstTraits, renewedSince: firstRenewals !== renewals },
  })
  if (changes.length > 0) seen.changed.push({ lease, seen: changes })
  else if (keep) seen.keep.push({ id: lease.id, renewals, traits: keep })
}

function warnOfGone({ report }: Scan, gone: readonly Standing[]): void {
  if (gone.length === 0) return
  const text = `${gone.length} live leases have no account here; none is closed, since nothing proves that it is the same server`
  if (!report.warnings.includes(text)) report.warnings.push(text)
}

/** Doomed with its event in one commit; the workers do the rest, and their proof is the second look. */
async function act(parts: ScanParts, scan: Scan, { gone, changed, letIn }: Seen): Promise<void> {
  if (gone.length + changed.length + letIn.length === 0) return
  const done = await parts.trail.commit(async (db) => {
    const found = await doomAll(db, gone, changed, letIn)
    const events = found.map(({ finding, lease: { id, path, account }, seen }) =>
      foundEvent(scan, finding, { id, path, account, ...(seen && { seen }) }),
    )
    return { result: found, events }
  })
  for (const { finding, lease, seen } of done) {
    const found = { account: lease.account, lease_id: wireLeaseId(lease), ...(seen && { seen }) }
    note(scan.report, finding, [found])
    parts.log.warn(
      { target: scan.claim.targetName, finding, ...found },
      'a lease is not as it was made; it is ended',
    )
  }
  if (done.length > 0) parts.wake(scan.claim.targetId)
}

type Act = { finding: Finding; lease: Standing; seen?: readonly string[] }

async function doomAll(
  db: Db,
  gone: readonly Standing[],
  changed: Seen['changed'],
  letIn: readonly Standing[],
): Promise<Act[]> {
  const goneIds = await doomIfStanding(db, gone, 'account_gone')
  const changedIds = await doomIfStanding(
    db,
    changed.map(({ lease }) => lease),
    'foreign_change',
  )
  const letInIds = await endAnew(db, letIn)
  return [
    ...gone
      .map((lease): Act => ({ finding: 'account_gone', lease }))
      .filter(({ lease }) => goneIds.has(lease.id)),
    ...changed
      .map(({ lease, seen }): Act => ({ finding: 'foreign_change', lease, seen }))
      .filter(({ lease }) => changedIds.has(lease.id)),
    ...letIn
      .map((lease): Act => ({ finding: 'let_in_again', lease }))
      .filter(({ lease }) => letInIds.has(lease.id)),
  ]
}

import type { Account } from '../../engine/engine.ts'
import {
  findKnown,
  insertOrphans,
  type KnownLease,
  ledgerNow,
  type OwnLease,
  ownRole,
} from '../../ledger/reconcile-leases.ts'
import { newId } from '../../lib/ids.ts'
import { wireLeaseId } from '../wire-id.ts'
import { foundEvent, PAGE, type Scan, type ScanParts } from './parts.ts'
import { note } from './report.ts'

/** The unknown accounts that an operator takes it upon himself to end: these, or all of them. */
export type EndUnknown = ReadonlySet<string> | 'all'

/** An account without a live lease that is to be ended, and the version of the role that says how. */
type Stray = { account: Account; roleId: string }

/**
 * Finds accounts that no live lease stands behind. Accounts are read first and the ledger after, and a lease is in the
 * ledger before its account is made: so none that is just being issued can look like a stray.
 *
 * Only an account whose own lease this ledger knows to have ended is ended by itself. One that the ledger does not
 * know may be another installation's, or one that was made after the backup the ledger was restored from.
 */
export async function endStrays(parts: ScanParts, scan: Scan, endUnknown: EndUnknown): Promise<void> {
  const since = await ledgerNow(parts.ledger)
  for await (const page of pagesOf(scan.target.engine.accounts())) {
    parts.goOn()
    scan.report.accounts += page.length
    const ids = page.map(({ leaseId }) => leaseId)
    const known = new Map((await findKnown(parts.ledger, ids, since)).map((lease) => [lease.id, lease]))
    const { strays, unknown } = sorted(page, known, scan)
    const toEnd = unknown.filter((account) => mayEnd(account, endUnknown))
    const left = unknown.filter((account) => !toEnd.includes(account))
    note(
      scan.report,
      'unknown',
      left.map(({ name }) => ({ account: name })),
    )
    if (toEnd.length > 0) {
      const roleId = await planFor(parts, scan)
      strays.push(...toEnd.map((account) => ({ account, roleId })))
    }
    if (strays.length > 0) await endAll(parts, scan, strays)
  }
}

/** Not all that carry a mark were made by a Leasehold: those have their lease's id in their names. Others have to be named. */
const mayEnd = ({ name, leaseId }: Account, endUnknown: EndUnknown): boolean =>
  endUnknown === 'all' ? name.includes(leaseId) : endUnknown.has(name)

function sorted(
  page: readonly Account[],
  known: ReadonlyMap<string, KnownLease>,
  { claim, report }: Scan,
): { strays: Stray[]; unknown: Account[] } {
  const strays: Stray[] = []
  const unknown: Account[] = []
  for (const account of page) {
    const lease = known.get(account.leaseId)
    const kind = kindOf(account, lease, claim.targetId)
    if (kind === 'elsewhere') report.elsewhere += 1
    else if (kind === 'unknown') unknown.push(account)
    else if (kind === 'orphan' && lease) strays.push({ account, roleId: lease.roleId })
  }
  return { strays, unknown }
}

function kindOf(
  account: Account,
  lease: KnownLease | undefined,
  targetId: string,
): 'live' | 'orphan' | 'elsewhere' | 'unknown' {
  if (!lease) return 'unknown'
  const isHere = lease.targetId === targetId
  const isItself =
    account.name === lease.account ||
    (isHere && account.targetRef !== null && account.targetRef === lease.targetRef)
  // Marks can be copied on to anything by who may write them.
  if (!isItself) return 'unknown'
  if (lease.endedBefore) return 'orphan'
  return isHere || lease.state === 'revoked' ? 'live' : 'elsewhere'
}

/** How to end an account of which nothing else is known. */
const planFor = ({ ledger, engineTypes }: ScanParts, { claim }: Scan): Promise<string> => {
  const spec = engineTypes.find(({ name }) => name === claim.engine)?.canaryRole ?? {}
  return ownRole(ledger, { id: newId(), mountId: claim.mountId, name: `.orphan-${claim.engine}`, spec })
}

/** Gives each a lease that only ends, committed with its event; one that is ending already has it. */
async function endAll(parts: ScanParts, scan: Scan, strays: readonly Stray[]): Promise<void> {
  const { claim, report } = scan
  const path = `${claim.mountPath}orphan/${claim.targetName}`
  const rows = strays.map(({ account, roleId }): OwnLease & { targetRef: string | null } => ({
    id: newId(),
    path,
    mountId: claim.mountId,
    roleId,
    targetId: claim.targetId,
    account: account.name,
    targetRef: account.targetRef,
  }))
  const written = await parts.trail.commit(async (db) => {
    const ids = await insertOrphans(db, rows)
    const doomed = rows.filter(({ id }) => ids.has(id))
    const events = doomed.map(({ id, account }) => foundEvent(scan, 'orphan', { id, path, account }))
    return { result: doomed, events }
  })
  if (written.length === 0) return
  note(
    report,
    'orphan',
    written.map(({ id, account }) => ({ account, lease_id: wireLeaseId({ path, id }) })),
  )
  parts.log.warn(
    { target: claim.targetName, accounts: written.length },
    'accounts without a lease are being ended',
  )
  parts.wake(claim.targetId)
}

async function* pagesOf(accounts: AsyncIterable<Account>): AsyncIterable<Account[]> {
  let page: Account[] = []
  for await (const account of accounts) {
    page.push(account)
    if (page.length < PAGE) continue
    yield page
    page = []
  }
  if (page.length > 0) yield page
}

import { type Db, type Ledger, lockNamed } from '../ledger/db.ts'
import type { Document } from '../ledger/documents.ts'
import {
  findQuota,
  type LeaseCount,
  listQuotas,
  putQuota,
  type QuotaKind,
  type QuotaRow,
  removeQuota,
} from '../ledger/quotas.ts'
import { dropFreeRates } from '../ledger/rate-counts.ts'
import { findTarget } from '../ledger/targets.ts'
import { BrokerError } from '../lib/errors.ts'
import { newId } from '../lib/ids.ts'
import { revised } from '../lib/revised.ts'
import type { Issuables } from './issuables.ts'
import type { Mounts } from './mounts.ts'
import {
  bySpecificity,
  countsOf,
  covers,
  isTarget,
  type LeaseAsk,
  type LeaseQuota,
  type Scope,
} from './quota-scope.ts'

export type { QuotaKind } from '../ledger/quotas.ts'

/** What the wire says of any quota. */
type Place = { path: string; role: string; target: string; inheritable: boolean | undefined }

export type RateQuotaWrite = Place & {
  /** Requests in each interval; a fraction is one request in a longer one. */
  rate: number
  /** 0 stands for one second. */
  intervalSeconds: number
  blockSeconds: number
  /** Empty for the usual: by address, and all together where a connection is to be spared. */
  groupBy: string
}

export type LeaseQuotaWrite = Place & { maxLeases: number; principal: string }

/** As a request meets it. */
export type RateQuota = Scope & {
  name: string
  max: number
  windowSeconds: number
  blockSeconds: number
  by: 'ip' | 'principal' | 'none'
}

export type Quotas = {
  names(kind: QuotaKind): Promise<string[]>
  /** As the wire shows it. */
  find(kind: QuotaKind, name: string): Promise<Document | undefined>
  /** Throws `invalid_request`, and changes nothing, when the quota cannot be. */
  writeRate(name: string, write: RateQuotaWrite): Promise<void>
  writeLeaseCount(name: string, write: LeaseQuotaWrite): Promise<void>
  /** One that is not there is no error, as in the dialect. */
  remove(kind: QuotaKind, name: string): Promise<void>
  /** The one quota that limits requests at a path, as of a revision of the ledger. */
  rateAt(revision: number, path: string): Promise<RateQuota | undefined>
  /** The one that limits, besides, requests there for credentials of a role, by the role's connection. */
  rateOfTarget(
    revision: number,
    ask: { path: string; mountId: string; roleName: string },
  ): Promise<RateQuota | undefined>
  /** What a lease would be counted by, as of a revision of the ledger. */
  leaseCounts(revision: number, ask: LeaseAsk): Promise<LeaseCount[]>
  /** Forgets counts of requests and logins that are over. For the sweep. */
  dropExpired(): Promise<number>
}

const GROUPINGS = ['ip', 'none', 'principal', 'entity_then_ip'] as const

/** A year: the longest anything is counted or refused for. */
const MAX_SECONDS = 366 * 86_400
const MAX_COUNT = 1_000_000_000
/** Of an entity or token accessor, or the hash of a token that has neither. */
const PRINCIPAL = /^(\*|[0-9a-z]{24}|[0-9a-f]{64})$/

const refuse = (text: string): BrokerError => new BrokerError('invalid_request', text)

export function createQuotas({
  ledger,
  mounts,
  issuables,
}: {
  ledger: Ledger
  mounts: Pick<Mounts, 'list'>
  issuables: Issuables
}): Quotas {
  const live = revised<Live>(async () => new Map([['all', liveQuotas(await listQuotas(ledger))]]))

  const write = (kind: QuotaKind, name: string, make: (db: Db) => Promise<Document>): Promise<void> =>
    ledger.transaction(async (db) => {
      await lockNamed(db, `quotas ${kind}`)
      const spec = await make(db)
      const rows = (await listQuotas(db)).filter((row) => row.kind === kind)
      const same = rows.find((row) => row.name !== name && aboutTheSame(row.spec, spec))
      if (same) {
        throw refuse(`quota rule with similar properties exists under the name ${JSON.stringify(same.name)}`)
      }
      const id = rows.find((row) => row.name === name)?.id ?? newId()
      await putQuota(db, { kind, name, id, spec })
    })

  return {
    names: async (kind) =>
      (await listQuotas(ledger)).filter((row) => row.kind === kind).map(({ name }) => name),
    async find(kind, name) {
      const row = await findQuota(ledger, kind, name)
      if (!row) return undefined
      const { mount_path: _, ...shown } = row.spec
      return { type: kind, name, target: '', ...shown }
    },
    writeRate: (name, fields) =>
      write('rate-limit', name, async (db) => ({
        ...(await placeOf(db, mounts, fields)),
        ...checkRate(fields),
      })),
    writeLeaseCount: (name, fields) =>
      write('lease-count', name, async (db) => {
        const place = await placeOf(db, mounts, fields)
        return { ...place, ...checkLeaseCount(fields, place.mount_path) }
      }),
    async remove(kind, name) {
      await removeQuota(ledger, kind, name)
    },
    async rateAt(revision, path) {
      const quotas = await live(revision, 'all')
      return quotas?.rates.find((quota) => quota.target === undefined && covers(quota, path))
    },
    async rateOfTarget(revision, { path, mountId, roleName }) {
      const quotas = await live(revision, 'all')
      const some = quotas?.rates.filter((quota) => quota.target !== undefined && covers(quota, path)) ?? []
      if (some.length === 0) return undefined
      const targetName = (await issuables(revision, { mountId, roleName }))?.targetName
      return targetName === undefined
        ? undefined
        : some.find((quota) => isTarget(quota, { targetName, path }))
    },
    async leaseCounts(revision, ask) {
      const quotas = await live(revision, 'all')
      return quotas && quotas.leases.length > 0 ? countsOf(quotas.leases, ask) : []
    },
    dropExpired: () => dropFreeRates(ledger),
  }
}

const aboutTheSame = (a: Document, b: Document): boolean =>
  ['path', 'principal', 'target'].every((part) => (a[part] ?? '') === (b[part] ?? ''))

type Live = { rates: RateQuota[]; leases: LeaseQuota[] }

/** Most specific first. */
const liveQuotas = (rows: QuotaRow[]): Live => ({
  rates: rows
    .filter(({ kind }) => kind === 'rate-limit')
    .map(rateQuota)
    .sort(bySpecificity),
  leases: rows.filter(({ kind }) => kind === 'lease-count').map(leaseQuota),
})

/** Rates are whole numbers of requests to a window, which is longer for a rate below one. */
function rateQuota({ id, name, spec }: QuotaRow): RateQuota {
  const rate = Number(spec.rate)
  const seconds = Number(spec.interval)
  const by = spec.group_by
  return {
    ...scopeOf(id, spec),
    name,
    max: Math.max(1, Math.floor(rate)),
    windowSeconds: rate < 1 ? seconds / rate : seconds,
    blockSeconds: Number(spec.block_interval),
    by: by === 'ip' || by === 'none' ? by : 'principal',
  }
}

const leaseQuota = ({ id, spec }: QuotaRow): LeaseQuota => ({
  ...scopeOf(id, spec),
  maxLeases: Number(spec.max_leases),
  ...(spec.principal ? { principal: String(spec.principal) } : {}),
})

const scopeOf = (id: string, spec: Document): Scope => ({
  id,
  path: String(spec.path),
  mountPath: String(spec.mount_path),
  ...(spec.target ? { target: String(spec.target) } : {}),
})

/** The path in the dialect's form: a mount ends in a slash, a path in it does not. */
async function placeOf(
  db: Db,
  mounts: Pick<Mounts, 'list'>,
  { path: sent, role, target, inheritable }: Place,
) {
  if (role !== '') {
    throw refuse('role: quotas on login roles are not supported; a credential role is meant by its path')
  }
  const path = sent.replace(/^\/+|\/+$/g, '')
  const mount =
    path === '' ? undefined : (await mounts.list()).find((each) => `${path}/`.startsWith(each.path))
  if (path !== '' && (!mount || path.length > MAX_PATH)) {
    throw refuse(`invalid mount path ${JSON.stringify(`${path}/`)}`)
  }
  if (target !== '') await checkTarget(db, mount, target)
  const isMount = mount !== undefined && `${path}/` === mount.path
  return {
    path: isMount ? mount.path : path,
    mount_path: mount?.path ?? '',
    role,
    target,
    inheritable: inheritable ?? path === '',
  }
}

async function checkTarget(db: Db, mount: { id: string } | undefined, target: string): Promise<void> {
  if (!mount) throw refuse(`'target' is invalid: 'path' has to be the mount of the connection`)
  if (await findTarget(db, mount.id, target)) return
  throw refuse(`failed to find entry for connection with name: ${JSON.stringify(target)}`)
}

const MAX_PATH = 1_000

function checkRate({ rate, intervalSeconds, blockSeconds, groupBy: sent, target }: RateQuotaWrite) {
  const groupBy = sent || (target === '' ? 'ip' : 'none')
  const interval = intervalSeconds || 1
  if (!(rate > 0 && rate <= MAX_COUNT && interval / Math.min(1, rate) <= MAX_SECONDS)) {
    throw refuse(`'rate' is invalid: expected a number above 0, of requests in an interval of a year at most`)
  }
  if (blockSeconds > MAX_SECONDS) throw refuse(`'block' is invalid`)
  if (!(GROUPINGS as readonly string[]).includes(groupBy)) {
    throw refuse(`'group_by' is invalid: expected one of ${GROUPINGS.join(', ')}`)
  }
  return { rate, interval, block_interval: blockSeconds, group_by: groupBy }
}

function checkLeaseCount({ maxLeases, principal }: LeaseQuotaWrite, mountPath: string) {
  if (!(maxLeases > 0 && maxLeases <= MAX_COUNT))
    throw refuse(`'max_leases' is invalid: expected a whole number from 1`)
  if (/^(auth|sys)\//.test(mountPath)) {
    throw refuse(`invalid mount path ${JSON.stringify(mountPath)}: no leases are made there`)
  }
  if (principal !== '' && !PRINCIPAL.test(principal)) {
    throw refuse(
      `'principal' is invalid: expected the id of an entity or the accessor of a token, or * for each`,
    )
  }
  return { max_leases: maxLeases, principal }
}

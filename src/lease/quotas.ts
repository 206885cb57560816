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
import type { Mounts } from './mounts.ts'
import { bySpecificity, countsOf, covers, type LeaseAsk, type LeaseQuota } from './quota-scope.ts'

export type { QuotaKind } from '../ledger/quotas.ts'

/** What the wire says of any quota. */
type Place = { path: string; role: string; inheritable: boolean | undefined }

export type RateQuotaWrite = Place & {
  /** Requests in each interval; a fraction is one request in a longer one. */
  rate: number
  /** 0 stands for one second. */
  intervalSeconds: number
  blockSeconds: number
  groupBy: string
}

export type LeaseQuotaWrite = Place & { maxLeases: number; principal: string; target: string }

/** As a request meets it. */
export type RateQuota = {
  id: string
  path: string
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

export function createQuotas({ ledger, mounts }: { ledger: Ledger; mounts: Pick<Mounts, 'list'> }): Quotas {
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
      return { type: kind, name, ...shown }
    },
    writeRate: (name, fields) =>
      write('rate-limit', name, async () => ({ ...(await placeOf(mounts, fields)), ...checkRate(fields) })),
    writeLeaseCount: (name, fields) =>
      write('lease-count', name, async (db) => {
        const place = await placeOf(mounts, fields)
        return { ...place, ...(await checkLeaseCount(db, mounts, fields, place.mount_path)) }
      }),
    async remove(kind, name) {
      await removeQuota(ledger, kind, name)
    },
    async rateAt(revision, path) {
      const quotas = await live(revision, 'all')
      return quotas?.rates.find((quota) => covers(quota, path))
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
function rateQuota({ id, spec }: QuotaRow): RateQuota {
  const rate = Number(spec.rate)
  const seconds = Number(spec.interval)
  const by = spec.group_by
  return {
    id,
    path: String(spec.path),
    max: Math.max(1, Math.floor(rate)),
    windowSeconds: rate < 1 ? seconds / rate : seconds,
    blockSeconds: Number(spec.block_interval),
    by: by === 'ip' || by === 'none' ? by : 'principal',
  }
}

const leaseQuota = ({ id, spec }: QuotaRow): LeaseQuota => ({
  id,
  path: String(spec.path),
  mountPath: String(spec.mount_path),
  maxLeases: Number(spec.max_leases),
  ...(spec.principal ? { principal: String(spec.principal) } : {}),
  ...(spec.target ? { target: String(spec.target) } : {}),
})

/** The path in the dialect's form: a mount ends in a slash, a path in it does not. */
async function placeOf(mounts: Pick<Mounts, 'list'>, { path: sent, role, inheritable }: Place) {
  if (role !== '') {
    throw refuse('role: quotas on login roles are not supported; a credential role is meant by its path')
  }
  const path = sent.replace(/^\/+|\/+$/g, '')
  if (path === '') return { path, mount_path: '', role, inheritable: inheritable ?? true }
  const mount = (await mounts.list()).find((each) => `${path}/`.startsWith(each.path))
  if (!mount || path.length > MAX_PATH) throw refuse(`invalid mount path ${JSON.stringify(`${path}/`)}`)
  const isMount = `${path}/` === mount.path
  return {
    path: isMount ? mount.path : path,
    mount_path: mount.path,
    role,
    inheritable: inheritable ?? false,
  }
}

const MAX_PATH = 1_000

function checkRate({ rate, intervalSeconds, blockSeconds, groupBy }: RateQuotaWrite) {
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

async function checkLeaseCount(
  db: Db,
  mounts: Pick<Mounts, 'list'>,
  { maxLeases, principal, target }: LeaseQuotaWrite,
  mountPath: string,
) {
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
  if (target !== '') {
    const mount = (await mounts.list()).find(({ path }) => path === mountPath)
    if (!mount) throw refuse(`'target' is invalid: 'path' has to be the mount of the connection`)
    if (!(await findTarget(db, mount.id, target))) {
      throw refuse(`failed to find entry for connection with name: ${JSON.stringify(target)}`)
    }
  }
  return { max_leases: maxLeases, principal, target }
}

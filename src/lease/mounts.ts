import { type Db, type Ledger, lockNamed } from '../ledger/db.ts'
import { doom } from '../ledger/lease-ending.ts'
import {
  disableMount,
  findMount,
  insertMount,
  listMounts,
  type Mount,
  updateMount,
} from '../ledger/mounts.ts'
import type { Reading } from '../ledger/reading.ts'
import { endTokensOfMount } from '../ledger/token-ending.ts'
import { dropKeysOfMount } from '../ledger/webauthn-keys.ts'
import { BrokerError } from '../lib/errors.ts'
import { newId } from '../lib/ids.ts'
import { revised } from '../lib/revised.ts'
import { mountTtls } from './mount-ttls.ts'

export type { Mount } from '../ledger/mounts.ts'

/** What a mount's holder may change. Absent fields stay as they are. */
export type MountChange = {
  description?: string
  /** In seconds; 0 takes the system's. */
  defaultLeaseTtl?: number
  maxLeaseTtl?: number
  options?: Readonly<Record<string, string>>
  /** What policy conditions may go by. */
  environment?: string
  labels?: Readonly<Record<string, string>>
}

export type Mounts = {
  /** The mount whose path a request path (without `/v1/`) begins with. */
  resolve(path: string, reading: Pick<Reading, 'revision'>): Promise<Mount | undefined>
  /** Every live mount, the built-in ones among them, by path. */
  list(): Promise<Mount[]>
  find(path: string): Promise<Mount | undefined>
  /** Throws `invalid_request` when the path or type cannot be used. */
  enable(path: string, type: string, change: MountChange): Promise<void>
  tune(path: string, change: MountChange): Promise<void>
  /** Ends every lease made under the mount and every token its logins gave, and takes it away. Unknown paths are no error, as in the dialect. */
  disable(path: string): Promise<void>
}

/** Where the system's own endpoints are: no row of the ledger, and nothing to change. */
const SYSTEM: Mount = {
  id: 'sys',
  accessor: 'system_sys',
  path: 'sys/',
  type: 'system',
  description: 'system endpoints used for control, policy and debugging',
  config: {},
  options: null,
}

/** Part of every installation. */
const PERMANENT = ['sys/', 'auth/token/']

const PATH_LIMIT = 200
const SEGMENT = /^[A-Za-z0-9_][A-Za-z0-9_.-]*$/

export function createMounts(parts: {
  ledger: Ledger
  /** Types that may be enabled: `database` at any path, others only below `auth/`. */
  types: { secret: readonly string[]; auth: readonly string[] }
  wake: (targetId: string) => void
}): Mounts {
  const { ledger } = parts
  const live = revised<ReadonlyMap<string, Mount>>(async () => {
    const mounts = await listMounts(ledger)
    return new Map([['all', new Map(mounts.map((mount) => [mount.path, mount]))]])
  })
  const existing = async (db: Db, path: string): Promise<Mount> => {
    const mount = await findMount(db, path)
    if (!mount) throw noSuchMount(path)
    return mount
  }

  return {
    async resolve(path, { revision }) {
      if (`${path}/`.startsWith(SYSTEM.path)) return SYSTEM
      const byPath = await live(revision, 'all')
      return byPath && mountAmong(byPath, path)
    },
    list: async () => [...(await listMounts(ledger)), SYSTEM].sort((a, b) => (a.path < b.path ? -1 : 1)),
    find: async (path) => (path === SYSTEM.path ? SYSTEM : findMount(ledger, path)),
    async enable(path, type, change) {
      checkPath(path)
      checkType(parts.types, path, type)
      const mount = changed({ id: newId(), path, type, description: '', config: {}, options: null }, change)
      const inserted = await ledger.transaction((db) => insertMount(db, mount))
      if (!inserted) throw new BrokerError('invalid_request', `path is already in use at ${path}`)
    },
    tune: (path, change) =>
      ledger.transaction(async (db) => {
        await lockNamed(db, `mount ${path}`)
        await updateMount(db, changed(await existing(db, path), change))
      }),
    async disable(path) {
      if (PERMANENT.includes(path)) {
        throw new BrokerError('invalid_request', `cannot unmount "${path}"`)
      }
      const mount = await findMount(ledger, path)
      if (!mount) return
      const doomed = await ledger.transaction(async (db) => {
        await disableMount(db, mount.id)
        const leases = await doom(db, { mountId: mount.id }, 'mount_disabled')
        const tokens = await endTokensOfMount(db, mount.id)
        await dropKeysOfMount(db, mount.id)
        return new Set([...leases.map(({ targetId }) => targetId), ...tokens.targetIds])
      })
      for (const targetId of doomed) parts.wake(targetId)
    },
  }
}

/** The dialect's text for a mount, named as the caller knows it, that does not exist. */
export function noSuchMount(path: string): BrokerError {
  const text = path.startsWith('auth/')
    ? `No auth engine at ${path.slice('auth/'.length)}`
    : `No secret engine mount at ${path}`
  return new BrokerError('invalid_request', text)
}

/** `a/b/c` may lie in the mounts `a/`, `a/b/` and `a/b/c/`. */
function prefixesOf(path: string): string[] {
  const segments = path.split('/').filter((segment) => segment !== '')
  return segments.map((_, i) => `${segments.slice(0, i + 1).join('/')}/`)
}

/** Mount paths never nest, so at most one fits. */
const mountAmong = (byPath: ReadonlyMap<string, Mount>, path: string): Mount | undefined =>
  prefixesOf(path)
    .map((prefix) => byPath.get(prefix))
    .find((mount) => mount !== undefined)

function changed<M extends Omit<Mount, 'accessor'>>(mount: M, change: MountChange): M {
  const { defaultLeaseTtl, maxLeaseTtl } = change
  const config = {
    ...mount.config,
    ...(defaultLeaseTtl === undefined ? {} : { default_lease_ttl: defaultLeaseTtl }),
    ...(maxLeaseTtl === undefined ? {} : { max_lease_ttl: maxLeaseTtl }),
    ...(change.environment === undefined ? {} : { environment: change.environment }),
    ...(change.labels === undefined ? {} : { labels: change.labels }),
  }
  const { defaultSeconds: least, maxSeconds: most } = mountTtls(config)
  if (most > 0 && least > most) {
    throw new BrokerError('invalid_request', 'default_lease_ttl must not be longer than max_lease_ttl')
  }
  return {
    ...mount,
    config,
    description: change.description ?? mount.description,
    options: change.options ?? mount.options,
  }
}

function checkPath(path: string): void {
  const segments = path.slice(0, -1).split('/')
  const named = path.startsWith('auth/') ? segments.slice(1) : segments
  const wellFormed = named.length > 0 && named.every((segment) => SEGMENT.test(segment))
  if (!wellFormed || path.length > PATH_LIMIT) {
    throw new BrokerError('invalid_request', `invalid mount path "${path}"`)
  }
  const reserved = ['sys/', 'auth/token/', 'break-glass/', 'cubbyhole/', 'identity/']
  if (reserved.some((each) => path.startsWith(each)) || path === 'auth/') {
    throw new BrokerError('invalid_request', `path is reserved: ${path}`)
  }
}

function checkType(
  types: { secret: readonly string[]; auth: readonly string[] },
  path: string,
  type: string,
): void {
  const allowed = path.startsWith('auth/') ? types.auth : types.secret
  if (type === '') throw new BrokerError('invalid_request', 'backend type must be specified as a string')
  if (!allowed.includes(type)) {
    throw new BrokerError('invalid_request', `plugin not found in the catalog: ${type}`)
  }
}

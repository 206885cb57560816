import { mountTtls } from '../lease/mount-ttls.ts'
import { type Mount, type Mounts, noSuchMount } from '../lease/mounts.ts'
import { BrokerError } from '../lib/errors.ts'
import { SYSTEM_DEFAULT_TTL_SECONDS, SYSTEM_MAX_TTL_SECONDS } from '../lib/ttl.ts'
import { type Decoded, decode, duration, keyValues, map, text } from './fields.ts'
import { type Answer, handle, handleOpen, type OpenCall, type Route } from './route.ts'

/** `sys/mounts`, `sys/auth` and the preflight that clients make before they read, relative to `sys/`. */
export function sysMountRoutes(mounts: Mounts): Route[] {
  return [
    ...familyRoutes(mounts, { family: 'mounts', prefix: '', sudo: false }),
    ...familyRoutes(mounts, { family: 'auth', prefix: 'auth/', sudo: true }),
    {
      path: 'internal/ui/mounts',
      on: {
        read: handleOpen({}, (call) => visibleMounts(mounts, call), { readToken: true }),
      },
    },
    {
      path: 'internal/ui/mounts/:path*',
      on: {
        read: handleOpen({}, (call) => preflight(mounts, call.capture('path'), call), {
          readToken: true,
        }),
      },
    },
  ]
}

/**
 * `sys/mounts` and `sys/auth` are the same endpoints over two halves of the mount table. Who can change an auth mount
 * can let anybody in, so all that is under `sys/auth/` takes sudo, as in the dialect; the list does not. As there, an
 * auth mount may be tuned at `sys/mounts/auth/` too, where that takes none.
 */
type Family = { family: 'mounts' | 'auth'; prefix: '' | 'auth/'; sudo: boolean }

const ENABLE_FIELDS = { type: text, description: text, config: map, options: keyValues }

const CONFIG_FIELDS = {
  default_lease_ttl: duration,
  max_lease_ttl: duration,
  environment: text,
  labels: keyValues,
}

const TUNE_FIELDS = { ...CONFIG_FIELDS, description: text, options: keyValues }

function familyRoutes(mounts: Mounts, { family, prefix, sudo }: Family): Route[] {
  const at = (path: string) => `${prefix}${path.replace(/\/+$/, '')}/`
  /** Auth mounts come and go under `sys/auth/` alone: elsewhere that would take no sudo. */
  const own = (path: string, verb: 'mount' | 'unmount'): string => {
    const mountPath = at(path)
    if (mountPath.startsWith('auth/') === (prefix === 'auth/')) return mountPath
    throw new BrokerError('invalid_request', `cannot ${verb} "${mountPath}"`)
  }
  const existing = async (path: string): Promise<Mount> => {
    const mount = await mounts.find(at(path))
    if (!mount) throw noSuchMount(at(path))
    return mount
  }

  return [
    { path: family, on: { read: handle({}, () => listed(mounts, prefix)) } },
    {
      path: `${family}/:path*/tune`,
      on: {
        read: handle({}, async ({ capture }) => ({ data: shownConfig(await existing(capture('path'))) }), {
          sudo,
        }),
        update: handle(
          TUNE_FIELDS,
          async ({ capture, fields }) => {
            await mounts.tune((await existing(capture('path'))).path, mountChange(fields, fields))
            return undefined
          },
          { sudo },
        ),
      },
    },
    {
      path: `${family}/:path*`,
      on: {
        read: handle({}, async ({ capture }) => ({ data: shownMount(await existing(capture('path'))) }), {
          sudo,
        }),
        update: handle(
          ENABLE_FIELDS,
          async ({ capture, fields }) => {
            const path = own(capture('path'), 'mount')
            const config = decode(CONFIG_FIELDS, fields.config ?? {})
            await mounts.enable(path, fields.type ?? '', mountChange(fields, config))
            return undefined
          },
          { sudo },
        ),
        delete: handle(
          {},
          async ({ capture }) => {
            await mounts.disable(own(capture('path'), 'unmount'))
            return undefined
          },
          { sudo },
        ),
      },
    },
  ]
}

function mountChange(
  fields: { description?: string; options?: Record<string, string> },
  config: Decoded<typeof CONFIG_FIELDS>,
) {
  return {
    ...(fields.description !== undefined && { description: fields.description }),
    ...(fields.options !== undefined && { options: fields.options }),
    ...(config.default_lease_ttl !== undefined && { defaultLeaseTtl: config.default_lease_ttl }),
    ...(config.max_lease_ttl !== undefined && { maxLeaseTtl: config.max_lease_ttl }),
    ...(config.environment !== undefined && { environment: config.environment }),
    ...(config.labels !== undefined && { labels: config.labels }),
  }
}

const isIn = (prefix: '' | 'auth/', { path }: Mount): boolean =>
  path.startsWith('auth/') === (prefix === 'auth/')

async function listed(mounts: Mounts, prefix: '' | 'auth/'): Promise<Answer> {
  const family = (await mounts.list()).filter((mount) => isIn(prefix, mount))
  return {
    injected: true,
    data: Object.fromEntries(family.map((mount) => [mount.path.slice(prefix.length), shownMount(mount)])),
  }
}

const shownMount = (mount: Mount): Record<string, unknown> => ({
  type: mount.type,
  description: mount.description,
  accessor: mount.accessor,
  uuid: mount.id,
  local: false,
  seal_wrap: false,
  external_entropy_access: false,
  options: mount.options,
  plugin_version: '',
  running_plugin_version: '',
  running_sha256: '',
  // The wire's own 0 stands for the system's value here, and only here.
  config: {
    ...rawTtls(mount),
    force_no_cache: false,
    ...labelling(mount),
    ...(mount.path.startsWith('auth/') && { token_type: 'default-service' }),
  },
})

/** What policy conditions may go by, where the mount states it. */
const labelling = ({ config: { environment, labels } }: Mount): Record<string, unknown> => ({
  ...(environment !== undefined && { environment }),
  ...(labels !== undefined && { labels }),
})

function rawTtls(mount: Mount): Record<string, number> {
  const { defaultSeconds, maxSeconds } = mountTtls(mount.config)
  return { default_lease_ttl: defaultSeconds, max_lease_ttl: maxSeconds }
}

function shownConfig(mount: Mount): Record<string, unknown> {
  const { defaultSeconds, maxSeconds } = mountTtls(mount.config)
  return {
    description: mount.description,
    default_lease_ttl: defaultSeconds || SYSTEM_DEFAULT_TTL_SECONDS,
    max_lease_ttl: maxSeconds || SYSTEM_MAX_TTL_SECONDS,
    force_no_cache: false,
    options: mount.options,
    ...labelling(mount),
  }
}

/** The mounts the caller has any rights under; a caller without a token sees none, since none is marked public. */
async function visibleMounts(mounts: Mounts, call: OpenCall): Promise<Answer> {
  const all = call.principal ? await mounts.list() : []
  const rights = await Promise.all(all.map(({ path }) => mayAccess(call, path)))
  const visible = all.filter((_, i) => rights[i])
  const shown = (prefix: '' | 'auth/') =>
    Object.fromEntries(
      visible
        .filter((mount) => isIn(prefix, mount))
        .map((mount) => [mount.path.slice(prefix.length), shownMount(mount)]),
    )
  return { data: { secret: shown(''), auth: shown('auth/') } }
}

/** One text for a mount that does not exist and one the caller has no business with. */
async function preflight(mounts: Mounts, path: string, call: OpenCall): Promise<Answer> {
  const { reading } = call
  const mount = reading && (await mayAccess(call, path)) ? await mounts.resolve(path, reading) : undefined
  if (!mount) {
    const shown = `${path.replace(/\/+$/, '')}/`
    throw new BrokerError(
      'permission_denied',
      `preflight capability check returned 403, please ensure client's policies grant access to path "${shown}"`,
    )
  }
  return { data: { ...shownMount(mount), path: mount.path } }
}

/** Whether policy gives the caller any right at a path. */
async function mayAccess({ policy }: OpenCall, path: string): Promise<boolean> {
  const [first = 'deny'] = await policy.capabilities(path)
  return first !== 'deny'
}

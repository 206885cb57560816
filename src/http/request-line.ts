import { BrokerError } from '../lib/errors.ts'
import { parseBool } from './fields.ts'
import type { Operation } from './ports.ts'

export type Target = {
  /** Decoded, without `/v1/`, no slash at either end, no empty segments. */
  path: string
  endsInSlash: boolean
  query: URLSearchParams
}

/** Old names of paths. Policy is asked about the modern one only, so that no rule can be walked around. */
const LEGACY = /^sys\/(renew|revoke|revoke-prefix|revoke-force)(?=\/|$)/

/** Controls, unassigned and private characters, separators other than the space: none belongs in a path. */
const UNPRINTABLE = /[\p{C}\p{Zl}\p{Zp}]|(?! )\p{Zs}/u

/**
 * What the request line asks for; undefined when it lies outside `/v1/`. Percent-encoding is undone once, before
 * anything looks at the path, so policy and routing judge the same text: `a%2Fb` is `a/b` to both.
 */
export function readTarget(url: string): Target | undefined {
  const [, raw = '', search = ''] = /^(?:https?:\/\/[^/?]*)?([^?]*)\??(.*)$/is.exec(url) ?? []
  if (!raw.startsWith('/v1/')) return undefined
  const place = readPlace(undoEncoding(raw.slice('/v1'.length)))
  return place && { ...place, query: new URLSearchParams(search) }
}

/** Where a decoded path leads, by whichever of its names and however many slashes; undefined when it names nothing. */
export function readPlace(decoded: string): Pick<Target, 'path' | 'endsInSlash'> | undefined {
  if (UNPRINTABLE.test(decoded)) {
    throw new BrokerError('invalid_request', 'the path holds unprintable characters')
  }
  const segments = decoded.split('/').filter((segment) => segment !== '')
  if (segments.some((segment) => segment === '.' || segment === '..')) {
    throw new BrokerError('invalid_request', 'relative paths not supported')
  }
  if (segments.length === 0) return undefined
  const path = segments.join('/').replace(LEGACY, 'sys/leases/$1')
  return { path, endsInSlash: decoded.endsWith('/') }
}

export function refuseWriteToFolder(
  operation: Operation,
  { endsInSlash }: Pick<Target, 'endsInSlash'>,
): void {
  if (endsInSlash && (operation === 'update' || operation === 'patch')) {
    throw new BrokerError('invalid_request', "cannot write to a path ending in '/'")
  }
}

function undoEncoding(raw: string): string {
  try {
    return decodeURIComponent(raw)
  } catch {
    throw new BrokerError('invalid_request', 'the path is not well encoded')
  }
}

const BY_METHOD: Readonly<Record<string, Operation>> = {
  GET: 'read',
  HEAD: 'read',
  LIST: 'list',
  POST: 'update',
  PUT: 'update',
  PATCH: 'patch',
  DELETE: 'delete',
}

/** The operation a method and query ask for. */
export function readOperation(method: string, query: URLSearchParams): Operation {
  const operation = BY_METHOD[method]
  if (!operation) throw new BrokerError('unsupported_operation', '')
  const list = query.get('list')
  if (method !== 'GET' || !list) return operation
  const wanted = parseBool(list)
  if (wanted === undefined) throw new BrokerError('invalid_request', '')
  return wanted ? 'list' : 'read'
}

/** Query names that say how to ask, and are no fields. */
const RESERVED = new Set(['list', 'scan', 'help'])

/** A query as fields: a name that comes once is a string, a repeated one a list. */
export function queryParameters(query: URLSearchParams): Record<string, unknown> {
  return Object.fromEntries(
    [...new Set(query.keys())]
      .filter((name) => !RESERVED.has(name))
      .map((name) => {
        const values = query.getAll(name)
        return [name, values.length === 1 ? values[0] : values]
      }),
  )
}

import { type Attributes, type KubeUser, mayDo, mayGrant } from './kubernetes-rights.ts'
import { type KubeObject, RESOURCES, type Store } from './kubernetes-store.ts'
import { TokenFault, type Tokens } from './kubernetes-tokens.ts'

/** What a Kubernetes API server answers about the objects it keeps. */

/** What a request asks for, as faults are planned by. */
export type Seen = { method: string; path: string; query: URLSearchParams; user: string }
export type Call = Seen & { user: string; who: KubeUser; body: Record<string, unknown>; accept: string }
export type Reply = { code: number; body: Record<string, unknown>; retryAfter?: number }
export type Server = { store: Store; tokens: Tokens }

export type Watching = (resource: string, namespace: string | undefined) => void

/** With its default account, which controllers make in a real one. */
export function makeNamespace(store: Store, body: Partial<KubeObject>): KubeObject | undefined {
  const name = body.metadata?.name ?? ''
  const labels = { 'kubernetes.io/metadata.name': name, ...body.metadata?.labels }
  const made = store.create('namespaces', undefined, {
    ...body,
    metadata: { ...body.metadata, name, labels } as KubeObject['metadata'],
  })
  if (made) store.create('serviceaccounts', name, { metadata: { name: 'default' } as KubeObject['metadata'] })
  return made
}

const VERBS: Record<string, string> = { POST: 'create', DELETE: 'delete', PATCH: 'patch' }

export function guarded<T>({ store }: Server, { who }: Call, asked: Attributes, work: () => T): T | Reply {
  if (mayDo(store, who, asked)) return work()
  const { verb, group, resource, subresource, namespace, name } = asked
  const what = `${resource}${subresource ? `/${subresource}` : ''}`
  const where = namespace === undefined ? 'at the cluster scope' : `in the namespace "${namespace}"`
  return status(
    403,
    `${what}${name ? ` "${name}"` : ''} is forbidden: User "${who.username}" cannot ${verb} resource "${what}" in API group "${group}" ${where}`,
  )
}

const PATH =
  /^\/(?:api\/v1|apis\/(?<group>[\w.]+)\/v1)(?:\/namespaces\/(?<namespace>[^/]+)(?=\/))?\/(?<resource>[a-z]+)(?:\/(?<name>[^/]+))?(?:\/(?<sub>[a-z]+))?$/

export async function respondAboutObjects(
  server: Server,
  call: Call,
  watching: Watching,
): Promise<Reply | undefined> {
  const {
    group = '',
    namespace,
    resource = '',
    name,
    sub,
  } = PATH.exec(decodeURIComponent(call.path))?.groups ?? {}
  const known = RESOURCES[resource]
  if (!known || known.group !== group) return status(404, 'the server could not find the requested resource')
  const isWatch = call.query.get('watch') === 'true'
  const readVerb = name ? 'get' : isWatch ? 'watch' : 'list'
  const verb = VERBS[call.method] ?? readVerb
  const asked = { verb, group, resource, namespace, name, ...(sub && { subresource: sub }) }
  const at = { resource, namespace, name: name ?? '' }
  return guarded(server, call, asked, (): Reply | undefined | Promise<Reply> => {
    if (sub === 'token') return giveToken(server, at, call.body)
    if (call.method === 'POST') return create(server.store, call, at)
    if (call.method === 'PATCH') return patch(server.store, call, at)
    if (name && call.method === 'DELETE') return remove(server.store, call, at)
    if (name) return read(server.store, at)
    if (isWatch) return void watching(resource, namespace)
    return list(server.store, call, at)
  })
}

type At = { resource: string; namespace: string | undefined; name: string }

function absent({ resource, name }: Pick<At, 'resource' | 'name'>): Reply {
  const reply = status(404, `${resource} "${name}" not found`)
  return { ...reply, body: { ...reply.body, details: { name, kind: resource } } }
}

function read(store: Store, at: At): Reply {
  const object = store.get(at.resource, at.namespace, at.name)
  return object ? { code: 200, body: object } : absent(at)
}

async function giveToken({ store, tokens }: Server, at: At, body: Record<string, unknown>): Promise<Reply> {
  const account = store.get(at.resource, at.namespace, at.name)
  if (!account) return absent(at)
  try {
    return { code: 201, body: { ...body, ...(await tokens.request(account, body.spec as object)) } }
  } catch (error) {
    if (error instanceof TokenFault && error.absent) return absent(error.absent)
    if (error instanceof TokenFault) return status(error.code, error.message)
    throw error
  }
}

const NAME = /^[a-z0-9]([a-z0-9.:-]{0,251}[a-z0-9])?$/

function create(store: Store, { who, body }: Call, { resource, namespace }: At): Reply {
  const object = body as KubeObject
  const name = object.metadata?.name ?? ''
  const at = { resource, namespace, name }
  if (!NAME.test(name))
    return status(422, `${object.kind} "${name}" is invalid: metadata.name: Invalid value`)
  if (namespace !== undefined && !store.get('namespaces', undefined, namespace)) {
    return absent({ resource: 'namespaces', name: namespace })
  }
  if (object.kind?.startsWith('Role') || object.kind?.startsWith('ClusterRole')) {
    const placed = {
      ...object,
      metadata: { ...object.metadata, ...(namespace !== undefined && { namespace }) },
    }
    const refusal = mayGrant(store, who, placed as KubeObject)
    if (refusal) return status(403, `${resource} "${name}" is forbidden: ${refusal}`)
  }
  const made =
    resource === 'namespaces' ? makeNamespace(store, object) : store.create(resource, namespace, object)
  return made
    ? { code: 201, body: made }
    : status(409, `${at.resource} "${name}" already exists`, 'AlreadyExists')
}

/** Of its content what is sent, at any depth; as a merge patch. */
function patch(store: Store, { body }: Call, at: At): Reply {
  const object = store.get(at.resource, at.namespace, at.name)
  if (!object) return absent(at)
  merge(object, body)
  store.update(at.resource, object)
  return { code: 200, body: object }
}

function merge(into: Record<string, unknown>, from: Record<string, unknown>): void {
  for (const [name, value] of Object.entries(from)) {
    const before = into[name]
    const isDeep = typeof value === 'object' && value !== null && !Array.isArray(value)
    if (isDeep && typeof before === 'object' && before !== null)
      merge(before as object as Record<string, unknown>, value as Record<string, unknown>)
    else if (value === null) delete into[name]
    else into[name] = value
  }
}

function remove(store: Store, { body }: Call, at: At): Reply {
  const object = store.get(at.resource, at.namespace, at.name)
  if (!object) return absent(at)
  const wanted = (body.preconditions as { uid?: string } | undefined)?.uid
  if (wanted !== undefined && wanted !== object.metadata.uid) return status(409, 'the UID does not match')
  if (store.delete(at.resource, at.namespace, at.name) === 'held') return { code: 200, body: object }
  return {
    code: 200,
    body: { kind: 'Status', apiVersion: 'v1', status: 'Success', details: { uid: object.metadata.uid } },
  }
}

/** In pages of one moment, which are over when that moment has been forgotten. */
function list(store: Store, { query, accept }: Call, { resource, namespace }: At): Reply {
  const asked = query.get('continue')
  const from = asked
    ? (JSON.parse(Buffer.from(asked, 'base64url').toString()) as { version: number; after: string })
    : undefined
  const pageOf = (version: number, after: string) =>
    Buffer.from(JSON.stringify({ version, after })).toString('base64url')
  if (from && store.isForgotten(from.version)) {
    const expired = status(410, 'The provided continue parameter is too old', 'Expired')
    return {
      ...expired,
      body: { ...expired.body, metadata: { continue: pageOf(store.version(), from.after) } },
    }
  }
  const matching = store
    .list(resource, namespace)
    .filter((object) => selected(object, query.get('labelSelector') ?? ''))
    .filter(({ metadata }) => !from || `${metadata.namespace}/${metadata.name}` > from.after)
  const limit = Number(query.get('limit') ?? 0) || matching.length
  const items = matching.slice(0, limit)
  const last = items.at(-1)
  const isMore = last && matching.length > limit
  const version = from?.version ?? store.version()
  const { kind } = RESOURCES[resource] as (typeof RESOURCES)[string]
  const metadataOnly = accept.includes('as=PartialObjectMetadataList')
  return {
    code: 200,
    body: {
      kind: metadataOnly ? 'PartialObjectMetadataList' : `${kind}List`,
      metadata: {
        resourceVersion: String(version),
        ...(isMore && { continue: pageOf(version, `${last.metadata.namespace}/${last.metadata.name}`) }),
      },
      items: metadataOnly ? items.map(({ metadata }) => ({ metadata })) : items,
    },
  }
}

const selected = ({ metadata }: KubeObject, selector: string): boolean =>
  selector.split(',').every((each) => {
    const [name = '', value] = each.split('=')
    const has = metadata.labels?.[name]
    return each === '' || (value === undefined ? has !== undefined : has === value)
  })

const REASONS: Record<number, string> = {
  401: 'Unauthorized',
  403: 'Forbidden',
  404: 'NotFound',
  409: 'Conflict',
  422: 'Invalid',
  429: 'TooManyRequests',
}

export function status(code: number, message: string, reason = REASONS[code] ?? 'InternalError'): Reply {
  return {
    code,
    body: { kind: 'Status', apiVersion: 'v1', metadata: {}, status: 'Failure', message, reason, code },
  }
}

import { randomUUID } from 'node:crypto'
import { EventEmitter } from 'node:events'

/** Objects as an API server keeps them: versions, UIDs, owners, and what is told of changes. No HTTP, no rights. */

export type Meta = {
  name: string
  namespace?: string
  uid: string
  resourceVersion: string
  labels?: Record<string, string>
  annotations?: Record<string, string>
  ownerReferences?: { apiVersion: string; kind: string; name: string; uid: string }[]
  finalizers?: string[]
  deletionTimestamp?: string
  creationTimestamp: string
}
export type KubeObject = { apiVersion: string; kind: string; metadata: Meta; [field: string]: unknown }
export type StoreEvent = {
  type: 'ADDED' | 'MODIFIED' | 'DELETED'
  resource: string
  version: number
  object: KubeObject
}

export type Resource = { kind: string; group: string; version: string; namespaced: boolean }
export const RESOURCES: Record<string, Resource> = {
  namespaces: { kind: 'Namespace', group: '', version: 'v1', namespaced: false },
  secrets: { kind: 'Secret', group: '', version: 'v1', namespaced: true },
  serviceaccounts: { kind: 'ServiceAccount', group: '', version: 'v1', namespaced: true },
  configmaps: { kind: 'ConfigMap', group: '', version: 'v1', namespaced: true },
  pods: { kind: 'Pod', group: '', version: 'v1', namespaced: true },
  jobs: { kind: 'Job', group: 'batch', version: 'v1', namespaced: true },
  ...rbac('roles', 'Role', true),
  ...rbac('rolebindings', 'RoleBinding', true),
  ...rbac('clusterroles', 'ClusterRole', false),
  ...rbac('clusterrolebindings', 'ClusterRoleBinding', false),
}

function rbac(name: string, kind: string, namespaced: boolean): Record<string, Resource> {
  return { [name]: { kind, group: 'rbac.authorization.k8s.io', version: 'v1', namespaced } }
}

/** How soon the garbage collector looks after something was deleted or made. */
const COLLECT_AFTER_MS = 25

export type Store = ReturnType<typeof newStore>

export function newStore() {
  const objects = new Map<string, KubeObject>()
  const events = new EventEmitter().setMaxListeners(0)
  let history: StoreEvent[] = []
  let version = 1_000
  let oldest = 1_000
  let collecting: NodeJS.Timeout | undefined

  const key = (resource: string, namespace: string | undefined, name: string) =>
    `${resource}/${namespace ?? ''}/${name}`
  const told = (type: StoreEvent['type'], resource: string, object: KubeObject): void => {
    const event = { type, resource, version, object: structuredClone(object) }
    history.push(event)
    events.emit('event', event)
  }
  const stamp = (object: KubeObject): void => {
    version += 1
    object.metadata.resourceVersion = String(version)
  }

  const store = {
    /** The version of the whole store, as lists have it. */
    version: () => version,
    get: (resource: string, namespace: string | undefined, name: string) =>
      objects.get(key(resource, namespace, name)),
    list: (resource: string, namespace?: string): KubeObject[] =>
      [...objects]
        .filter(([at]) =>
          at.startsWith(namespace === undefined ? `${resource}/` : `${resource}/${namespace}/`),
        )
        .sort(([a], [b]) => (a < b ? -1 : 1))
        .map(([, object]) => object),
    /** Undefined when there is one of that name. */
    create(
      resource: string,
      namespace: string | undefined,
      body: Partial<KubeObject>,
    ): KubeObject | undefined {
      const { kind, group, version: apiVersion } = RESOURCES[resource] as Resource
      const name = body.metadata?.name ?? ''
      if (objects.has(key(resource, namespace, name))) return undefined
      const object: KubeObject = {
        ...structuredClone(body),
        apiVersion: group === '' ? apiVersion : `${group}/${apiVersion}`,
        kind,
        metadata: {
          ...structuredClone(body.metadata ?? {}),
          name,
          ...(namespace !== undefined && { namespace }),
          uid: randomUUID(),
          resourceVersion: '',
          creationTimestamp: new Date().toISOString().replace(/\.\d+Z$/, 'Z'),
        },
      }
      stamp(object)
      objects.set(key(resource, namespace, name), object)
      told('ADDED', resource, object)
      collectSoon()
      return object
    },
    update(resource: string, object: KubeObject): void {
      stamp(object)
      told('MODIFIED', resource, object)
      if (object.metadata.deletionTimestamp && !object.metadata.finalizers?.length) {
        store.delete(resource, object.metadata.namespace, object.metadata.name)
      }
    },
    /** Gone at once, unless something holds it: then it only says that it is to go. */
    delete(resource: string, namespace: string | undefined, name: string): 'gone' | 'held' | 'absent' {
      const object = objects.get(key(resource, namespace, name))
      if (!object) return 'absent'
      if (object.metadata.finalizers?.length) {
        object.metadata.deletionTimestamp ??= new Date().toISOString()
        stamp(object)
        told('MODIFIED', resource, object)
        return 'held'
      }
      objects.delete(key(resource, namespace, name))
      stamp(object)
      told('DELETED', resource, object)
      if (resource === 'namespaces') {
        for (const [at] of objects) {
          const [of = '', space, each = ''] = at.split('/')
          if (space === name) store.delete(of, space, each)
        }
      }
      collectSoon()
      return 'gone'
    },
    /** What happened after a version; undefined when that has been forgotten. */
    since: (resource: string, after: number): StoreEvent[] | undefined =>
      after < oldest
        ? undefined
        : history.filter((event) => event.resource === resource && event.version > after),
    events,
    /** Forgets what happened until now, as an API server does after a while. */
    compact(): void {
      history = []
      oldest = version
    },
    isForgotten: (at: number): boolean => at < oldest,
    close: () => clearTimeout(collecting),
  }

  /** What all of its owners have left goes too. */
  function collect(): void {
    const uids = new Set([...objects.values()].map(({ metadata }) => metadata.uid))
    for (const [at, { metadata }] of objects) {
      const owners = metadata.ownerReferences ?? []
      const [resource = ''] = at.split('/')
      if (owners.length > 0 && owners.every(({ uid }) => !uids.has(uid))) {
        store.delete(resource, metadata.namespace, metadata.name)
      }
    }
  }
  function collectSoon(): void {
    collecting ??= setTimeout(() => {
      collecting = undefined
      collect()
    }, COLLECT_AFTER_MS)
  }
  return store
}

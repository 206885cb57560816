/** KV version 2 as Vault answers it: versions, check-and-set, and a newest version that may be deleted. */

type Version = { data: Record<string, unknown>; createdAt: string; deletedAt: string }
type Secret = { versions: Version[] }
type Mount = { casRequired: boolean; secrets: Map<string, Secret> }
type Call = { method: string; path: string; namespace: string; body: Record<string, unknown> }
type Reply = { status: number; body?: unknown }

const refusal = (status: number, ...errors: string[]): Reply => ({ status, body: { errors } })

export function keyValueStore() {
  const mounts = new Map<string, Mount>()

  const find = (path: string, namespace = '') => {
    const at = [...mounts.keys()].find((mount) => `${namespace}/${path}`.startsWith(`${mount}/`))
    const mount = at === undefined ? undefined : (mounts.get(at) as Mount)
    const [kind = '', ...rest] =
      at === undefined ? [] : `${namespace}/${path}`.slice(at.length + 1).split('/')
    return { mount, kind, name: rest.join('/') }
  }

  const data = (secret: Secret | undefined): Reply => {
    const version = secret?.versions.at(-1)
    if (!secret || !version) return refusal(404)
    const metadata = {
      created_time: version.createdAt,
      custom_metadata: null,
      deletion_time: version.deletedAt,
      destroyed: false,
      version: secret.versions.length,
    }
    const deleted = version.deletedAt !== ''
    return { status: deleted ? 404 : 200, body: { data: { data: deleted ? null : version.data, metadata } } }
  }

  const put = (mount: Mount, name: string, { data, options }: Record<string, unknown>): Reply => {
    if (typeof data !== 'object' || data === null) return refusal(400, 'no data provided')
    const cas = (options as { cas?: number } | undefined)?.cas
    const secret = mount.secrets.get(name) ?? { versions: [] }
    if (cas === undefined && mount.casRequired) {
      return refusal(400, 'check-and-set parameter required for this call')
    }
    if (cas !== undefined && cas !== secret.versions.length) {
      return refusal(400, 'check-and-set parameter did not match the current version')
    }
    const version = {
      data: data as Record<string, unknown>,
      createdAt: new Date().toISOString(),
      deletedAt: '',
    }
    secret.versions.push(version)
    mount.secrets.set(name, secret)
    const metadata = { created_time: version.createdAt, deletion_time: '', destroyed: false }
    return { status: 200, body: { data: { ...metadata, version: secret.versions.length } } }
  }

  return {
    mount(path: string, { namespace = '', casRequired = false } = {}) {
      mounts.set(`${namespace}/${path}`, { casRequired, secrets: new Map() })
    },

    answer({ method, path, namespace, body }: Call): Reply {
      const { mount, kind, name } = find(path, namespace)
      if (!mount || name === '') return refusal(404, `no handler for route "${path}". route entry not found.`)
      const secret = mount.secrets.get(name)
      if (kind === 'data' && method === 'GET') return data(secret)
      if (kind === 'data' && method === 'POST') return put(mount, name, body)
      if (kind === 'metadata' && method === 'DELETE') {
        mount.secrets.delete(name)
        return { status: 204 }
      }
      return refusal(405, 'unsupported operation')
    },

    write(path: string, data: Record<string, unknown>, namespace = '') {
      const { mount, name } = find(path, namespace)
      if (!mount) throw new Error(`no mount for ${path}`)
      put(mount, name, { data, options: { cas: mount.secrets.get(name)?.versions.length ?? 0 } })
    },

    read(path: string, namespace = ''): Record<string, unknown> | undefined {
      const { mount, name } = find(path, namespace)
      const version = mount?.secrets.get(name)?.versions.at(-1)
      return version?.deletedAt === '' ? version.data : undefined
    },

    softDelete(path: string) {
      const { mount, name } = find(path)
      const version = mount?.secrets.get(name)?.versions.at(-1)
      if (!version) throw new Error(`nothing at ${path}`)
      version.deletedAt = new Date().toISOString()
    },
  }
}

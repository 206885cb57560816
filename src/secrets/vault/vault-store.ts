import { type Sensitive, sensitive } from '../../lib/sensitive.ts'
import { putOver } from '../asking.ts'
import {
  checkName,
  checkText,
  type ExternalStore,
  type Place,
  type References,
  SecretStoreError,
} from '../secret-store.ts'
import type { VaultLogin } from './login.ts'
import { type VaultAddress, type VaultAnswer, vaultRequests } from './request.ts'
import { type VaultSession, vaultSession } from './session.ts'

export type VaultSettings = VaultAddress & {
  login: VaultLogin
  /** The KV version 2 mount, and the folder in it, for what we keep there ourselves. */
  mount: string
  prefix: string
}

const TIMEOUT_MS = 5_000

/** Vault's KV version 2, and what speaks like it. Connects and logs in at the first use. */
export function vaultStore(settings: VaultSettings, { timeoutMs = TIMEOUT_MS } = {}): ExternalStore {
  const session = vaultSession(vaultRequests(settings, timeoutMs), settings.login)
  const at = (kind: 'data' | 'metadata', name: string): string =>
    `${settings.mount}/${kind}/${settings.prefix}/${name}`

  return {
    async get(name) {
      checkName(name)
      const found = await readDocument(session, at('data', name))
      if (!('keys' in found)) return undefined
      const { value } = found.keys
      if (typeof value !== 'string') throw notOurs(name)
      return { text: sensitive(value), version: found.version }
    },

    async put(name, text, options) {
      checkName(name)
      checkText(text)
      return putOver(name, options?.ifVersion, {
        newest: async () => (await readDocument(session, at('data', name))).version,
        putAfter: (version) => writeDocument(session, at('data', name), { value: text.reveal() }, version),
      })
    },

    async delete(name) {
      checkName(name)
      const answer = await session.ask('DELETE', at('metadata', name))
      if (answer.status !== 200 && answer.status !== 404) throw refused(answer)
    },

    references: vaultReferences(session, `${settings.mount}/data/${settings.prefix}/`),
    close: session.close,
  }
}

/** Of the paths as Vault's API has them. What we keep for ourselves cannot be named: it is other targets' credentials. */
function vaultReferences(session: VaultSession, ours: string): References {
  const keyed = async ({ path, key = '' }: Place) => {
    const found = await readDocument(session, path)
    const text = 'keys' in found && Object.hasOwn(found.keys, key) ? found.keys[key] : undefined
    if (!('keys' in found)) throw new SecretStoreError('absent', `Vault has nothing at ${path}`)
    if (typeof text !== 'string') {
      throw new SecretStoreError('absent', `the secret at ${path} in Vault has no text under the key ${key}`)
    }
    return { keys: found.keys, version: found.version, text }
  }

  return {
    check({ path, key }) {
      if (!PATH.test(path) || key === undefined) throw new SecretStoreError('invalid', FORM)
      if (`${path}/`.startsWith(ours)) {
        throw new SecretStoreError('invalid', 'names what Leasehold itself keeps in Vault')
      }
    },

    async read(at) {
      const { text, version } = await keyed(at)
      return { text: sensitive(text), version: `${version}` }
    },

    async write(at, text: Sensitive, version) {
      const found = await keyed(at)
      const changed = { ...found.keys, [at.key as string]: text.reveal() }
      const isNewest = `${found.version}` === version
      if (!isNewest || !(await writeDocument(session, at.path, changed, found.version))) {
        throw new SecretStoreError('conflict', `someone else changed ${at.path} in Vault at the same time`)
      }
    },
  }
}

/** `<mount>/data/<path>`, without steps up or empty ones. */
const PATH = /^(?!.*(^|\/)\.{0,2}(\/|$))[^/]+(\/[^/]+)*?\/data\/.+$/
const FORM =
  'a reference to Vault is vault:<mount>/data/<path>#<key>, such as vault:secret/data/db#password (KV version 2)'

type Document = { version: number } | { version: number; keys: Readonly<Record<string, unknown>> }

/** Version 0 when there never was one; no keys when there is none now. Only Vault itself can say so. */
async function readDocument(session: VaultSession, path: string): Promise<Document> {
  const answer = await session.ask('GET', path)
  const { status, body } = answer
  const { data, metadata } = (body?.data ?? {}) as { data?: unknown; metadata?: { version?: unknown } }
  const version = metadata?.version
  if (status === 200 && typeof version === 'number' && typeof data === 'object' && data !== null) {
    return { version, keys: data as Record<string, unknown> }
  }
  if (status === 404 && typeof version === 'number') return { version }
  if (status === 404 && Array.isArray(body?.errors) && body.errors.length === 0) return { version: 0 }
  if (status === 200) throw notVersion2(path)
  throw refused(answer)
}

/** False when the newest version is another. */
async function writeDocument(
  session: VaultSession,
  path: string,
  data: Readonly<Record<string, unknown>>,
  version: number,
): Promise<boolean> {
  const answer = await session.ask('POST', path, { data, options: { cas: version } })
  const written = (answer.body?.data as { version?: unknown } | undefined)?.version
  if (answer.status === 200 && written === version + 1) return true
  if (answer.status === 400 && /check-and-set/.test(answer.message)) return false
  if (answer.status === 200) throw notVersion2(path)
  throw refused(answer)
}

const refused = ({ message }: VaultAnswer): SecretStoreError =>
  new SecretStoreError('denied', `Vault refused: ${message}`)

const notVersion2 = (path: string): SecretStoreError =>
  new SecretStoreError('denied', `what answers at ${path} is not Vault's KV version 2`)

const notOurs = (name: string): SecretStoreError =>
  new SecretStoreError('damaged', `the secret ${name} in Vault is not as Leasehold put it there`)

import { once } from 'node:events'
import { connect, type Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import { type Api, type AppParts, createApi } from '../../src/http/app.ts'
import type { Authorizer, Decision, Mount, Principal, Question } from '../../src/http/ports.ts'
import type { AuditPort } from '../../src/http/request-audited.ts'
import type { Route } from '../../src/http/route.ts'
import { type Listening, listen, type Tls } from '../../src/http/server.ts'
import { BrokerError } from '../../src/lib/errors.ts'
import { createLogger, type Logger } from '../../src/lib/log.ts'
import { sensitive } from '../../src/lib/sensitive.ts'
import { NO_LOGIN } from '../../src/policy/principal.ts'

export const silent: Logger = createLogger('silent', 'json')

/** Keeps nothing: for tests of what is around it. */
const wrapping: AppParts['wrapping'] = {
  wrap: async (_, about) => ({ ...about, token: sensitive('wrapping'), accessor: '', createdAt: new Date() }),
  drop: async () => {},
}

const aPrincipal = (changes: Partial<Principal> = {}): Principal => ({
  tokenId: 'a'.repeat(64),
  accessor: 'accessor-of-good',
  displayName: 'tester',
  policies: ['root'],
  tokenExpiresAt: null,
  tokenHardExpiresAt: null,
  lastUse: false,
  metadata: {},
  entityId: '',
  treeId: 'accessor-of-good',
  identity: NO_LOGIN,
  ...changes,
})

const aMount = (path: string, type: string): Mount => ({
  id: path,
  accessor: `${type}_${path}`,
  path,
  type,
  description: '',
  config: {},
  options: null,
})

/** A policy of one rule. */
export function judgedBy(mayBe: (question: Question) => boolean): Authorizer {
  const decide = async (question: Question): Promise<Decision> => {
    const allowed = mayBe(question)
    return { allowed, why: allowed ? 'granted' : 'no_rule', by: null, conditions: [] }
  }
  return {
    decide,
    explain: async (question) => ({ ...(await decide(question)), explanations: [] }),
    capabilities: async () => ['root'],
    patterns: async () => undefined,
  }
}

export const unlimited: AppParts['limits'] = {
  rateAt: async () => undefined,
  rateOfTarget: async () => undefined,
  takeRate: async () => undefined,
  attempts: (_, logIn) => logIn(),
}

/** For tests of something else. */
export const unrecorded: AuditPort = { record: async () => {}, hash: (value) => value }

/** The token `good` may do everything, `weak` nothing; no other is known. */
export function parts(routes: Record<string, Route[]>, changes: Partial<AppParts> = {}): AppParts {
  const mounts = [
    aMount('database/', 'database'),
    aMount('team-a/db/', 'database'),
    aMount('auth/jwt/', 'jwt'),
  ]
  return {
    log: silent,
    wrapping,
    limits: unlimited,
    audit: unrecorded,
    identify: async (token) => ({
      reading: { revision: 1, now: new Date(), sinceMs: performance.now() },
      async prove() {
        if (token === 'good' || token === 'weak') return aPrincipal({ displayName: token })
        throw new BrokerError('permission_denied', 'invalid token')
      },
    }),
    authorizer: judgedBy(({ principal }) => principal.displayName === 'good'),
    findMount: async (path) => longestMount(mounts, path),
    routesOf: (type) => routes[type] ?? [],
    ...changes,
  }
}

export type Running = Listening & { api: Api }

/** Serves on a free port for as long as `use` runs. */
export async function serving<T>(
  appParts: AppParts,
  use: (at: Running) => Promise<T>,
  tls?: Tls,
): Promise<T> {
  const api = createApi(appParts)
  const listening = await listen({ host: '127.0.0.1', port: 0, tls }, api.app, silent)
  try {
    return await use({ ...listening, api })
  } finally {
    await listening.close(0)
  }
}

/** A request with the good token unless `headers` say otherwise. */
export async function ask(
  at: { url: string },
  method: string,
  path: string,
  { body, headers = {} }: { body?: string | object; headers?: Record<string, string> } = {},
) {
  const response = await fetch(`${at.url}${path}`, {
    method,
    headers: { 'X-Vault-Token': 'good', ...headers },
    ...(body !== undefined && { body: typeof body === 'string' ? body : JSON.stringify(body) }),
  })
  const text = await response.text()
  return {
    status: response.status,
    headers: response.headers,
    text,
    json: text === '' ? undefined : JSON.parse(text),
  }
}

export async function dial(port: number): Promise<Socket> {
  const socket = connect({ port, host: '127.0.0.1', noDelay: true })
  await once(socket, 'connect')
  return socket
}

/** Writes the pieces one by one and gives everything the server says until it closes the connection. */
export async function exchange(socket: Duplex, ...pieces: (string | Uint8Array)[]): Promise<string> {
  const heard: Buffer[] = []
  socket.on('data', (chunk: Buffer) => heard.push(chunk))
  const closed = once(socket, 'close')
  for (const piece of pieces) await new Promise((written) => socket.write(piece, written))
  await closed
  return Buffer.concat(heard).toString('latin1')
}

/** The bodies and status lines of answers that came one after the other. */
export const statuses = (heard: string): number[] =>
  [...heard.matchAll(/HTTP\/1\.1 (\d{3}) /g)].map(([, status]) => Number(status))

/** The mount with the longest path that `path` lies in; `team-a/db` alone also means the mount `team-a/db/`. */
function longestMount<M extends { path: string }>(mounts: Iterable<M>, path: string): M | undefined {
  const within = path.endsWith('/') ? path : `${path}/`
  let longest: M | undefined
  for (const mount of mounts) {
    if (within.startsWith(mount.path) && mount.path.length > (longest?.path.length ?? 0)) longest = mount
  }
  return longest
}

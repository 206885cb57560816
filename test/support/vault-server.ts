import { randomUUID } from 'node:crypto'
import { once } from 'node:events'
import { createServer, type IncomingMessage, type RequestListener, type ServerResponse } from 'node:http'
import { createServer as createTlsServer } from 'node:https'
import type { AddressInfo } from 'node:net'
import { keyValueStore } from './vault-kv.ts'

/**
 * As much of Vault as we use, over HTTP: KV version 2 in several mounts and namespaces, tokens that end, and logins.
 * Answers and errors are worded as Vault's own.
 */
export type VaultServer = {
  url: string
  /** May do everything and never ends. */
  root: string
  /** The requests that arrived, as `<method> <path>`, without the leading `/v1/`. */
  requests: string[]
  /** How every request is answered from now on; as it should be, when undefined. */
  behave(how: RequestListener | undefined): void
  /** Another token. With `deny`, paths that begin so are refused; `POST <path>` is of one method alone. */
  token(wish?: TokenWish): string
  /** Ends the token at once, as revoking or the end of its time would. */
  revoke(token: string): void
  isAlive(token: string): boolean
  /** A role for approle at `auth/<path>`; its secret ids are these. */
  addAppRole(path: string, role: { roleId: string; secretIds: string[]; tokens?: TokenWish }): void
  addKubernetesRole(path: string, role: { name: string; jwts: string[]; tokens?: TokenWish }): void
  /** A KV version 2 mount more; `secret` is there. */
  mount(path: string, options?: { namespace?: string; casRequired?: boolean }): void
  /** Writes as others do: the newest version of a path below a mount's data. */
  write(path: string, data: Record<string, unknown>, namespace?: string): void
  /** The keys of the newest version. */
  read(path: string, namespace?: string): Record<string, unknown> | undefined
  /** As somebody deletes the newest version alone. */
  softDelete(path: string): void
  stop(): Promise<void>
}

export type TokenWish = { ttlSeconds?: number; renewable?: boolean; deny?: string[]; maxRenewals?: number }

type Token = TokenWish & { endsAtMs: number; renewals: number }
type Call = {
  method: string
  path: string
  token: Token | undefined
  tokenText: string
  namespace: string
  body: Body
}
type Body = Record<string, unknown>
type Reply = { status: number; body?: unknown }

const refusal = (status: number, ...errors: string[]): Reply => ({ status, body: { errors } })

/** The ways in which a Vault goes wrong. */
export const vaultFaults = {
  sealed: (_: IncomingMessage, res: ServerResponse) =>
    void res.writeHead(503, { 'content-type': 'application/json' }).end('{"errors":["Vault is sealed"]}'),
  hangs: () => {},
  hangsHalfway: (_: IncomingMessage, res: ServerResponse) =>
    void res.writeHead(200, { 'content-type': 'application/json' }).write('{"data":{'),
  isNotVault: (_: IncomingMessage, res: ServerResponse) => void res.end('<html>It works!</html>'),
  isAnotherNotFound: (_: IncomingMessage, res: ServerResponse) =>
    void res.writeHead(404, { 'content-type': 'text/html' }).end('<html>Not Found</html>'),
  isBusy: (_: IncomingMessage, res: ServerResponse) =>
    void res
      .writeHead(429, { 'content-type': 'application/json' })
      .end('{"errors":["request path rate limit exceeded"]}'),
  hangsUp: (req: IncomingMessage) => void req.socket.destroy(),
}

export async function startVault(tls?: { cert: string; key: string }): Promise<VaultServer> {
  const kv = keyValueStore()
  kv.mount('secret')
  const tokens = new Map<string, Token>()
  const logins = new Map<string, (body: Body) => { tokens?: TokenWish } | Reply>()
  const requests: string[] = []
  let behaviour: RequestListener | undefined

  const token = ({ ttlSeconds = 0, ...wish }: TokenWish = {}): string => {
    const text = `hvs.${randomUUID().replaceAll('-', '')}`
    const endsAtMs = ttlSeconds === 0 ? Number.POSITIVE_INFINITY : Date.now() + ttlSeconds * 1_000
    tokens.set(text, { renewable: true, ...wish, ttlSeconds, endsAtMs, renewals: 0 })
    return text
  }
  const living = (text: string): Token | undefined => {
    const found = tokens.get(text)
    return found && found.endsAtMs > Date.now() ? found : undefined
  }
  const auth = (text: string, { ttlSeconds = 0, renewable = true }: TokenWish) => ({
    auth: { client_token: text, lease_duration: ttlSeconds, renewable, policies: ['default'] },
  })

  const aboutToken: Record<string, (call: Call, token: Token) => Reply> = {
    'GET auth/token/lookup-self': ({ tokenText }, { endsAtMs, renewable, ttlSeconds = 0 }) => {
      const ttl = ttlSeconds === 0 ? 0 : Math.ceil((endsAtMs - Date.now()) / 1_000)
      return { status: 200, body: { data: { id: tokenText, ttl, renewable: ttl > 0 && renewable } } }
    },
    'POST auth/token/renew-self': ({ tokenText }, found) => {
      if (!found.renewable) return refusal(400, 'lease is not renewable')
      if (found.renewals >= (found.maxRenewals ?? Number.POSITIVE_INFINITY)) {
        return refusal(400, 'past the max TTL, cannot renew')
      }
      found.renewals += 1
      found.endsAtMs = Date.now() + (found.ttlSeconds ?? 0) * 1_000
      return { status: 200, body: auth(tokenText, found) }
    },
    'POST auth/token/revoke-self': ({ tokenText }) => {
      tokens.delete(tokenText)
      return { status: 204 }
    },
  }

  const answer = (call: Call): Reply => {
    const { method, path, body } = call
    const login = method === 'POST' ? logins.get(path) : undefined
    if (login) {
      const granted = login(body)
      if ('status' in granted) return granted
      const wish = granted.tokens ?? {}
      return { status: 200, body: auth(token(wish), wish) }
    }
    if (call.tokenText === '') return refusal(400, 'missing client token')
    if (
      !call.token ||
      call.token.deny?.some((prefix) => [path, `${method} ${path}`].some((ask) => ask.startsWith(prefix)))
    ) {
      return refusal(403, '1 error occurred:\n\t* permission denied\n\n')
    }
    const own = aboutToken[`${method} ${path}`]
    return own ? own(call, call.token) : kv.answer(call)
  }

  const serve: RequestListener = (req, res) => {
    const url = new URL(req.url ?? '', 'http://vault')
    const path = url.pathname
      .replace(/^\/v1\//, '')
      .split('/')
      .map(decodeURIComponent)
      .join('/')
    requests.push(`${req.method} ${path}`)
    if (behaviour) return behaviour(req, res)
    void readJson(req).then((body) => {
      const tokenText = String(req.headers['x-vault-token'] ?? '')
      const namespace = String(req.headers['x-vault-namespace'] ?? '')
      const call = { method: req.method ?? '', path, token: living(tokenText), tokenText, namespace, body }
      const reply = answer(call)
      res.writeHead(reply.status, { 'content-type': 'application/json' })
      res.end(reply.body === undefined ? undefined : JSON.stringify(reply.body))
    })
  }

  const server = tls ? createTlsServer(tls, serve) : createServer(serve)
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  const root = token()

  return {
    url: tls ? `https://localhost:${port}` : `http://127.0.0.1:${port}`,
    root,
    requests,
    behave(how) {
      behaviour = how
    },
    token,
    revoke: (text) => void tokens.delete(text),
    isAlive: (text) => living(text) !== undefined,
    addAppRole: (path, role) =>
      void logins.set(`auth/${path}/login`, ({ role_id: roleId, secret_id: secretId }) =>
        roleId === role.roleId && role.secretIds.includes(String(secretId))
          ? role
          : refusal(400, 'invalid role or secret ID'),
      ),
    addKubernetesRole: (path, role) =>
      void logins.set(`auth/${path}/login`, ({ role: name, jwt }) => {
        if (name !== role.name) return refusal(400, `invalid role name "${String(name)}"`)
        return role.jwts.includes(String(jwt)) ? role : refusal(403, 'permission denied')
      }),
    mount: kv.mount,
    write: (path, data, namespace) => kv.write(path, data, namespace),
    read: kv.read,
    softDelete: kv.softDelete,
    async stop() {
      server.closeAllConnections()
      server.close()
      await once(server, 'close')
    },
  }
}

async function readJson(req: IncomingMessage): Promise<Body> {
  const chunks: Buffer[] = []
  for await (const chunk of req) chunks.push(chunk as Buffer)
  const text = Buffer.concat(chunks).toString()
  return text === '' ? {} : (JSON.parse(text) as Body)
}

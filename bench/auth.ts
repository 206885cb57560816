import { createPublicKey, type JsonWebKey } from 'node:crypto'
import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { exportJWK, generateKeyPair, type JWK, jwtVerify, SignJWT } from 'jose'
import { checkJwtConfig } from '../src/identity/jwt/config.ts'
import { openKeySource } from '../src/identity/jwt/key-source.ts'
import { checkJwtRole } from '../src/identity/jwt/role.ts'
import { verifyLogin } from '../src/identity/jwt/verify.ts'
import { decision } from './decision.ts'
import { type HttpClient, openHttp } from './http-client.ts'
import { emptySample, join, loop, percentile, perSecond, type Sample } from './load.ts'
import type { Figure } from './report.ts'
import type { Installation, World } from './world.ts'

/** How often and how long each side has its turn, and how many decisions are timed. */
export type AuthSize = {
  rounds: number
  warmUpMs: number
  turnMs: number
  decisions: { decisions: number; warmUp: number }
}

const CLIENTS = 32
const AUDIENCE = 'leasehold'
const ALGORITHMS = ['ES256', 'RS256'] as const
/** An authenticated issue may cost 15 % more. */
const LEAST_OF_ROOT = 1 / 1.15
const LEAST_OF_JOSE = 0.6

const POLICY = `path "database/creds/*" {
  capabilities = ["read"]
  condition = "principal.claims.environment == 'bench' && request.time.getHours('Europe/Berlin') >= 0"
}`

/** What knowing who asks and deciding what they may have costs, beside what it is held against. */
export async function auth(world: World, size: AuthSize): Promise<Figure[]> {
  const issuer = await startIssuer()
  const installation = await world.install('auth')
  try {
    await prepare(installation, issuer)
    return [
      ...(await decision(size.decisions)),
      ...(await issuing(installation, issuer, size)),
      ...(await loggingIn(installation, issuer, size)),
    ]
  } finally {
    await installation.stop()
    await issuer.stop()
  }
}

const ROLE = {
  user_claim: 'sub',
  bound_audiences: [AUDIENCE],
  bound_claims: { environment: 'bench' },
  claim_mappings: { repository: 'repository' },
}

type Issuer = {
  url: string
  keys: Record<string, JWK>
  /** Good for a day. */
  token(algorithm: string): Promise<string>
  stop(): Promise<void>
}

/** Publishes a key of each algorithm, and signs with them. */
async function startIssuer(): Promise<Issuer> {
  const pairs = new Map(
    await Promise.all(ALGORITHMS.map(async (alg) => [alg, await generateKeyPair(alg)] as const)),
  )
  const keys: Record<string, JWK> = {}
  for (const [alg, { publicKey }] of pairs) keys[alg] = { ...(await exportJWK(publicKey)), kid: alg, alg }
  const server = createServer((_, res) => void res.end(JSON.stringify({ keys: Object.values(keys) })))
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/jwks`,
    keys,
    async token(algorithm) {
      const pair = pairs.get(algorithm as (typeof ALGORITHMS)[number])
      if (!pair) throw new Error(`no key for ${algorithm}`)
      return new SignJWT({ environment: 'bench', repository: 'octo-org/shop' })
        .setProtectedHeader({ alg: algorithm, kid: algorithm })
        .setSubject('repo:octo-org/shop:ref:refs/heads/main')
        .setAudience(AUDIENCE)
        .setIssuedAt()
        .setExpirationTime('1d')
        .sign(pair.privateKey)
    },
    async stop() {
      server.close()
      server.closeAllConnections()
    },
  }
}

async function prepare(installation: Installation, issuer: Issuer): Promise<void> {
  const [root] = await installation.clients(1)
  await root?.call('POST', 'sys/auth/jwt', { type: 'jwt' })
  await root?.call('POST', 'auth/jwt/config', { jwks_url: issuer.url })
  await root?.call('POST', 'sys/policies/acl/bench', { policy: POLICY })
  await root?.call('POST', 'auth/jwt/role/bench', {
    ...ROLE,
    token_policies: 'bench',
    token_ttl: '2h',
  })
}

type Login = { auth: { client_token: string } }

/** The same issue by a workload that policy lets have it, and by root, in turns. */
async function issuing(installation: Installation, issuer: Issuer, size: AuthSize): Promise<Figure[]> {
  const root = await installation.clients(CLIENTS)
  const jwt = await issuer.token('ES256')
  const api = root[0] as HttpClient
  const { auth: workload } = (await api.call('POST', 'auth/jwt/login', { role: 'bench', jwt })) as Login
  const bearers = await Promise.all(
    Array.from({ length: CLIENTS }, () => openHttp(installation.url, workload.client_token)),
  )
  const figures: Figure[] = []
  for (const iterations of [1, 4_096]) {
    const path = `database/creds/issue-${iterations}`
    const turn = async (clients: HttpClient[], into: Sample, forMs = size.turnMs) => {
      join(into, await loop(clients.length, { forMs }, (i) => (clients[i] as HttpClient).call('GET', path)))
      await api.call('POST', `sys/leases/revoke-prefix/${path}`)
    }
    await turn(bearers, emptySample(), size.warmUpMs)
    const [byRoot, byWorkload] = [emptySample(), emptySample()]
    for (let round = 0; round < size.rounds; round += 1) {
      await turn(root, byRoot)
      await turn(bearers, byWorkload)
    }
    const ratio = perSecond(byWorkload) / perSecond(byRoot)
    figures.push({
      name: `issue by a login under a policy, ${iterations} iteration${iterations === 1 ? '' : 's'}, ${CLIENTS} clients`,
      value: perSecond(byWorkload),
      unit: '/s',
      p50Ms: percentile(byWorkload.latenciesMs, 0.5),
      p99Ms: percentile(byWorkload.latenciesMs, 0.99),
      limit: { name: 'issue by root', value: perSecond(byRoot) },
      ratio,
      aim: { text: `at least ${LEAST_OF_ROOT.toFixed(2)}`, met: ratio >= LEAST_OF_ROOT },
    })
  }
  for (const client of bearers) client.close()
  return figures
}

/** Works on one thing after the other, in this process; the processor time is that of all its threads. */
type Worker = (forMs: number) => Promise<{ count: number; processorMs: number }>

const working =
  (work: () => Promise<unknown>): Worker =>
  async (forMs) => {
    const before = process.cpuUsage()
    const endsAt = performance.now() + forMs
    let count = 0
    for (; performance.now() < endsAt; count += 1) await work()
    const { user, system } = process.cpuUsage(before)
    return { count, processorMs: (user + system) / 1_000 }
  }

/** Both for each second of a processor, beside what jose verifies in one: whole logins, and the check of the token alone. */
async function loggingIn(installation: Installation, issuer: Issuer, size: AuthSize): Promise<Figure[]> {
  const clients = await Promise.all(Array.from({ length: CLIENTS }, () => openHttp(installation.url, 'none')))
  const figures: Figure[] = []
  for (const algorithm of ALGORITHMS) {
    const jwt = await issuer.token(algorithm)
    const logIn: Worker = async (forMs) => {
      const before = await installation.server.processorMs()
      const sample = await loop(CLIENTS, { forMs }, (i) =>
        (clients[i] as HttpClient).call('POST', 'auth/jwt/login', { role: 'bench', jwt }),
      )
      const processorMs = (await installation.server.processorMs()) - before
      return { count: sample.latenciesMs.length, processorMs }
    }
    const key = createPublicKey({ key: issuer.keys[algorithm] as JsonWebKey, format: 'jwk' })
    const sides = {
      jose: working(() => jwtVerify(jwt, key, { audience: AUDIENCE })),
      check: working(checker(issuer, jwt)),
      logIn,
    }
    const rates = await inTurns(sides, size)
    const shared = (name: string, value: number): Figure => ({
      name: `${name}, ${algorithm}, per second of a processor`,
      value,
      unit: '/s',
      limit: { name: 'jose verifying', value: rates.jose },
      ratio: value / rates.jose,
      aim: { text: `at least ${LEAST_OF_JOSE}`, met: value / rates.jose >= LEAST_OF_JOSE },
    })
    figures.push(
      shared('token checked with cached keys', rates.check),
      shared('login with cached keys', rates.logIn),
    )
  }
  for (const client of clients) client.close()
  return figures
}

/** How often each works in a second of a processor, when they take turns. */
async function inTurns<Name extends string>(
  sides: Record<Name, Worker>,
  { rounds, warmUpMs, turnMs }: AuthSize,
): Promise<Record<Name, number>> {
  const names = Object.keys(sides) as Name[]
  const done = new Map(names.map((name) => [name, { count: 0, processorMs: 0 }]))
  for (const name of names) await sides[name](warmUpMs)
  for (let round = 0; round < rounds; round += 1) {
    for (const [name, total] of done) {
      const { count, processorMs } = await sides[name](turnMs)
      total.count += count
      total.processorMs += processorMs
    }
  }
  const rates = [...done].map(([name, { count, processorMs }]) => [name, (count / processorMs) * 1_000])
  return Object.fromEntries(rates) as Record<Name, number>
}

/** What a login does with a token before the ledger comes in: signature, times, parties, claims. */
function checker({ url }: Issuer, jwt: string): () => Promise<unknown> {
  const config = checkJwtConfig({ jwks_url: url })
  const keys = openKeySource(config)
  const role = checkJwtRole(ROLE, { mountType: 'jwt' })
  return () => verifyLogin({ config, keys, role, roleName: 'bench', jwt, now: new Date() })
}

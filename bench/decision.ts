import { type AuthorizerParts, createAuthorizer, type Question } from '../src/policy/authorize.ts'
import { createPolicies, type PolicyText } from '../src/policy/policies.ts'
import { NO_LOGIN } from '../src/policy/principal.ts'
import { percentile } from './load.ts'
import type { Figure } from './report.ts'

const POLICIES = 50
const PATH = 'database/creds/orders'
const LATEST_MICROS = 100

const ROLE: Awaited<ReturnType<AuthorizerParts['roleOf']>> = {
  facts: {
    name: 'orders',
    mount: 'database/',
    engine: 'postgres',
    target: 'shop',
    environment: 'dev',
    labels: { team: 'shop' },
    targetEnvironment: 'dev',
    targetLabels: {},
    mountEnvironment: '',
    mountLabels: {},
  },
  condition: undefined,
}

const CLAIMS = {
  iss: 'https://ci.example',
  environment: 'dev',
  repository: 'octo-org/shop',
  run_id: '1234567',
}

/** Each has rules of its own, and one more for what is asked whose condition only the last one's meets. */
const policyAt = (n: number): PolicyText => ({
  name: `policy-${n}`,
  version: 1,
  text: `path "secret/team-${n}/*" { capabilities = ["read", "list"] }
    path "database/+/team-${n}-*" { capabilities = ["read"] }
    path "database/creds/*" {
      capabilities = ["read"]
      condition = "role.environment == 'dev' && principal.claims.repository.startsWith('octo-org/') && request.time.getHours('Europe/Berlin') >= 0 && principal.subject == 'build-${n}'"
    }`,
})

/** A decision in this process, over many policies with a condition each: from the question to the answer. */
export async function decision({
  decisions,
  warmUp,
}: {
  decisions: number
  warmUp: number
}): Promise<Figure[]> {
  const documents = new Map(Array.from({ length: POLICIES }, (_, n) => [`policy-${n}`, policyAt(n)]))
  const policies = createPolicies({
    find: async (names) => names.flatMap((name) => documents.get(name) ?? []),
    names: async () => [...documents.keys()],
    put: async () => {},
    remove: async () => {},
  })
  const authorizer = createAuthorizer({
    policies,
    roleOf: async () => ROLE,
    leasesHeld: async () => 0,
    liveGrant: async () => undefined,
  })
  const question = (subject: string): Question => ({
    principal: {
      tokenId: '0'.repeat(64),
      accessor: '0'.repeat(24),
      displayName: 'jwt-build',
      policies: [...documents.keys()],
      metadata: {},
      tokenExpiresAt: null,
      tokenHardExpiresAt: null,
      lastUse: false,
      entityId: '1'.repeat(24),
      treeId: '0'.repeat(24),
      identity: { ...NO_LOGIN, mount: 'auth/jwt/', subject, claims: CLAIMS },
    },
    operation: 'read',
    path: PATH,
    sudo: false,
    parameters: {},
    sourceAddress: '10.0.0.1',
    namespace: '',
    tls: true,
    revision: 1,
    now: new Date(),
    role: { mountId: 'm', mountPath: 'database/', name: 'orders' },
  })

  const micros = async (subject: string, allowed: boolean, count: number): Promise<number[]> => {
    const times: number[] = []
    for (let i = 0; i < count; i += 1) {
      const asked = question(subject)
      const startedAt = performance.now()
      const answer = await authorizer.decide(asked)
      times.push((performance.now() - startedAt) * 1_000)
      if (answer.allowed !== allowed) throw new Error('decided otherwise than it should have')
    }
    return times
  }
  const figures: Figure[] = []
  for (const [name, subject, allowed] of [
    ['allowed by the last', `build-${POLICIES - 1}`, true],
    ['denied by all', 'nobody', false],
  ] as const) {
    await micros(subject, allowed, warmUp)
    const times = await micros(subject, allowed, decisions)
    const p99 = percentile(times, 0.99)
    figures.push({
      name: `decision over ${POLICIES} policies with a condition each, ${name}, p99`,
      value: p99,
      unit: 'µs',
      p50Ms: percentile(times, 0.5) / 1_000,
      p99Ms: p99 / 1_000,
      aim: { text: `under ${LATEST_MICROS} µs`, met: p99 < LATEST_MICROS },
    })
  }
  return figures
}

import type { Broker } from '../../src/compose.ts'
import { openTestBroker, type TestBroker } from '../support/broker.ts'

export type Holder = { token: string; accessor: string }

/** A whole broker whose second server shares its ledger, and callers who are not root. */
export type QuotaWorld = TestBroker & {
  /** A token of its own, which may read credentials and little else. */
  holder(): Promise<Holder>
  /** Asks for a credential, at the second server when told so. */
  take(who: Holder, where?: { role?: string; key?: string; second?: boolean }): ReturnType<TestBroker['api']>
  /** A request at the second server. */
  second: TestBroker['api']
  /** Writes a quota, which has to be possible. */
  quota(kind: 'rate-limit' | 'lease-count', name: string, fields: object): Promise<void>
  dropQuotas(): Promise<void>
  /** Revokes a lease and waits for its end. */
  revoke(leaseId: string): Promise<void>
  /** How many leases may be in use. */
  live(): Promise<number>
  count(sql: string): Promise<number>
}

const POLICY = 'path "database/creds/*" { capabilities = ["read"] }'

export async function openQuotaWorld(): Promise<QuotaWorld> {
  const at = await openTestBroker()
  const other: Broker = await at.another()
  const { url } = await other.listen({ host: '127.0.0.1', port: 0 })
  await at.api('POST', 'sys/policies/acl/taker', { policy: POLICY })

  const second: TestBroker['api'] = async (method, path, body, headers = {}) => {
    const response = await fetch(`${url}/v1/${path}`, {
      method,
      headers: { 'X-Vault-Token': at.root, ...headers },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    })
    const text = await response.text()
    return {
      status: response.status,
      headers: response.headers,
      text,
      json: text === '' ? undefined : JSON.parse(text),
    }
  }
  const count: QuotaWorld['count'] = async (sql) => {
    const { rows } = await at.ledger.ledger.query<{ n: number }>(`select count(*)::int as n ${sql}`)
    return rows[0]?.n ?? Number.NaN
  }
  const must = async (answer: ReturnType<TestBroker['api']>, status: number) => {
    const { status: got, text } = await answer
    if (got !== status) throw new Error(`${got} ${text}`)
  }
  return {
    ...at,
    second,
    count,
    async holder() {
      const { json } = await at.api('POST', 'auth/token/create', { policies: ['taker'] })
      return { token: json.auth.client_token, accessor: json.auth.accessor }
    },
    take: ({ token }, { role = 'app', key, second: elsewhere = false } = {}) =>
      (elsewhere ? second : at.api)('GET', `database/creds/${role}`, undefined, {
        'X-Vault-Token': token,
        ...(key !== undefined && { 'Leasehold-Idempotency-Key': key }),
      }),
    quota: (kind, name, fields) => must(at.api('POST', `sys/quotas/${kind}/${name}`, fields), 204),
    async dropQuotas() {
      await at.ledger.ledger.query('delete from leasehold.quota')
    },
    revoke: (leaseId) => must(at.api('PUT', 'sys/leases/revoke', { lease_id: leaseId }), 204),
    live: () => count(`from leasehold.lease where state <> 'revoked'`),
  }
}

/** How many answers had each status. */
export const tally = (answers: { status: number }[]): Record<number, number> => {
  const counts: Record<number, number> = {}
  for (const { status } of answers) counts[status] = (counts[status] ?? 0) + 1
  return counts
}

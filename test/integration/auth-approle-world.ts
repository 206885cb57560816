import { openTestBroker, type TestBroker } from '../support/broker.ts'

/** What a test expects of an answer is the test's to say. */
// biome-ignore lint/suspicious/noExplicitAny: see above
type Json = any

/** A broker with the mount `auth/approle/`. */
export type AppRoleWorld = {
  at: TestBroker
  /** A role with these fields, and its role_id. */
  role(name: string, fields?: Record<string, unknown>): Promise<string>
  /** A new secret id of the role: all that the answer says of it. */
  secret(name: string, fields?: Record<string, unknown>): Promise<Json>
  /** Without a token. */
  login(fields: Record<string, unknown>, mount?: string): ReturnType<TestBroker['api']>
  /** Everything the ledger holds, by table, as text: columns of bytes in hex. */
  dump(): Promise<Record<string, string[]>>
  close(): Promise<void>
}

/** What every request adds to, and what the clock of the fleet touches. */
const NOT_DUMPED = ['rate_count', 'migration']

export async function openAppRoleWorld(): Promise<AppRoleWorld> {
  const at = await openTestBroker()
  await at.api('POST', 'sys/auth/approle', { type: 'approle' })
  const good = async (...ask: Parameters<TestBroker['api']>) => {
    const answer = await at.api(...ask)
    if (answer.status > 299) throw new Error(answer.text)
    return answer.json?.data
  }
  return {
    at,
    async role(name, fields = {}) {
      await good('POST', `auth/approle/role/${name}`, fields)
      return (await good('GET', `auth/approle/role/${name}/role-id`)).role_id
    },
    secret: (name, fields = {}) => good('POST', `auth/approle/role/${name}/secret-id`, fields),
    login: (fields, mount = 'approle') =>
      at.api('POST', `auth/${mount}/login`, fields, { 'X-Vault-Token': '' }),
    async dump() {
      const { ledger } = at.ledger
      const { rows: tables } = await ledger.query<{ name: string }>(
        `select table_name as name from information_schema.tables
         where table_schema = 'leasehold' and table_type = 'BASE TABLE' order by 1`,
      )
      const shown = tables.filter(({ name }) => !NOT_DUMPED.includes(name))
      const contents = shown.map(async ({ name }) => {
        const { rows } = await ledger.query<{ row: string }>(
          `select to_jsonb(t)::text as row from leasehold.${name} t order by 1`,
        )
        return [name, rows.map(({ row }) => row)] as const
      })
      return Object.fromEntries(await Promise.all(contents))
    },
    close: () => at.close(),
  }
}

/** Without the audit log, which hears of refusals too. */
export const withoutAudit = (dump: Record<string, string[]>): Record<string, string[]> =>
  Object.fromEntries(Object.entries(dump).filter(([table]) => !table.startsWith('audit_')))

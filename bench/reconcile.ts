import type pg from 'pg'
import type { HttpClient } from './http-client.ts'
import type { Figure } from './report.ts'
import type { Installation, World } from './world.ts'

const MIB = 1_048_576
const ACCOUNTS_AT_A_TIME = 500
const LOOK_EVERY_MS = 50
const AIMS = { seconds: 60, memory: 200 * MIB }

/** What it takes to hold a target with this many leased accounts against its ledger, the first time and again. */
export async function reconcile(world: World, { accounts }: { accounts: number }): Promise<Figure[]> {
  const installation = await world.install('reconcile')
  const sql = await world.targetClient()
  await fill(installation, sql, accounts)
  const [api] = await installation.clients(1)
  const figures: Figure[] = []
  for (const time of ['first', 'again'])
    figures.push(...(await measure(installation, api as HttpClient, accounts, time)))
  await sql.end()
  await installation.stop()
  return figures
}

/** Accounts as issuing leaves them, and the rows of their leases, which end one after another over ten hours. */
async function fill({ ledger }: Installation, sql: pg.Client, accounts: number): Promise<void> {
  await ledger.query(
    `insert into leasehold.lease (id, path, mount_id, role_id, target_id, token_id, account, state,
       issued_at, expires_at, hard_expires_at, hard_limited_by, create_deadline, next_action_at)
     select lpad(i::text, 24, '0'), 'database/creds/' || r.name, r.mount_id, r.id, t.id, k.id,
       'v_issue_' || lpad(i::text, 24, '0'), 'active',
       now(), now() + i * interval '0.3 seconds' + interval '1 hour', now() + interval '12 hours', 'role_max', now(),
       now() + i * interval '0.3 seconds' + interval '1 hour'
     from generate_series(1, $1::integer) as i,
       (select * from leasehold.role where name = 'issue-1') r, leasehold.target t, leasehold.token k`,
    [accounts],
  )
  for (let from = 1; from <= accounts; from += ACCOUNTS_AT_A_TIME) {
    await sql.query(
      `do $$ declare name text; id text; begin
         for i in ${from}..${Math.min(accounts, from + ACCOUNTS_AT_A_TIME - 1)} loop
           id := lpad(i::text, 24, '0'); name := 'v_issue_' || id;
           execute format('create role %I login valid until %L', name, now() + interval '12 hours');
           execute format('comment on role %I is %L', name, 'leasehold lease ' || id);
           execute format('grant bench_group to %I', name);
         end loop; end $$`,
    )
  }
  const { rows } = await sql.query(
    `select oid::text, rolname from pg_roles where rolname like 'v\\_issue\\_%'`,
  )
  await ledger.query(
    `update leasehold.lease l set target_ref = r.ref
     from unnest($1::text[], $2::text[]) as r (account, ref) where l.account = r.account`,
    [rows.map(({ rolname }) => rolname), rows.map(({ oid }) => oid)],
  )
  await ledger.query('analyze leasehold.lease')
  await sql.query('analyze pg_authid; analyze pg_shdescription; analyze pg_auth_members')
}

async function measure(
  { server }: Installation,
  api: HttpClient,
  accounts: number,
  time: string,
): Promise<Figure[]> {
  const processorBefore = await server.processorMs()
  let peak = await server.memory()
  let done = false
  const watching = (async () => {
    while (!done) {
      peak = Math.max(peak, await server.memory())
      await new Promise((resolve) => setTimeout(resolve, LOOK_EVERY_MS))
    }
  })()
  const startedAt = performance.now()
  const answer = (await api.call('POST', 'database/config/target/reconcile')) as {
    data: { reconcile: { accounts: number; leases: number; found: object; error?: string } }
  }
  const seconds = (performance.now() - startedAt) / 1_000
  const processorSeconds = ((await server.processorMs()) - processorBefore) / 1_000
  done = true
  await watching
  const { reconcile } = answer.data
  if (reconcile.accounts < accounts || reconcile.leases < accounts || reconcile.error !== undefined) {
    throw new Error(`not everything was looked at: ${JSON.stringify(reconcile).slice(0, 500)}`)
  }
  return [
    {
      name: `reconcile of ${accounts} accounts, ${time}`,
      value: seconds,
      unit: 's',
      limit: { name: 'allowed', value: AIMS.seconds },
      ratio: seconds / AIMS.seconds,
      aim: { text: 'under a minute', met: seconds < AIMS.seconds },
    },
    { name: `processor time of the server for it, ${time}`, value: processorSeconds, unit: 's' },
    {
      name: `memory of the server meanwhile, ${time}`,
      value: peak / MIB,
      unit: 'MiB',
      limit: { name: 'allowed', value: AIMS.memory / MIB },
      ratio: peak / AIMS.memory,
      aim: { text: 'under 200 MiB', met: peak < AIMS.memory },
    },
  ]
}

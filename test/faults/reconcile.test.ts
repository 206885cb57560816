import { afterAll, beforeAll, expect, test } from 'vitest'
import type { Broker } from '../../src/compose.ts'
import type { Mount } from '../../src/lease/mounts.ts'
import { newId } from '../../src/lib/ids.ts'
import { type Installation, openInstallation, request } from '../support/installation.ts'
import { CHANGES, untilLanded, visitChanges } from '../support/kills.ts'
import { type GatePlan, type Process, until } from '../support/processes.ts'
import { startTestPostgres, type TestPostgres } from '../support/servers.ts'

/**
 * A worker is killed at every statement that changes something while it holds a target against the ledger, ends what
 * it found, and has a canary in hand. Whoever comes next finishes it: nothing is ended twice or forgotten, and no
 * account that has a right to be there is touched.
 */

let postgres: TestPostgres
let at: Installation
let server: Process
let next: Broker
let mount: Mount
const stranger = `v_other_${newId()}`
beforeAll(async () => {
  postgres = await startTestPostgres()
  at = await openInstallation({
    targets: { app: postgres },
    ledgerServer: postgres,
    // The clock of the ledger moves and that of the target does not: less than an hour in the life of one lease.
    ttlSeconds: 7_200,
  })
  server = await at.server()
  next = await at.broker()
  mount = (await next.mounts.find('database/')) as Mount
  await bringBack(stranger, stranger.slice(-24))
  await next.reconciler.now(mount.id, 'app', new Set())
})
afterAll(async () => {
  await next?.close()
  await at?.close()
  await postgres?.remove()
})

const sql = async (text: string) => (await at.targets.app?.sql(text)) ?? []
const ledger = async <Row extends object>(text: string): Promise<Row[]> =>
  (await at.test.ledger.query<Row>(text)).rows
const bringBack = (name: string, mark: string) =>
  sql(`create role "${name}" login; comment on role "${name}" is 'leasehold lease ${mark}'`)
const revoke = (leaseId: string) =>
  request(server, at.token, 'PUT', 'sys/leases/revoke', { lease_id: leaseId })

type Lease = { id: string; leaseId: string; account: string }

async function issue(): Promise<Lease> {
  const answer = await request(server, at.token, 'GET', 'database/creds/app')
  const { lease_id: leaseId = '', data } = answer?.body ?? {}
  return { leaseId, id: leaseId.slice(leaseId.lastIndexOf('/') + 1), account: data?.username ?? '' }
}

type Round = { kept: Lease; back: Lease; gone: Lease; changed: Lease }

/** One of each that a reconcile can find, and one that is as it should be; and both tasks are due. */
async function prepare(): Promise<Round> {
  const [kept, back, gone, changed] = (await Promise.all([issue(), issue(), issue(), issue()])) as [
    Lease,
    Lease,
    Lease,
    Lease,
  ]
  await revoke(back.leaseId)
  await bringBack(back.account, back.id)
  await sql(`drop role "${gone.account}"`)
  await sql(`alter role "${changed.account}" createdb`)
  await ledger('update leasehold.upkeep set next_action_at = leasehold.ledger_now()')
  return { kept, back, gone, changed }
}

/** Whether all was found and ended, and nobody has a task in hand. */
async function isDone({ kept }: Round): Promise<boolean> {
  const open = await ledger(
    `select from leasehold.lease where state <> 'revoked' and id <> '${kept.id}'
     union all select from leasehold.upkeep where claimed_by is not null or next_action_at <= leasehold.ledger_now()`,
  )
  return open.length === 0
}

/** What is left is done by another process, once the dead one has been silent for long enough. */
async function finish(round: Round): Promise<void> {
  await until(
    'the next one has done it all',
    async () => {
      await at.test.advance(1_000)
      await next.reconciler.now(mount.id, 'app', new Set())
      await next.sweep.once()
      return isDone(round)
    },
    () => at.leases(),
  )
}

const STEPS = ['disable', 'disconnect', 'remove', 'verify']

async function expectOrder({ kept, back, gone, changed }: Round, label: string): Promise<void> {
  const leases = await at.leases()
  const of = (account: string) => leases.filter((lease) => lease.account === account)
  const ended = { state: 'revoked', accessEnded: true, receipts: 1, steps: STEPS, claimedBy: null }
  expect(of(back.account), label).toHaveLength(2)
  expect(of(back.account), label).toEqual(
    expect.arrayContaining([
      expect.objectContaining({ ...ended, reason: 'revoked' }),
      expect.objectContaining({ ...ended, reason: 'orphan' }),
    ]),
  )
  expect(of(gone.account), label).toMatchObject([{ ...ended, reason: 'account_gone' }])
  expect(of(changed.account), label).toMatchObject([{ ...ended, reason: 'foreign_change' }])
  expect(of(kept.account), label).toMatchObject([{ state: 'active', renewals: 0 }])
  expect(await at.accounts(), label).toEqual([kept.account, stranger].sort())
  const off = await sql(
    `select from pg_roles where rolname in ('${kept.account}', '${stranger}') and not rolcanlogin`,
  )
  expect(off, label).toEqual([])
  for (const lease of leases.filter(({ id }) => id !== kept.id)) expect(lease, label).toMatchObject(ended)
  // As many findings were recorded as leases were ended for them.
  expect(
    await ledger(`select l.end_reason from leasehold.lease l
      where l.end_reason in ('orphan', 'account_gone', 'foreign_change') and 1 <> (
        select count(*) from leasehold.audit_event e
        where e.lease_id = l.path || '/' || l.id and e.body::jsonb -> 'what' ->> 'operation' = 'reconcile')`),
    label,
  ).toEqual([])
}

/** Without the asking for what is due, which goes on beside it all. */
const OF_THE_WORK = CHANGES.replace('(?!', '(?!with due as|')

/** Answers where it died; undefined: it lived, and did it all itself. */
async function killAt(plan: GatePlan): Promise<string | undefined> {
  const round = await prepare()
  const worker = await at.worker({ plan, settings: { LEASEHOLD_RECONCILE_INTERVAL: '1h' } })
  await until(
    'it died, or all is done',
    async () => !worker.isRunning() || (await isDone(round)),
    () => at.leases(),
  )
  const lived = await worker.gate(null).then(
    () => true,
    () => false,
  )
  if (lived) await worker.kill()
  await worker.exited
  const label = lived ? undefined : (worker.death()?.label ?? 'it died elsewhere')
  if (!lived) {
    await untilLanded(at, worker.death())
    await finish(round)
  }
  await expectOrder(round, `after ${label}`)
  await revoke(round.kept.leaseId)
  return label
}

/** What it must have been killed at: each finding, each step of ending, and the canary's life. */
const VISITED = [
  String.raw`insert into leasehold\.upkeep`,
  String.raw`insert into leasehold\.lease [\s\S]*'orphan'`,
  String.raw`set state = 'revoking', end_reason = \$2`,
  String.raw`insert into leasehold\.sighting`,
  String.raw`delete from leasehold\.sighting`,
  String.raw`insert into leasehold\.lease [\s\S]*'canary'`,
  'CREATE ROLE "?v_canary_',
  `set state = 'active'`,
  String.raw`fence \+ 1`,
  'NOLOGIN',
  'pg_terminate_backend',
  'DROP ROLE',
  String.raw`insert into leasehold\.receipt`,
  String.raw`update leasehold\.upkeep`,
]

// What is there before a statement is what was there after the one before it: one kind of kill sees it all.
test('kill -9 of a worker, right after sending every change of a reconcile', async () => {
  const counting = { only: OF_THE_WORK, from: 'insert into leasehold.upkeep' }

  await visitChanges((where) => killAt({ what: 'die after sending', ...where }), VISITED, counting)
}, 900_000)

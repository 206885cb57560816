import { setTimeout as sleep } from 'node:timers/promises'
import { median } from './load.ts'
import { startBroker, untilHealthy } from './processes.ts'
import type { Figure } from './report.ts'
import type { Installation, World } from './world.ts'

/** Time for the worker to have swept a few times, and for both to have allocated what they will. */
const SETTLE_MS = 2_500
const LIMIT_BYTES_PER_LEASE = 1_024
/** What two starts of the same thing differ by here. */
const SAME_START = 1.25

type Footprint = { startMs: number[]; bytes: number[] }

/** What live leases cost a broker's processes while nobody asks for anything. */
export async function footprint(
  world: World,
  { leases, starts, rounds }: { leases: number; starts: number; rounds: number },
): Promise<Figure[]> {
  const idle = await world.install('idle')
  const full = await world.install('full')
  await fillLeases(full, leases)
  const without: Footprint = { startMs: [], bytes: [] }
  const withLeases: Footprint = { startMs: [], bytes: [] }
  await idle.stop()
  await full.stop()
  for (let start = 0; start < starts; start += 1) {
    const both = [() => measureStart(world, idle, without), () => measureStart(world, full, withLeases)]
    // Neither is always the one that comes after the other.
    for (const measure of start % 2 === 0 ? both : both.reverse()) await measure()
  }
  for (let round = 0; round < rounds; round += 1) {
    await measureMemory(world, idle, without)
    await measureMemory(world, full, withLeases)
  }

  const perLease = (median(withLeases.bytes) - median(without.bytes)) / leases
  // The fastest of several: other work on the machine can only add to it.
  const startMs = Math.min(...withLeases.startMs)
  const emptyStartMs = Math.min(...without.startMs)
  const startRatio = startMs / emptyStartMs
  return [
    {
      name: `memory of server and worker per live lease, ${leases} live`,
      value: perLease,
      unit: 'bytes',
      limit: { name: 'allowed', value: LIMIT_BYTES_PER_LEASE },
      ratio: perLease / LIMIT_BYTES_PER_LEASE,
      aim: { text: 'under 1 KiB', met: perLease < LIMIT_BYTES_PER_LEASE },
    },
    {
      name: 'memory of server and worker, no lease',
      value: median(without.bytes) / 1_048_576,
      unit: 'MiB',
    },
    {
      name: `start of a server, from spawn to healthy, ${leases} live leases`,
      value: startMs,
      unit: 'ms',
      limit: { name: 'with no lease', value: emptyStartMs },
      ratio: startRatio,
      aim: { text: 'does not grow', met: startRatio < SAME_START },
    },
  ]
}

/** Live leases as rows alone, as issuing leaves them and not due for hours: none has an account anywhere. */
async function fillLeases({ ledger }: Installation, leases: number): Promise<void> {
  await ledger.query(
    `insert into leasehold.lease (id, path, mount_id, role_id, target_id, token_id, account, target_ref, state,
       issued_at, expires_at, hard_expires_at, hard_limited_by, create_deadline, next_action_at)
     select lpad(i::text, 24, '0'), 'database/creds/' || r.name, r.mount_id, r.id, t.id, k.id,
       'v_root_issue_' || lpad(i::text, 24, '0'), (20000 + i)::text, 'active',
       now(), now() + interval '10 hours', now() + interval '12 hours', 'role_max', now(), now() + interval '10 hours'
     from generate_series(1, $1::integer) as i,
       (select * from leasehold.role where name = 'issue-4096') r, leasehold.target t, leasehold.token k`,
    [leases],
  )
  await ledger.query('analyze leasehold.lease')
}

async function measureStart({ folder }: World, { settings, url }: Installation, { startMs }: Footprint) {
  const server = startBroker('server', settings, folder)
  startMs.push(await untilHealthy(url))
  await server.stop()
}

async function measureMemory({ folder }: World, { settings, url }: Installation, { bytes }: Footprint) {
  const frequent = { ...settings, LEASEHOLD_SWEEP_INTERVAL: '1s' }
  const server = startBroker('server', frequent, folder)
  const worker = startBroker('worker', frequent, folder)
  await untilHealthy(url)
  await sleep(SETTLE_MS)
  bytes.push((await server.memory()) + (await worker.memory()))
  await Promise.all([server.stop(), worker.stop()])
}

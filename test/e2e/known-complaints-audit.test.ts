import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest'
import { type Collector, openCollector } from '../integration/audit-sinks-world.ts'
import { MASTER_KEY, openTestBroker, type TestBroker } from '../support/broker.ts'
import { leasehold } from '../support/cli.ts'

// Of what hurts the users of the peers, the row about the audit log. A backlog that is full: audit-sinks-broker.test.ts.

let at: TestBroker
let folder: string
let collector: Collector
beforeAll(async () => {
  at = await openTestBroker({ worker: true, sweepIntervalMs: 300 })
  folder = await mkdtemp(join(tmpdir(), 'audit-complaints-'))
  collector = await openCollector()
})
afterAll(async () => {
  await at.close()
  await collector.close()
  await rm(folder, { recursive: true })
})

const eventually = (check: () => Promise<void>) => vi.waitFor(check, { timeout: 40_000, interval: 200 })
const requestIdOf = ({ headers }: { headers: Headers }) => headers.get('leasehold-request-id') ?? 'none'
const shippingOf = async (name: string) => (await at.api('GET', 'sys/audit')).json.data[`${name}/`]?.shipping

describe('row 22: the audit log', () => {
  test('goes on, and everything with it, while a sink hangs, and loses none of what it missed', async () => {
    collector.mood = 'hang'
    await at.api('POST', 'sys/audit/siem', { type: 'http', options: { url: collector.url, timeout: '1s' } })

    const issued = await at.api('GET', 'database/creds/app')
    const { lease_id, data } = issued.json
    const renewed = await at.api('PUT', 'sys/leases/renew', { lease_id, increment: 300 })
    const revoked = await at.api('PUT', 'sys/leases/revoke', { lease_id, sync: true })
    expect([issued.status, renewed.status, revoked.status]).toEqual([200, 200, 204])
    expect(await at.target.account(data.username)).toBe('absent')
    const forgotten = await at.api('GET', 'database/creds/app')
    await at.ledger.advance(100)
    await eventually(async () => expect(await at.target.account(forgotten.json.data.username)).toBe('absent'))
    await eventually(async () => {
      expect(await shippingOf('siem')).toMatchObject({ error: expect.stringContaining('longer than 1 s') })
    })

    collector.mood = 200
    const { rows } = await at.ledger.ledger.query<{ place: string }>(
      `select writer || ':' || seq as place from leasehold.audit_event
       where body::json ->> 'request_id' = any($1) or lease_id = any($2)`,
      [[issued, renewed, revoked, forgotten].map(requestIdOf), [lease_id, forgotten.json.lease_id]],
    )
    expect(rows.length).toBe(4 + 2 * 5)
    await eventually(async () => {
      expect(collector.taken()).toEqual(expect.arrayContaining(rows.map(({ place }) => place)))
    })
    await at.api('DELETE', 'sys/audit/siem')
  }, 90_000)

  test('notices a file that was deleted, and has all of it still', async () => {
    const file = join(folder, 'audit.log')
    await at.api('POST', 'sys/audit/file', { type: 'file', options: { file_path: file } })
    const before = await at.api('GET', 'sys/mounts')
    await eventually(async () => expect(await readFile(file, 'utf8')).toContain(requestIdOf(before)))

    await rm(file)
    const after = await at.api('GET', 'sys/mounts')
    await eventually(async () => expect(await readFile(file, 'utf8')).toContain(requestIdOf(after)))
    const held = await at.api('GET', 'sys/leasehold/audit?limit=1000')
    expect(held.text).toContain(requestIdOf(before))
    await at.api('DELETE', 'sys/audit/file')
  }, 60_000)

  test('notices an event that was deleted from the ledger itself', async () => {
    const answer = await at.api('GET', 'sys/mounts')
    await at.api('GET', 'sys/mounts')
    const verify = () =>
      leasehold(['audit', 'verify'], {
        LEASEHOLD_LEDGER_URL: at.ledger.url,
        LEASEHOLD_MASTER_KEY: MASTER_KEY,
      })
    expect((await verify()).code).toBe(0)

    const { rows } = await at.ledger.ledger.query<{ writer: string; seq: number }>(
      `delete from leasehold.audit_event where body like '%' || $1 || '%' returning writer, seq`,
      [requestIdOf(answer)],
    )
    const { code, stdout } = await verify()
    expect(code).toBe(1)
    expect(stdout).toContain(`event ${rows[0]?.seq} of writer ${rows[0]?.writer}`)
  })
})

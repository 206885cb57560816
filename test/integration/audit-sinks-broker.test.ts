import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest'
import { openTestBroker, type TestBroker } from '../support/broker.ts'
import { type Collector, openCollector } from './audit-sinks-world.ts'

// Sinks as operators configure them, and what a sink that takes nothing does to the broker: it stops granting, and
// ends what there is as ever.

let at: TestBroker
let folder: string
let collector: Collector
beforeAll(async () => {
  at = await openTestBroker({ worker: true, sweepIntervalMs: 300 })
  folder = await mkdtemp(join(tmpdir(), 'audit-sinks-'))
  collector = await openCollector()
})
afterAll(async () => {
  await at.close()
  await collector.close()
  await rm(folder, { recursive: true })
})

const eventually = (check: () => Promise<void>) => vi.waitFor(check, { timeout: 40_000, interval: 300 })
const sinks = async () => (await at.api('GET', 'sys/audit')).json.data
const capabilities = async (capability: string) => {
  await at.api('PUT', 'sys/policies/acl/auditor', {
    policy: `path "sys/audit*" { capabilities = [${capability}] }`,
  })
  const { json } = await at.api('POST', 'auth/token/create', { policies: ['auditor'] })
  return { 'X-Vault-Token': json.auth.client_token }
}

describe('sys/audit', () => {
  test('is the dialect: enabled, listed and disabled by node-vault', async () => {
    const file = join(folder, 'vault.log')
    await at.vault.enableAudit({
      name: 'file',
      type: 'file',
      description: 'for the record',
      options: { file_path: file, mode: '0640' },
    })
    const answer = await at.vault.audits()
    const entry = {
      path: 'file/',
      type: 'file',
      description: 'for the record',
      local: false,
      options: { file_path: file, mode: '0640' },
      shipping: { backlog: expect.any(Number), lag_seconds: expect.any(Number), failures: 0, error: null },
    }
    expect(answer.data).toEqual({ 'file/': entry })
    expect(answer['file/']).toEqual(entry)
    expect((await at.api('LIST', 'sys/audit')).json.data).toEqual({ keys: ['file/'] })

    await at.vault.disableAudit({ name: 'file' })
    expect(await sinks()).toEqual({})
    expect((await at.api('DELETE', 'sys/audit/file')).status).toBe(204)
  })

  test.each([
    [{ type: 'file' }, 'file_path is required'],
    [{ type: 'syslog', options: {} }, 'unknown backend type: "syslog"'],
    [{}, 'type is required: file, stdout or http'],
    [
      { type: 'http', options: { url: 'https://h/', token: 'with space' } },
      expect.stringMatching(/^token must be/),
    ],
    [{ type: 'file', options: 'nothing' }, expect.stringMatching(/field "options"/)],
  ])('refuses %j, naming what is wrong', async (body, text) => {
    const { status, json } = await at.api('POST', 'sys/audit/wrong', body)
    expect([status, json.errors]).toEqual([400, [text]])
    expect(await sinks()).toEqual({})
  })

  test('takes sudo, whatever is asked of it', async () => {
    const without = await capabilities('"create", "read", "update", "delete", "list"')
    const body = { type: 'file', options: { file_path: join(folder, 'never.log') } }
    for (const [method, path] of [
      ['GET', 'sys/audit'],
      ['LIST', 'sys/audit'],
      ['POST', 'sys/audit/x'],
      ['DELETE', 'sys/audit/x'],
    ] as const) {
      expect((await at.api(method, path, method === 'POST' ? body : undefined, without)).status).toBe(403)
    }
    expect(await sinks()).toEqual({})
    expect((await at.api('GET', 'sys/audit', undefined, await capabilities('"read", "sudo"'))).status).toBe(
      200,
    )
  })

  test('ships the event of its own enabling, and no token of anybody', async () => {
    const file = join(folder, 'own.log')
    await at.api('POST', 'sys/audit/own', { type: 'file', options: { file_path: file } })
    await at.api('POST', 'sys/audit/collector', {
      type: 'http',
      options: { url: collector.url, token: 'a-very-secret-word' },
    })
    await at.api('GET', 'database/creds/app')
    await eventually(async () => {
      const text = await readFile(file, 'utf8')
      const paths = text
        .trimEnd()
        .split('\n')
        .map((line) => JSON.parse(line).body.what.path)
      expect(paths).toEqual(
        expect.arrayContaining(['sys/audit/own', 'sys/audit/collector', 'database/creds/app']),
      )
      expect(text).not.toContain('a-very-secret-word')
      expect(text).not.toContain(at.root)
    })
    await eventually(async () => expect(collector.requests.length).toBeGreaterThan(0))
    expect(collector.requests[0]?.headers.authorization).toBe('Bearer a-very-secret-word')
    expect(JSON.stringify(await sinks())).not.toContain('a-very-secret-word')

    const { rows } = await at.ledger.ledger.query(`select * from leasehold.audit_sink`)
    expect(JSON.stringify(rows)).not.toContain('a-very-secret-word')
    await at.api('DELETE', 'sys/audit/collector')
    await at.api('DELETE', 'sys/audit/own')
  })

  test('shows the lag and the backlog of each sink as metrics', async () => {
    await at.api('POST', 'sys/audit/stdout', { type: 'file', options: { file_path: 'discard' } })
    await eventually(async () => {
      const response = await fetch(`${at.url}/v1/sys/metrics?format=prometheus`, {
        headers: { 'X-Vault-Token': at.root },
      })
      const text = await response.text()
      expect(text).toMatch(/^leasehold_audit_lag_seconds\{sink="stdout\/"\} [\d.]+$/m)
      expect(text).toMatch(/^leasehold_audit_backlog_events\{sink="stdout\/"\} \d+$/m)
    })
    await at.api('DELETE', 'sys/audit/stdout')
  })
})

describe('a sink that takes nothing', () => {
  test('stops granting when its backlog is full, never ending, and granting goes on when it takes them', async () => {
    const lease = (await at.api('GET', 'database/creds/app')).json
    const other = (await at.api('GET', 'database/creds/app')).json
    const token = (await at.api('POST', 'auth/token/create', { ttl: '10m' })).json.auth.client_token
    await at.api('POST', 'sys/auth/jwt', { type: 'jwt' })

    collector.mood = 'hang'
    await at.api('POST', 'sys/audit/dead', {
      type: 'http',
      options: { url: collector.url, max_backlog: '20', timeout: '1s' },
    })
    for (let i = 0; i < 25; i += 1) await at.api('GET', 'auth/token/lookup-self')
    await eventually(async () => expect((await at.api('GET', 'database/creds/app')).status).toBe(503))

    const closed = await at.api('GET', 'database/creds/app')
    expect(closed.json.errors).toEqual([
      'an audit sink is too far behind: nothing is granted until it has caught up; revoking works',
    ])
    expect(closed.headers.get('retry-after')).toBe('5')
    for (const [path, body] of [
      ['auth/token/create', {}],
      ['auth/token/create-orphan', {}],
      ['auth/token/renew', { token }],
      ['sys/leases/renew', { lease_id: lease.lease_id }],
      ['auth/jwt/login', { role: 'x', jwt: 'a.b.c' }],
    ] as const) {
      expect([path, (await at.api('POST', path, body)).status]).toEqual([path, 503])
    }

    expect((await at.api('POST', 'sys/leases/revoke', { lease_id: lease.lease_id, sync: true })).status).toBe(
      204,
    )
    expect(await at.target.account(lease.data.username)).toBe('absent')
    expect((await at.api('POST', 'auth/token/revoke', { token })).status).toBe(204)
    expect(await at.target.account(other.data.username)).toBe('enabled')
    await at.ledger.advance(120)
    await eventually(async () => expect(await at.target.account(other.data.username)).toBe('absent'))

    collector.mood = 200
    await eventually(async () => expect((await at.api('GET', 'database/creds/app')).status).toBe(200))
    expect((await at.api('POST', 'auth/token/create', {})).status).toBe(200)
    await at.api('DELETE', 'sys/audit/dead')
  }, 90_000)
})

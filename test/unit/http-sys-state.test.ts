import { expect, test } from 'vitest'
import { systemStateRoutes } from '../../src/http/sys-state.ts'
import { ask, parts, serving } from '../support/wire.ts'

type Ledger = 'ready' | 'empty' | 'down'

function withLedger(state: { now: Ledger }, use: Parameters<typeof serving<void>>[1]) {
  const system = systemStateRoutes({
    version: '1.2.3',
    clusterName: 'blue',
    clusterId: 'c-1',
    initialized: async () => {
      if (state.now === 'down') throw new Error('connection refused')
      return state.now === 'ready'
    },
  })
  return serving(parts({ system }), use)
}

const NO_TOKEN = { headers: { 'X-Vault-Token': '' } }

test.each([
  ['ready', '', 200],
  ['empty', '', 501],
  ['down', '', 503],
  ['ready', '?activecode=204', 204],
  ['ready', '?standbyok=true&sealedcode=299&uninitcode=299&standbycode=299&perfstandbyok=1&whatever=x', 200],
  ['empty', '?uninitcode=299', 299],
  ['down', '?sealedcode=299', 299],
  ['ready', '?activecode=abc', 400],
  ['ready', '?sealedcode=42', 400],
  ['ready', '?standbyok=perhaps', 400],
] as const)('health of a server whose ledger is %s, asked with "%s", is %i', (now, query, status) =>
  withLedger({ now }, async (at) => {
    const got = await ask(at, 'GET', `/v1/sys/health${query}`, NO_TOKEN)
    const head = await ask(at, 'HEAD', `/v1/sys/health${query}`, NO_TOKEN)

    expect([got.status, head.status, head.text]).toEqual([status, status, ''])
    if (status !== 204) expect(got.headers.get('content-type')).toBe('application/json')
  }),
)

test('health has the dialect’s keys and no envelope', () =>
  withLedger({ now: 'ready' }, async (at) => {
    expect((await ask(at, 'GET', '/v1/sys/health', NO_TOKEN)).json).toEqual({
      initialized: true,
      sealed: false,
      standby: false,
      performance_standby: false,
      replication_performance_mode: 'disabled',
      replication_dr_mode: 'disabled',
      server_time_utc: expect.any(Number),
      version: '1.2.3',
      cluster_name: 'blue',
      cluster_id: 'c-1',
      ledger: 'reachable',
    })
  }))

test('what was once initialised is still said to be so while the ledger is down', () => {
  const state: { now: Ledger } = { now: 'down' }
  return withLedger(state, async (at) => {
    expect((await ask(at, 'GET', '/v1/sys/init', NO_TOKEN)).status).toBe(503)
    state.now = 'empty'
    expect((await ask(at, 'GET', '/v1/sys/init', NO_TOKEN)).json).toEqual({ initialized: false })
    state.now = 'ready'
    expect((await ask(at, 'GET', '/v1/sys/seal-status', NO_TOKEN)).json).toMatchObject({
      initialized: true,
      sealed: false,
    })
    state.now = 'down'
    expect((await ask(at, 'GET', '/v1/sys/init', NO_TOKEN)).json).toEqual({ initialized: true })
    const health = await ask(at, 'GET', '/v1/sys/health', NO_TOKEN)
    expect([health.status, health.json.initialized, health.json.ledger]).toEqual([503, true, 'unreachable'])
  })
})

test('leader says there is none to be', () =>
  withLedger({ now: 'ready' }, async (at) => {
    expect((await ask(at, 'GET', '/v1/sys/leader', NO_TOKEN)).json).toMatchObject({ ha_enabled: false })
  }))

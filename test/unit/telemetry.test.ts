import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { BrokerError, type ErrorCode } from '../../src/lib/errors.ts'
import { showGauges } from '../../src/telemetry/gauges.ts'
import { kept } from '../../src/telemetry/kept.ts'
import { createMetrics, type Metrics } from '../../src/telemetry/metrics.ts'
import { failureOf } from '../../src/telemetry/outcome.ts'
import { remembered } from '../../src/telemetry/remembered.ts'

const fresh = () => createMetrics({ version: '1.2.3' })

/** The lines of one metric, without its help. */
async function linesOf(metrics: Metrics, name: string): Promise<string[]> {
  const { body } = await metrics.text()
  return body.split('\n').filter((line) => line.startsWith(`${name}{`) || line.startsWith(`${name} `))
}

describe('a measured call', () => {
  test.each<[string, unknown, string]>([
    ['refused by a rule', new BrokerError('invalid_request', 'no'), 'refused'],
    [
      'refused for good by the target',
      new BrokerError('invalid_request', 'no', { cause: 'it' }),
      'target_failed',
    ],
    ['without the right', new BrokerError('permission_denied', 'no'), 'refused'],
    ['too often', new BrokerError('too_many_requests', 'no'), 'limited'],
    ['on a target that is down', new BrokerError('target_failed', 'no'), 'target_failed'],
    ['without a ledger', new BrokerError('unavailable', 'no'), 'unavailable'],
    ['in error', new TypeError('x is not a function'), 'internal'],
  ])('%s', async (_, error, outcome) => {
    const metrics = fresh()
    const failing = metrics.issue(async (on) => {
      on('postgres')
      throw error
    })
    await expect(failing).rejects.toBe(error)

    expect(await linesOf(metrics, 'leasehold_lease_issue_duration_seconds_count')).toEqual([
      `leasehold_lease_issue_duration_seconds_count{engine="postgres",outcome="${outcome}"} 1`,
    ])
  })

  test('answers what the work answers, and counts it apart from renewals', async () => {
    const metrics = fresh()

    expect(await metrics.issue(async () => 'made')).toBe('made')
    expect(await linesOf(metrics, 'leasehold_lease_issue_duration_seconds_count')).toEqual([
      'leasehold_lease_issue_duration_seconds_count{engine="unknown",outcome="ok"} 1',
    ])
    expect(await linesOf(metrics, 'leasehold_lease_renew_duration_seconds_count')).toEqual([])
  })

  test('every error there is has one of the outcomes that are documented', () => {
    const codes: Record<ErrorCode, true> = {
      invalid_request: true,
      permission_denied: true,
      not_found: true,
      unsupported_operation: true,
      conflict: true,
      body_too_large: true,
      unsupported_media_type: true,
      too_many_requests: true,
      target_failed: true,
      unavailable: true,
    }
    for (const code of Object.keys(codes) as ErrorCode[]) {
      const outcome = failureOf(new BrokerError(code, ''))
      expect(['refused', 'limited', 'target_failed', 'unavailable']).toContain(outcome)
    }
  })
})

test('a decision keeps its answer and its error', async () => {
  const metrics = fresh()
  const decide = metrics.decision(async (question: 'yes' | 'no' | 'fail') => {
    if (question === 'fail') throw new Error('no ledger')
    return { allowed: question === 'yes', why: question }
  })

  expect(await decide('yes')).toEqual({ allowed: true, why: 'yes' })
  expect(await decide('no')).toEqual({ allowed: false, why: 'no' })
  await expect(decide('fail')).rejects.toThrow('no ledger')
  expect(await linesOf(metrics, 'leasehold_policy_decision_duration_seconds_count')).toEqual([
    'leasehold_policy_decision_duration_seconds_count{outcome="allowed"} 1',
    'leasehold_policy_decision_duration_seconds_count{outcome="denied"} 1',
    'leasehold_policy_decision_duration_seconds_count{outcome="error"} 1',
  ])
})

test.each([
  [200, '2xx', 'ok'],
  [200, '2xx', 'refused'],
  [400, '4xx', 'refused'],
  [400, '4xx', 'failed'],
  [429, '4xx', 'limited'],
  [503, '5xx', 'failed'],
  [999, '5xx', 'failed'],
] as const)('a login answered with %i is %s and %s', async (status, statusClass, outcome) => {
  const metrics = fresh()
  metrics.request({ operation: 'update', mountType: 'jwt', status, tookMs: 12, login: outcome })

  expect(await linesOf(metrics, 'leasehold_logins_total')).toEqual([
    `leasehold_logins_total{method="jwt",outcome="${outcome}"} 1`,
  ])
  expect(await linesOf(metrics, 'leasehold_request_duration_seconds_sum')).toEqual([
    `leasehold_request_duration_seconds_sum{operation="update",mount_type="jwt",status="${statusClass}"} 0.012`,
  ])
})

test('clocks that disagree make no negative lag', async () => {
  const metrics = fresh()
  metrics.queueLag(-5)
  metrics.ending.accessEnded('postgres', -5)

  expect(await linesOf(metrics, 'leasehold_queue_lag_seconds_sum')).toEqual([
    'leasehold_queue_lag_seconds_sum 0',
  ])
  expect(await linesOf(metrics, 'leasehold_lease_end_lag_seconds_sum')).toEqual([
    'leasehold_lease_end_lag_seconds_sum{engine="postgres"} 0',
  ])
})

describe('a gauge', () => {
  test('shows what its source says when somebody looks, and forgets what is gone', async () => {
    const metrics = fresh()
    const lag = new Map([['file', 3]])
    metrics.gauge('leasehold_audit_lag_seconds', () =>
      [...lag].map(([sink, value]) => ({ labels: { sink }, value })),
    )
    const before = await linesOf(metrics, 'leasehold_audit_lag_seconds')
    lag.delete('file')
    lag.set('http', 4)

    expect(before).toEqual(['leasehold_audit_lag_seconds{sink="file"} 3'])
    expect(await linesOf(metrics, 'leasehold_audit_lag_seconds')).toEqual([
      'leasehold_audit_lag_seconds{sink="http"} 4',
    ])
  })

  test('without a source, or with one that fails, shows nothing and hides no other', async () => {
    const metrics = fresh()
    metrics.gauge('leasehold_ledger_reachable', () => Promise.reject(new Error('down')))

    expect(await linesOf(metrics, 'leasehold_ledger_reachable')).toEqual([])
    expect(await linesOf(metrics, 'leasehold_leases_stuck')).toEqual([])
    expect(await linesOf(metrics, 'leasehold_build_info')).toEqual([
      'leasehold_build_info{version="1.2.3"} 1',
    ])
  })

  test('is whole for each of many who look at once', async () => {
    const metrics = fresh()
    metrics.gauge('leasehold_audit_lag_seconds', async () =>
      ['a', 'b', 'c'].map((sink) => ({ labels: { sink }, value: 1 })),
    )
    const looks = await Promise.all(
      Array.from({ length: 20 }, () => linesOf(metrics, 'leasehold_audit_lag_seconds')),
    )

    expect(looks.every((lines) => lines.length === 3)).toBe(true)
  })
})

describe('the gauges of targets', () => {
  const use = { open: 3, idle: 2, waiting: 1 }
  const row = { mount: 'database/', target: 'db', ids: ['old', 'new'], overdueSeconds: 7.5, stuck: 2 }
  const open = (id: string, isOpen: boolean) => ({
    id,
    breaker: { isOpen: () => isOpen },
    engine: { connections: () => [{ lane: 'ending', ...use }] },
  })

  test('come from the ledger and from what is open here', async () => {
    const metrics = fresh()
    showGauges(metrics, {
      leases: async () => [row, { ...row, target: 'elsewhere', ids: ['not open here'] }],
      openTargets: () => [open('new', true), open('stranger', true)],
      ledgerUse: () => use,
    })
    const { body } = await metrics.text()

    const shown = body
      .split('\n')
      .filter((line) => /^leasehold_(ledger|target|lease_overdue|leases_stuck)/.test(line))
    expect(shown).toEqual([
      'leasehold_lease_overdue_seconds{mount="database/",target="db"} 7.5',
      'leasehold_lease_overdue_seconds{mount="database/",target="elsewhere"} 7.5',
      'leasehold_leases_stuck{mount="database/",target="db"} 2',
      'leasehold_leases_stuck{mount="database/",target="elsewhere"} 2',
      'leasehold_ledger_reachable 1',
      'leasehold_ledger_connections{state="open"} 3',
      'leasehold_ledger_connections{state="idle"} 2',
      'leasehold_ledger_connections{state="waiting"} 1',
      'leasehold_target_connections{mount="database/",target="db",lane="ending",state="open"} 3',
      'leasehold_target_connections{mount="database/",target="db",lane="ending",state="idle"} 2',
      'leasehold_target_connections{mount="database/",target="db",lane="ending",state="waiting"} 1',
      'leasehold_target_breaker_open{mount="database/",target="db"} 1',
    ])
  })

  test('say that the ledger is away, and ask it once for all of them', async () => {
    const metrics = fresh()
    let asked = 0
    showGauges(metrics, {
      leases: async () => {
        asked += 1
        throw new Error('the ledger does not answer')
      },
      openTargets: () => [],
      ledgerUse: () => use,
    })

    expect(await linesOf(metrics, 'leasehold_ledger_reachable')).toEqual(['leasehold_ledger_reachable 0'])
    expect(await linesOf(metrics, 'leasehold_leases_stuck')).toEqual([])
    expect(asked).toBe(1)
  })
})

test('an answer is kept for its time, for all who ask meanwhile, and a failure too', async () => {
  let nowMs = 0
  let asked = 0
  const ask = kept(
    100,
    async () => {
      asked += 1
      if (asked === 2) throw new Error('second')
      return asked
    },
    () => nowMs,
  )

  expect(await Promise.all([ask(), ask(), ask()])).toEqual([1, 1, 1])
  nowMs = 99
  expect(await ask()).toBe(1)
  nowMs = 100
  await expect(ask()).rejects.toThrow('second')
  await expect(ask()).rejects.toThrow('second')
  nowMs = 200
  expect(await ask()).toBe(3)
})

test('what is remembered for label values is made once for each combination', () => {
  fc.assert(
    fc.property(fc.array(fc.tuple(fc.string(), fc.string(), fc.string())), (asks) => {
      const made: string[] = []
      const childOf = remembered((values) => {
        const key = JSON.stringify(values)
        made.push(key)
        return key
      })
      for (const values of asks) expect(childOf(...values)).toBe(JSON.stringify(values))
      expect(made).toHaveLength(new Set(made).size)
    }),
  )
})

describe('the JSON form', () => {
  test('has go-metrics’ shape: gauges, counters, and times by their sums', async () => {
    const metrics = fresh()
    metrics.sweep.round('ok', 2)
    metrics.ending.heldFor('postgres', 'revoked', 500)
    metrics.ending.heldFor('postgres', 'revoked', 1_500)
    const json = (await metrics.json()) as Record<string, { Name: string }[]>
    const named = (list: string, name: string) => json[list]?.filter(({ Name }) => Name === name)

    expect(Object.keys(json)).toEqual(['Timestamp', 'Gauges', 'Points', 'Counters', 'Samples'])
    expect(json.Timestamp).toMatch(/^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d \+0000 UTC$/)
    expect(json.Points).toEqual([])
    expect(named('Gauges', 'leasehold_build_info')).toEqual([
      { Name: 'leasehold_build_info', Value: 1, Labels: { version: '1.2.3' } },
    ])
    expect(named('Counters', 'leasehold_sweep_due_targets_total')).toEqual([
      { Name: 'leasehold_sweep_due_targets_total', Count: 2, Sum: 2, Labels: {} },
    ])
    expect(named('Samples', 'leasehold_lease_end_duration_seconds')).toEqual([
      {
        Name: 'leasehold_lease_end_duration_seconds',
        Count: 2,
        Sum: 2,
        Mean: 1,
        Labels: { engine: 'postgres', outcome: 'revoked' },
      },
    ])
  })

  test('holds Node’s own numbers too', async () => {
    const { Gauges } = (await fresh().json()) as { Gauges: { Name: string; Labels: object }[] }

    expect(Gauges.map(({ Name }) => Name)).toEqual(
      expect.arrayContaining(['nodejs_eventloop_lag_seconds', 'process_resident_memory_bytes']),
    )
  })
})

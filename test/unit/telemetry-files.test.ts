import { readdirSync, readFileSync } from 'node:fs'
import { describe, expect, test } from 'vitest'
import { parse } from 'yaml'
import { CATALOGUE, type MetricSpec } from '../../src/telemetry/catalogue.ts'
import { createMetrics } from '../../src/telemetry/metrics.ts'

// The dashboard, the alert rules and the documentation, held to the metrics there are: a name that changes in one
// place and not in the others fails here instead of in an operator's night.

const read = (file: string): string => readFileSync(file, 'utf8')
const filesIn = (folder: string): string[] => readdirSync(folder).map((file) => `${folder}/${file}`)

const SPECS: Record<string, MetricSpec> = CATALOGUE
/** What Prometheus adds to every sample, and a histogram to its buckets. */
const ADDED_LABELS = ['job', 'instance', 'le']

type Rule = { alert: string; expr: string; for: string; labels: object; annotations: Record<string, string> }
type Panel = { title: string; type: string; targets?: { expr: string; legendFormat: string }[] }

const rules = filesIn('deploy/alerts').flatMap((file) =>
  (parse(read(file)) as { groups: { rules: Rule[] }[] }).groups.flatMap((group) => group.rules),
)
const dashboards = filesIn('deploy/grafana').map(
  (file) =>
    JSON.parse(read(file)) as {
      panels: (Panel & { gridPos: { x: number; y: number; w: number; h: number } })[]
    },
)
const panels = dashboards.flatMap((dashboard) => dashboard.panels)

/** A metric that a query reads, by the name that it is registered under. */
function metricOf(name: string): string {
  const histogram = name.replace(/_(bucket|sum|count)$/, '')
  return SPECS[histogram]?.type === 'histogram' ? histogram : name
}

const metricsIn = (query: string): string[] =>
  [...query.matchAll(/\bleasehold_[a-z0-9_]+/g)].map(([name]) => metricOf(name))

const labelsIn = (query: string): string[] => [
  ...[...query.matchAll(/\bby \(([^)]*)\)/g)].flatMap(([, names = '']) => names.split(/,\s*/)),
  ...[...query.matchAll(/[{,]\s*(\w+)=~?"/g)].map(([, name = '']) => name),
]

/** What is wrong with a query, as sentences. */
function problemsOf(query: string, shown: string): string[] {
  const metrics = metricsIn(query)
  const known = metrics.flatMap((name) => SPECS[name]?.labels ?? [])
  const labels = [
    ...labelsIn(query),
    ...[...shown.matchAll(/(?:\$labels\.|\{\{)(\w+)/g)].map(([, name = '']) => name),
  ]
  return [
    ...metrics.filter((name) => !SPECS[name]).map((name) => `no metric ${name}`),
    ...labels
      .filter((label) => ![...known, ...ADDED_LABELS].includes(label))
      .map((label) => `no label ${label} on ${metrics.join(', ')}`),
    ...metrics
      .filter(
        (name) =>
          SPECS[name] &&
          SPECS[name]?.type !== 'gauge' &&
          !new RegExp(`(rate|increase)\\(${name}`).test(query),
      )
      .map((name) => `${name} only grows; ask for its rate`),
    ...(query.split('(').length === query.split(')').length ? [] : ['unbalanced brackets']),
  ]
}

test.each([
  ['sum(leasehold_leases_gone)', '', 'no metric leasehold_leases_gone'],
  ['max by (principal) (leasehold_leases_stuck)', '', 'no label principal on leasehold_leases_stuck'],
  ['leasehold_leases_stuck{lease="x"}', '', 'no label lease on leasehold_leases_stuck'],
  ['leasehold_leases_stuck', '{{ $labels.sink }}', 'no label sink on leasehold_leases_stuck'],
  ['sum(leasehold_logins_total)', '', 'leasehold_logins_total only grows; ask for its rate'],
  ['sum(leasehold_leases_stuck', '', 'unbalanced brackets'],
])('the check finds what is wrong with %s', (query, shown, problem) => {
  expect(problemsOf(query, shown)).toEqual([problem])
})

describe('the alert rules', () => {
  test.each(rules.map((rule) => [rule.alert, rule] as const))('%s asks for what there is', (_, rule) => {
    expect(problemsOf(rule.expr, Object.values(rule.annotations).join(' '))).toEqual([])
    expect(rule.for).toMatch(/^\d+m$/)
    expect(rule.labels).toEqual({ severity: expect.stringMatching(/^(warning|critical)$/) })
    expect(rule.annotations.summary).toBeTruthy()
  })

  test('are all explained, and no other is', () => {
    const [, section = ''] = read('docs/metrics.md').split('## Dashboard and alerts')
    const explained = [...section.matchAll(/`(Leasehold\w+)`/g)].map(([, name]) => name)

    expect(explained.sort()).toEqual(rules.map(({ alert }) => alert).sort())
  })

  test('watch for what an operator must hear of', () => {
    const watched = new Set(rules.flatMap(({ expr }) => metricsIn(expr)))

    expect([...watched]).toEqual(
      expect.arrayContaining([
        'leasehold_leases_stuck',
        'leasehold_lease_overdue_seconds',
        'leasehold_ledger_reachable',
        'leasehold_request_duration_seconds',
        'leasehold_queue_lag_seconds',
        'leasehold_target_breaker_open',
        'leasehold_lease_end_lag_seconds',
        'leasehold_audit_lag_seconds',
      ]),
    )
    expect(rules.some(({ expr }) => /^up\{/.test(expr))).toBe(true)
  })
})

describe('the dashboard', () => {
  const drawn = panels.filter(({ type }) => type !== 'row')

  test.each(drawn.map((panel) => [panel.title, panel] as const))('%s asks for what there is', (_, panel) => {
    expect(panel.targets?.length).toBeGreaterThan(0)
    for (const { expr, legendFormat } of panel.targets ?? []) {
      expect(problemsOf(expr, legendFormat)).toEqual([])
      expect(expr).toContain('job="$job"')
    }
  })

  test('shows every metric of ours', () => {
    const shown = new Set(drawn.flatMap(({ targets = [] }) => targets.flatMap(({ expr }) => metricsIn(expr))))

    expect([...shown].sort()).toEqual(Object.keys(SPECS).sort())
  })

  test('has no two panels in one place', () => {
    for (const { panels: all } of dashboards) {
      const cells = all.flatMap(({ gridPos: { x, y, w, h } }) =>
        Array.from({ length: w * h }, (_, i) => `${x + (i % w)} ${y + Math.floor(i / w)}`),
      )
      expect(new Set(cells).size).toBe(cells.length)
    }
  })
})

describe('docs/metrics.md', () => {
  const rows = [
    ...read('docs/metrics.md').matchAll(/^\| `(leasehold_\w+)` \| (\w+) \| ([^|]*)\| (.+) \|$/gm),
  ].map(([, name = '', type, labels = '', what]) => ({
    name,
    type,
    labels: [...labels.matchAll(/`(\w+)`/g)].map(([, label]) => label),
    what,
  }))

  test('has one row for every metric, with its type and labels', () => {
    expect(Object.fromEntries(rows.map(({ name, type, labels }) => [name, { type, labels }]))).toEqual(
      Object.fromEntries(
        Object.entries(SPECS).map(([name, { type, labels = [] }]) => [name, { type, labels }]),
      ),
    )
    expect(rows).toHaveLength(Object.keys(SPECS).length)
  })

  test('names nothing else', () => {
    const named = metricsIn(read('docs/metrics.md'))
    expect(named.filter((name) => !SPECS[name])).toEqual([])
  })
})

describe('the registry', () => {
  test('has what is in the catalogue, and Node’s own', async () => {
    const { body } = await createMetrics({ version: '1.2.3' }).text()
    const registered = [...body.matchAll(/^# TYPE (\w+) (\w+)$/gm)].map(([, name = '', type]) => [name, type])

    expect(registered.filter(([name]) => name?.startsWith('leasehold_'))).toEqual(
      Object.entries(SPECS).map(([name, { type }]) => [name, type]),
    )
    const others = registered.filter(([name]) => !name?.startsWith('leasehold_'))
    expect(others.every(([name]) => /^(process|nodejs)_/.test(name ?? ''))).toBe(true)
  })

  test.each(Object.entries(SPECS))('%s is named by the rules', (name, { type, help, buckets }) => {
    expect(name).toMatch(/^leasehold_[a-z_]+$/)
    if (type === 'counter') expect(name).toMatch(/_total$/)
    if (type === 'histogram') expect(name).toMatch(/_seconds$/)
    expect(help).toMatch(/\.$/)
    expect(buckets).toEqual(buckets && [...buckets].sort((a, b) => a - b))
  })
})

import { describe, expect, test } from 'vitest'
import { ConfigError, loadConfig } from '../../src/config.ts'
import { readTracing } from '../../src/lib/tracing-settings.ts'

const AT = { OTEL_EXPORTER_OTLP_ENDPOINT: 'http://127.0.0.1:4318' }

function read(env: Record<string, string>) {
  const problems: string[] = []
  const warnings: string[] = []
  const settings = readTracing(env, {
    problem: (text) => void problems.push(text),
    warn: (text) => void warnings.push(text),
  })
  const shown = settings && { endpoint: settings.endpoint.reveal(), timeoutMs: settings.timeoutMs }
  return { settings: shown, problems, warnings }
}

describe('traces are off', () => {
  test.each<Record<string, string>>([
    {},
    { OTEL_SERVICE_NAME: 'broker', OTEL_TRACES_SAMPLER: 'always_on' },
    { OTEL_EXPORTER_OTLP_ENDPOINT: '' },
    { ...AT, OTEL_SDK_DISABLED: 'true' },
    { ...AT, OTEL_SDK_DISABLED: 'True' },
    { ...AT, OTEL_TRACES_EXPORTER: 'none' },
    // Off is off: what would be wrong otherwise stops no start.
    { OTEL_EXPORTER_OTLP_ENDPOINT: 'nonsense', OTEL_SDK_DISABLED: 'true' },
  ])('with %o', (env) => {
    expect(read(env)).toEqual({ settings: undefined, problems: [], warnings: [] })
  })

  test('with an exporter there is not here, and say so', () => {
    const { settings, warnings } = read({ ...AT, OTEL_TRACES_EXPORTER: 'zipkin' })
    expect(settings).toBeUndefined()
    expect(warnings).toEqual(['OTEL_TRACES_EXPORTER does not name otlp, so nothing is traced'])
  })
})

describe('traces go', () => {
  test.each<[Record<string, string>, string]>([
    [AT, 'http://127.0.0.1:4318/v1/traces'],
    [{ OTEL_EXPORTER_OTLP_ENDPOINT: 'https://c.example/otlp/' }, 'https://c.example/otlp/v1/traces'],
    [{ OTEL_EXPORTER_OTLP_TRACES_ENDPOINT: 'http://c.example/as-it-is' }, 'http://c.example/as-it-is'],
    [{ ...AT, OTEL_EXPORTER_OTLP_TRACES_ENDPOINT: 'http://own/x' }, 'http://own/x'],
    [{ ...AT, OTEL_TRACES_EXPORTER: 'otlp', OTEL_SDK_DISABLED: 'false' }, 'http://127.0.0.1:4318/v1/traces'],
  ])('with %o to %s', (env, endpoint) => {
    expect(read(env)).toEqual({ settings: { endpoint, timeoutMs: 3_000 }, problems: [], warnings: [] })
  })

  test('each batch for as long as is set', () => {
    const timeout = (env: Record<string, string>) => read({ ...AT, ...env }).settings?.timeoutMs
    expect(timeout({ OTEL_EXPORTER_OTLP_TIMEOUT: '10000' })).toBe(10_000)
    expect(timeout({ OTEL_EXPORTER_OTLP_TIMEOUT: '10000', OTEL_EXPORTER_OTLP_TRACES_TIMEOUT: '5' })).toBe(5)
  })
})

describe('a bad setting', () => {
  test.each([
    ['OTEL_EXPORTER_OTLP_ENDPOINT', 'collector:4318'],
    ['OTEL_EXPORTER_OTLP_ENDPOINT', 'grpc://collector:4317'],
    ['OTEL_EXPORTER_OTLP_TRACES_ENDPOINT', 'http://user:word@bad host/'],
    ['OTEL_EXPORTER_OTLP_TRACES_ENDPOINT', 'http://word@:99999/'],
    ['OTEL_EXPORTER_OTLP_TIMEOUT', '10s'],
    ['OTEL_EXPORTER_OTLP_TIMEOUT', '0'],
  ])('%s=%s stops the start by name, and without its value', (name, value) => {
    const { settings, problems } = read({ ...AT, [name]: value })
    expect(settings).toBeUndefined()
    expect(problems).toHaveLength(1)
    expect(problems[0]).toMatch(new RegExp(`^${name} must be `))
    expect(problems[0]).not.toContain('word')
  })

  test('that OpenTelemetry would pass over is warned of', () => {
    const { settings, warnings } = read({
      ...AT,
      OTEL_EXPORTER_OTLP_PROTOCOL: 'grpc',
      OTEL_TRACES_SAMPLER: 'xray',
    })
    expect(settings).toBeDefined()
    expect(warnings).toEqual([
      'traces are sent as http/json, whatever OTEL_EXPORTER_OTLP_PROTOCOL says',
      'OTEL_TRACES_SAMPLER names no sampler there is here, so every trace is kept',
    ])
  })
})

describe('loadConfig', () => {
  test('has them in every process that runs, and hides where they go', () => {
    const config = loadConfig('dev', AT, false)
    expect(config.tracing?.endpoint.reveal()).toBe('http://127.0.0.1:4318/v1/traces')
    expect(JSON.stringify(config)).not.toContain('4318')
    expect(loadConfig('dev', {}, false).tracing).toBeUndefined()
  })

  test('refuses a start with a bad one', () => {
    expect(() => loadConfig('dev', { OTEL_EXPORTER_OTLP_ENDPOINT: 'nonsense' }, false)).toThrow(ConfigError)
  })
})

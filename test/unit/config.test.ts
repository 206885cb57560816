import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { ConfigError, loadConfig, type Mode } from '../../src/config.ts'

const KEY = Buffer.alloc(32, 7).toString('base64')
const PRODUCTION = {
  LEASEHOLD_LISTEN: '127.0.0.1:8200',
  LEASEHOLD_LEDGER_URL: 'postgres://lh:word@db/lh',
  LEASEHOLD_MASTER_KEY: KEY,
}

let dir = ''
beforeAll(() => {
  dir = mkdtempSync(join(tmpdir(), 'lh-config-'))
})
afterAll(() => rmSync(dir, { recursive: true }))

function file(name: string, text: string, mode = 0o600): string {
  const path = join(dir, name)
  writeFileSync(path, text)
  chmodSync(path, mode)
  return path
}

function problems(mode: Mode, env: Record<string, string>): readonly string[] {
  try {
    loadConfig(mode, env, false)
  } catch (error) {
    if (error instanceof ConfigError) return error.problems
    throw error
  }
  return []
}

describe('dev', () => {
  test('needs no setting', () => {
    const config = loadConfig('dev', {}, false)
    expect(config).toMatchObject({
      listen: { host: '127.0.0.1', port: 8200 },
      dataDir: resolve('.leasehold'),
      sweepIntervalMs: 5_000,
      log: { level: 'info', format: 'json' },
      warnings: [],
    })
    expect(config.rootToken.reveal()).toBe('root')
    expect(config.queueUrl).toBeUndefined()
    expect(config.masterKey).toBeUndefined()
    expect(Object.isFrozen(config)).toBe(true)
  })

  test.each(['127.0.0.1:0', '127.1.2.3:99', '[::1]:8200', 'localhost:8201'])('listens on %s', (address) => {
    expect(problems('dev', { LEASEHOLD_LISTEN: address })).toEqual([])
  })

  test.each(['0.0.0.0:8200', '[::]:8200', '10.0.0.1:8200', 'example.org:8200', '[::ffff:10.0.0.1]:1'])(
    'refuses %s, which other machines can reach',
    (address) => {
      expect(problems('dev', { LEASEHOLD_LISTEN: address })).toEqual([
        expect.stringContaining('LEASEHOLD_LISTEN must be an address only this machine can reach'),
      ])
    },
  )

  test('may use a queue of its own but not a ledger', () => {
    expect(loadConfig('dev', { LEASEHOLD_QUEUE_URL: 'redis://h' }).queueUrl?.reveal()).toBe('redis://h')
    expect(problems('dev', { LEASEHOLD_LEDGER_URL: 'postgres://h/db' })).toEqual([
      expect.stringContaining('LEASEHOLD_LEDGER_URL is not for `leasehold dev`'),
    ])
  })
})

describe('production', () => {
  test('a server: the queue is on the ledger’s server unless told otherwise', () => {
    const config = loadConfig('server', PRODUCTION)
    expect(config.queueUrl.reveal()).toBe(PRODUCTION.LEASEHOLD_LEDGER_URL)
    expect(config.masterKey.reveal()).toBe(KEY)
    expect(loadConfig('server', { ...PRODUCTION, LEASEHOLD_QUEUE_URL: 'rediss://r' }).queueUrl.reveal()).toBe(
      'rediss://r',
    )
  })

  test('one start names everything that is missing', () => {
    const missing = (mode: Mode) => problems(mode, {}).map((problem) => problem.split(' ')[0])
    expect(missing('server').sort()).toEqual([
      'LEASEHOLD_LEDGER_URL',
      'LEASEHOLD_LISTEN',
      'LEASEHOLD_MASTER_KEY_FILE',
    ])
    expect(missing('worker').sort()).toEqual(['LEASEHOLD_LEDGER_URL', 'LEASEHOLD_MASTER_KEY_FILE'])
  })

  test('a worker leaves the server’s settings alone, so that both share one environment', () => {
    expect(problems('worker', { ...PRODUCTION, LEASEHOLD_LISTEN: 'nonsense' })).toEqual([])
  })

  test.each(['LEASEHOLD_DEV_ROOT_TOKEN_ID', 'LEASEHOLD_DATA_DIR'])('refuses %s', (name) => {
    expect(problems('server', { ...PRODUCTION, [name]: 'root' })).toEqual([
      `${name} is for \`leasehold dev\` only`,
    ])
  })

  test('an open address without TLS is a warning', () => {
    const open = { ...PRODUCTION, LEASEHOLD_LISTEN: '0.0.0.0:8200' }
    expect(loadConfig('server', open).warnings).toEqual([expect.stringContaining('without TLS')])
    const [cert, key] = [file('cert.pem', 'x'), file('key.pem', 'x')]
    const config = loadConfig('server', { ...open, LEASEHOLD_TLS_CERT: cert, LEASEHOLD_TLS_KEY: key })
    expect(config.warnings).toEqual([])
    expect(config.tls).toEqual({ cert, key, clientCa: undefined })
  })

  test('TLS files: half a pair, a missing one', () => {
    expect(
      problems('server', { ...PRODUCTION, LEASEHOLD_TLS_CERT: join(dir, 'gone.pem') }).toSorted(),
    ).toEqual([
      'LEASEHOLD_TLS_CERT and LEASEHOLD_TLS_KEY go together; only one is set',
      'LEASEHOLD_TLS_CERT names a file that cannot be read (ENOENT)',
    ])
  })
})

describe('the master key', () => {
  test('from a file, with a warning when others can read it', () => {
    const { LEASEHOLD_MASTER_KEY: _, ...rest } = PRODUCTION
    const quiet = loadConfig('worker', { ...rest, LEASEHOLD_MASTER_KEY_FILE: file('key', `${KEY}\n`) })
    expect(quiet.masterKey.reveal()).toBe(KEY)
    expect(quiet.warnings).toEqual([])
    const exposed = loadConfig('worker', { ...rest, LEASEHOLD_MASTER_KEY_FILE: file('open', KEY, 0o644) })
    expect(exposed.warnings).toEqual([expect.stringContaining('LEASEHOLD_MASTER_KEY_FILE')])
  })

  test('once only', () => {
    expect(problems('worker', { ...PRODUCTION, LEASEHOLD_MASTER_KEY_FILE: file('key2', KEY) })).toEqual([
      expect.stringContaining('both set'),
    ])
  })

  test.each([KEY.slice(1), `${KEY}A`, 'not base64 at all, but quite long enough for it', 'x'.repeat(44)])(
    'of the wrong form: %s',
    (key) => {
      const found = problems('worker', { ...PRODUCTION, LEASEHOLD_MASTER_KEY: key })
      expect(found).toEqual([expect.stringContaining('LEASEHOLD_MASTER_KEY must be 32 bytes in base64')])
    },
  )
})

describe('names and values', () => {
  test('a typo is refused with what was meant, a stranger is a warning, a Kubernetes link is neither', () => {
    expect(problems('dev', { LEASEHOLD_QEUE_URL: 'redis://h' })).toEqual([
      'LEASEHOLD_QEUE_URL is not a setting; did you mean LEASEHOLD_QUEUE_URL?',
    ])
    const links = { LEASEHOLD_PORT: 'tcp://10.0.0.1:8200', LEASEHOLD_SERVICE_HOST: '10.0.0.1' }
    const config = loadConfig('dev', { ...links, LEASEHOLD_PORT_8200_TCP_ADDR: 'x', LEASEHOLD_FLEET: 'x' })
    expect(config.warnings).toEqual(['LEASEHOLD_FLEET is not a setting of Leasehold and does nothing'])
  })

  test('an empty value counts as not set', () => {
    expect(problems('dev', { LEASEHOLD_LISTEN: '', LEASEHOLD_TLS_CERT: '' })).toEqual([])
  })

  test('no value is ever printed', () => {
    const env: Record<string, string> = { LEASEHOLD_CONFIG: '/s3cret' }
    for (const name of ['LISTEN', 'LEDGER_URL', 'QUEUE_URL', 'MASTER_KEY', 'MASTER_KEY_FILE', 'TLS_CERT'])
      env[`LEASEHOLD_${name}`] = 's3cret word'
    for (const name of ['LOG_LEVEL', 'LOG_FORMAT', 'SWEEP_INTERVAL', 'TLS_KEY', 'TLS_CLIENT_CA'])
      env[`LEASEHOLD_${name}`] = 's3cret word'
    env.LEASEHOLD_DEV_ROOT_TOKEN_ID = 's3cret word'
    for (const mode of ['dev', 'server', 'worker', 'init'] as const) {
      const text = problems(mode, env).join('\n')
      expect(text).toContain('LEASEHOLD_QUEUE_URL')
      expect(text).not.toContain('s3cret')
    }
    expect(JSON.stringify(loadConfig('server', PRODUCTION))).not.toMatch(/word|Bwc/)
  })

  test('durations', () => {
    expect(loadConfig('dev', { LEASEHOLD_SWEEP_INTERVAL: '1m30s' }).sweepIntervalMs).toBe(90_000)
    for (const bad of ['0', '-1s', '1h', 'soon'])
      expect(problems('dev', { LEASEHOLD_SWEEP_INTERVAL: bad })).toHaveLength(1)
  })

  test('a terminal gets pretty logs', () => {
    expect(loadConfig('dev', {}, true).log.format).toBe('pretty')
    expect(loadConfig('dev', { LEASEHOLD_LOG_FORMAT: 'json' }, true).log.format).toBe('json')
  })
})

describe('LEASEHOLD_CONFIG', () => {
  test('gives the same names; the environment wins', () => {
    const path = file(
      'leasehold.env',
      '# ours\nexport LEASEHOLD_LOG_LEVEL="debug"\nLEASEHOLD_LISTEN = [::1]:1\n',
    )
    const config = loadConfig('dev', { LEASEHOLD_CONFIG: path, LEASEHOLD_LOG_LEVEL: 'warn' }, false)
    expect(config).toMatchObject({ listen: { host: '::1', port: 1 }, log: { level: 'warn' } })
  })

  test('a missing or malformed file stops the start', () => {
    expect(problems('dev', { LEASEHOLD_CONFIG: join(dir, 'gone') })).toEqual([
      'LEASEHOLD_CONFIG names a file that cannot be read (ENOENT)',
    ])
    const path = file('bad.env', 'LEASEHOLD_LISTEN=[::1]:1\nhunter2\n')
    expect(problems('dev', { LEASEHOLD_CONFIG: path })).toEqual([
      'LEASEHOLD_CONFIG names a file that is not NAME=value lines: line 2 is not NAME=value',
    ])
  })
})

import { existsSync, readFileSync } from 'node:fs'
import pg from 'pg'
import { describe, expect, inject, test } from 'vitest'
import { parse } from 'yaml'
import { loadConfig, type Mode } from '../../src/config.ts'

// What can be known of the deployment files without a container. A client of Compose reads docker-compose.yml when it
// is changed; here is what it cannot know: that the files fit the program and each other.

const ROOT = new URL('../../', import.meta.url)
const read = (file: string): string => readFileSync(new URL(file, ROOT), 'utf8')

type Service = {
  image: string
  command?: string[]
  environment?: Record<string, string>
  depends_on?: Record<string, { condition: string }>
  networks: string[]
  ports?: string[]
  volumes?: string[]
  secrets?: { source: string }[]
  healthcheck?: { test: string[] }
  deploy?: { replicas: number }
}
type Compose = {
  services: Record<string, Service>
  networks: Record<string, { internal?: boolean }>
  volumes: Record<string, unknown>
  secrets: Record<string, { environment: string }>
}

const compose: Compose = parse(read('docker-compose.yml'), { merge: true })
const service = (name: string): Service => compose.services[name] as Service
const ours = Object.entries(compose.services).filter(([, { image }]) => image.startsWith('leasehold:'))
const dockerfile = read('Dockerfile')

/** With `${NAME:?…}` filled in, as Compose does. */
const filled = (value: string): string => value.replace(/\$\{\w+:\?[^}]*\}/g, 'secret')

describe('docker-compose.yml', () => {
  test('runs two servers and two workers of one image behind one address', () => {
    const commands = ours.map(([, { command, deploy }]) => [command?.[0], deploy?.replicas ?? 1])
    const published = Object.entries(compose.services).filter(([, { ports }]) => ports)

    expect(commands).toEqual([
      ['init', 1],
      ['server', 1],
      ['server', 1],
      ['worker', 2],
    ])
    expect(new Set(ours.map(([, { image }]) => image)).size).toBe(1)
    expect(published.map(([name, { ports }]) => [name, ports])).toEqual([
      ['proxy', ['127.0.0.1:8200:8200']],
      // Not there unless its profile is asked for.
      ['k3s', ['127.0.0.1:6443:6443']],
    ])
    expect(compose.services.k3s).toMatchObject({ profiles: ['kubernetes'] })
  })

  test.each(ours)('%s has settings that the program takes', (_, { command, environment = {} }) => {
    const settings = Object.fromEntries(
      Object.entries(environment).map(([name, value]) => [name, filled(value)]),
    )
    // The secret exists in the container only.
    const key = Buffer.alloc(32).toString('base64')
    const { LEASEHOLD_MASTER_KEY_FILE: file, ...rest } = settings
    const config = loadConfig(command?.[0] as Mode, { ...rest, LEASEHOLD_MASTER_KEY: key })

    expect(file).toBe('/run/secrets/master_key')
    expect(config.warnings.filter((warning) => !warning.includes('without TLS'))).toEqual([])
  })

  test.each(Object.entries(compose.services))('%s has a pinned image and refers to what exists', (_, of) => {
    expect(of.image).toMatch(/:v?\d+\.\d+/)
    for (const name of Object.keys(of.depends_on ?? {})) expect(compose.services).toHaveProperty(name)
    for (const name of of.networks) expect(compose.networks).toHaveProperty(name)
    for (const { source } of of.secrets ?? []) expect(compose.secrets).toHaveProperty(source)
    for (const [source = ''] of (of.volumes ?? []).map((volume) => volume.split(':'))) {
      if (source.startsWith('.')) expect(existsSync(new URL(source, ROOT))).toBe(true)
      else expect(compose.volumes).toHaveProperty(source)
    }
  })

  test('starts the processes when the ledger is set up and what they need is healthy', () => {
    for (const [name, { depends_on: on }] of ours) {
      expect(on?.ledger).toEqual({ condition: 'service_healthy' })
      expect(on?.queue).toEqual({ condition: 'service_healthy' })
      if (name !== 'init') expect(on?.init).toEqual({ condition: 'service_completed_successfully' })
    }
    for (const [, { command, healthcheck }] of ours) {
      if (command?.[0] === 'server') expect(healthcheck?.test.join(' ')).toContain(':8200/v1/sys/health')
    }
  })

  test('runs a Redis that drops no jobs and wakes in time', () => {
    const command = service('queue').command?.join(' ')
    expect(command).toBe('redis-server --maxmemory-policy noeviction --appendonly yes --hz 100')
  })

  test('holds no secret', () => {
    const secret = /(PASSWORD|KEY|TOKEN|SECRET)$/
    const values = Object.values(compose.services).flatMap(({ environment = {} }) =>
      Object.entries(environment),
    )
    for (const [name, value] of values) {
      if (secret.test(name)) expect(value).toMatch(/^\$\{\w+:\?/)
      expect(value.replace(/\$\{[^}]*\}/g, '')).not.toMatch(/:\/\/[^@/]*:[^@/]+@/)
    }
    for (const { environment } of Object.values(compose.secrets)) expect(environment).toMatch(/^LEASEHOLD_/)
    expect(read('.dockerignore').split('\n')).toContain('.env')
    expect(read('.gitignore').split('\n')).toContain('.env')
  })
})

describe('Dockerfile', () => {
  test('copies what exists, builds, leaves development packages behind, and is not root', () => {
    const stages = dockerfile.split(/^FROM /m).slice(1)
    const [build = '', image = ''] = stages

    expect(stages).toHaveLength(2)
    for (const stage of stages) expect(stage).toMatch(/^node:\d+\.\d+\.\d+-\w+-slim\b/)
    for (const [, files = ''] of build.matchAll(/^COPY (.+) \S+$/gm)) {
      for (const file of files.split(' ')) expect(existsSync(new URL(file, ROOT))).toBe(true)
    }
    expect(build).toMatch(/npm ci\b[\s\S]*npm run build && npm prune --omit=dev/)
    expect(image).toMatch(/^USER node$/m)
    expect(image).toMatch(/^ENTRYPOINT \["leasehold"\]$/m)
    expect(image).toContain(JSON.parse(read('package.json')).bin.leasehold)
  })

  test('has a Node that package.json allows', () => {
    const [, major, minor] = /^FROM node:(\d+)\.(\d+)/m.exec(dockerfile) ?? []
    const [, least, leastMinor] = />=(\d+)\.(\d+)/.exec(JSON.parse(read('package.json')).engines.node) ?? []
    expect(Number(major) * 1_000 + Number(minor)).toBeGreaterThanOrEqual(
      Number(least) * 1_000 + Number(leastMinor),
    )
    // Odd releases of Node are never supported for long.
    expect(Number(major) % 2).toBe(0)
  })
})

test('deploy/Caddyfile passes requests to every server, and none of them twice', () => {
  const file = read('deploy/Caddyfile')
  const servers = ours.filter(([, { command }]) => command?.[0] === 'server').map(([name]) => `${name}:8200`)

  expect(file).toContain(`reverse_proxy ${servers.join(' ')} {`)
  expect(file).toContain('health_uri /v1/sys/health')
  expect(file).toMatch(/lb_retry_match \{\s+method NONE\s+\}/)
})

test('deploy/target.sql makes a database that its admin may lease users on', async () => {
  const client = new pg.Client({ connectionString: inject('postgresUrl') })
  await client.connect()
  try {
    // psql's own commands, which the server does not know. All of it is undone in the end.
    const sql = read('deploy/target.sql')
      .replace(/^\\getenv .*$/m, '')
      .replaceAll(":'admin_password'", `'${'p'.repeat(16)}'`)
    await client.query('begin')
    await client.query('create schema target_test; set local search_path to target_test')
    await client.query(sql)
    await client.query('grant usage on schema target_test to shop_readonly; set local role leasehold_admin')
    await client.query('create role v_test; grant shop_readonly to v_test')
    await client.query('set local role none; set local role v_test')
    const { rows } = await client.query('select name from customer order by id limit 1')

    expect(rows).toEqual([{ name: 'Ada' }])
  } finally {
    await client.query('rollback')
    await client.end()
  }
})

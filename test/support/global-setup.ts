import type { TestProject } from 'vitest/node'
import { createLedger } from './ledger.ts'
import { startTestMariadb } from './mariadb.ts'
import { startTestPostgres } from './postgres.ts'
import { givenPart } from './provision.ts'
import { startRedis } from './redis.ts'
import { clearTestRoot, openTestRoot } from './test-root.ts'

declare module 'vitest' {
  interface ProvidedContext {
    /** The superuser's URL on the run's shared PostgreSQL. */
    postgresUrl: string
    /** A ledger there as tests begin with it, to be copied. */
    ledgerDatabase: string
    /** The run's shared Redis. */
    redisUrl: string
    /** The superuser's URL on the run's shared MariaDB. */
    mariadbUrl: string
  }
}

/** One PostgreSQL, one Redis and one MariaDB for the whole run. Whatever still runs at its end is ended, and fails the run. */
export default async function setup(project: TestProject): Promise<() => Promise<void>> {
  const root = openTestRoot()
  // vitest leaves at once on a signal; so must they.
  const clear = () => clearTestRoot(root)
  process.once('exit', clear)
  const givenPostgres = process.env.TEST_POSTGRES_URL
  const givenRedis = givenPart('redis')
  const givenMariadb = givenPart('mariadb')
  const [postgres, redis, mariadb] = await Promise.all([
    givenPostgres ? undefined : startTestPostgres({ settings: { max_connections: '400' } }),
    givenRedis ? undefined : startRedis(),
    givenMariadb ? undefined : startTestMariadb(),
  ])
  const postgresUrl = givenPostgres ?? postgres?.url() ?? ''
  const ledger = await createLedger(postgresUrl)
  project.provide('postgresUrl', postgresUrl)
  project.provide('ledgerDatabase', ledger.name)
  project.provide('redisUrl', givenRedis ?? redis?.url ?? '')
  project.provide('mariadbUrl', givenMariadb ?? mariadb?.url ?? '')
  return async () => {
    await mariadb?.remove()
    await redis?.stop()
    await ledger.drop()
    await postgres?.remove()
    process.off('exit', clear)
    const left = clear()
    if (left.length === 0) return
    // vitest only prints what a tear-down throws.
    process.exitCode = 1
    console.error(`tests left servers running:\n${left.join('\n')}`)
  }
}

import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import type { Engine, Spec } from '../../src/engine/engine.ts'
import { postgres } from '../../src/engine/postgres/postgres.ts'
import { sensitive } from '../../src/lib/sensitive.ts'
import { MAJORS, startTestPostgres, type TestPostgres } from '../support/postgres.ts'
import { endingOf, lease, openPostgresTarget, type PostgresTarget } from '../support/postgres-target.ts'

const OWNED = /neither renew nor end what .*: from PostgreSQL 16 on a role is its maker's alone/
const MIXED = /works by functions and .* without them/
const isOld = (major: number): boolean => major < 16

/** Two admin accounts of one target, as they are to take turns: what each makes, the other has to renew and end. */
describe.each(MAJORS)('two admin accounts on PostgreSQL %s', (major) => {
  let server: TestPostgres
  let target: PostgresTarget
  beforeAll(async () => {
    server = await startTestPostgres({ major })
  })
  afterAll(() => server?.remove())
  const opened: Engine[] = []
  afterEach(async () => {
    await Promise.all(opened.splice(0).map((engine) => engine.close()))
    await target?.close()
  })

  const other = () => `${target.admin.username}_two`
  const openOther = (): Engine => {
    const spec: Spec = { ...target.spec, username: other() }
    const credentials = { ...target.credentials, username: other(), password: sensitive('two') }
    const engine = postgres.open(spec, async () => credentials)
    opened.push(engine)
    return engine
  }
  /** Whether the second can end what the first makes, tried for real. */
  const endsOthers = async (): Promise<boolean> => {
    const { account } = await lease(target.open(), target)
    for (const step of ['disable', 'disconnect', 'remove', 'verify'] as const) {
      const [result] = await openOther().end(step, [endingOf(account, target.role)])
      if (!result?.ok) return false
    }
    return true
  }
  const plain = `LOGIN CREATEROLE PASSWORD 'two'`

  test('that make roles on their own', async () => {
    target = await openPostgresTarget(server, 'CREATEROLE')
    await target.sql(`CREATE ROLE ${other()} ${plain}; GRANT pg_signal_backend TO ${other()}`)

    const obstacles = await openOther().sharing?.(target.admin.username)

    expect(obstacles).toEqual(
      isOld(major) ? [] : [expect.stringMatching(OWNED), expect.stringMatching(OWNED)],
    )
    expect(await endsOthers()).toBe(isOld(major))
  })

  test('of which one has the rights of the other, which helps in one direction alone', async () => {
    target = await openPostgresTarget(server, 'CREATEROLE')
    await target.sql(
      `CREATE ROLE ${other()} ${plain}; GRANT pg_signal_backend, ${target.admin.username} TO ${other()}`,
    )

    const obstacles = await openOther().sharing?.(target.admin.username)

    const missing = `"${target.admin.username}" could neither renew nor end what "${other()}" makes`
    expect(obstacles).toEqual(isOld(major) ? [] : [expect.stringContaining(missing)])
    expect(await endsOthers()).toBe(true)
  })

  test('that are both superusers', async () => {
    target = await openPostgresTarget(server, 'superuser')
    await target.sql(`CREATE ROLE ${other()} SUPERUSER LOGIN PASSWORD 'two'`)

    expect(await openOther().sharing?.(target.admin.username)).toEqual([])
    expect(await endsOthers()).toBe(true)
    await target.sql(`DROP ROLE ${other()}`)
  })

  test('that both have the functions, or one of them alone', async () => {
    target = await openPostgresTarget(server, 'definer functions')
    await target.sql(`CREATE ROLE ${other()} ${plain}`)
    expect(await openOther().sharing?.(target.admin.username)).toEqual(
      expect.arrayContaining([expect.stringMatching(MIXED)]),
    )

    const ask = { target: target.spec, roles: [target.role], maxLeaseSeconds: 86_400, logins: [other()] }
    for (const { database, sql } of postgres.enrolmentSql(ask)) await target.sql(sql, database)

    expect(await openOther().sharing?.(target.admin.username)).toEqual([])
    expect(await endsOthers()).toBe(true)
  })

  test('of which there is only one', async () => {
    target = await openPostgresTarget(server, 'CREATEROLE')
    await target.sql(`CREATE ROLE ${other()} ${plain}`)

    expect(await openOther().sharing?.('nobody_here')).toEqual(['the target has no account "nobody_here"'])
  })
})

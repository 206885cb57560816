import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { type Account, END_STEPS, type Engine, type Spec } from '../../src/engine/engine.ts'
import { postgres } from '../../src/engine/postgres/postgres.ts'
import { MAJORS, startTestPostgres, type TestPostgres } from '../support/postgres.ts'
import {
  endingOf,
  lease,
  newAccount,
  openPostgresTarget,
  type PostgresTarget,
  ticketFor,
} from '../support/postgres-target.ts'

/** So many accounts a creator is given before there is another. */
const ROOM = 150

/** An admin account with CREATEROLE makes accounts as one of several roles, from 16 on, where each that it makes slows it. */
describe.each(MAJORS.filter((major) => major >= 16))('creator roles on PostgreSQL %s', (major) => {
  let server: TestPostgres
  let target: PostgresTarget
  let engine: Engine

  beforeAll(async () => {
    server = await startTestPostgres({ major, settings: { max_prepared_transactions: '10' } })
  })
  afterAll(() => server?.remove())
  beforeEach(async () => {
    target = await openPostgresTarget(server, 'CREATEROLE')
    engine = target.open()
  })
  afterEach(() => target?.close())

  const admin = () => target.admin.username
  const creatorName = (number: number) => `leasehold_creator_${number}_${admin()}`
  /** Whose an account is: who may alter and drop it. */
  const makersOf = async ({ name }: Account): Promise<string[]> =>
    (
      await target.sql(
        `SELECT member::regrole::text AS maker FROM pg_auth_members WHERE roleid = '"${name}"'::regrole AND admin_option`,
      )
    ).map(({ maker }) => maker)
  const end = async (accounts: readonly Account[], by: Engine = engine) => {
    const evidence = accounts.map(() => ({}) as Record<string, unknown>)
    for (const step of END_STEPS) {
      const results = await by.end(
        step,
        accounts.map((account) => endingOf(account, target.role)),
      )
      for (const [i, result] of results.entries()) {
        if (!result.ok) throw result.error
        Object.assign(evidence[i] as object, result.value)
      }
    }
    return evidence
  }
  const extend = async (account: Account, by: Engine = engine) =>
    (await by.extend([{ account, role: target.role, lifetimeMs: 3_600_000 }]))[0]
  /** As if so many accounts of one creator were alive. */
  const fill = (creator: string) =>
    target.sql(`DO $$ BEGIN FOR i IN 1 .. ${ROOM} LOOP
      EXECUTE format('CREATE ROLE filler_%s_${creator}', i);
      EXECUTE format('GRANT filler_%s_${creator} TO ${creator} WITH ADMIN TRUE, INHERIT FALSE, SET FALSE', i);
    END LOOP; END $$`)

  test('an account is made by a role that nobody but the admin account can become', async () => {
    const { account } = await lease(engine, target)

    expect(await makersOf(account)).toEqual([creatorName(1)])
    const [creator] = await target.sql(
      `SELECT rolcanlogin, rolcreaterole, rolsuper, rolcreatedb, rolreplication, rolbypassrls,
              ARRAY(SELECT DISTINCT member::regrole::text FROM pg_auth_members WHERE roleid = r.oid) AS members
       FROM pg_roles r WHERE rolname = '${creatorName(1)}'`,
    )
    expect(creator).toEqual({
      rolcanlogin: false,
      rolcreaterole: true,
      rolsuper: false,
      rolcreatedb: false,
      rolreplication: false,
      rolbypassrls: false,
      members: [admin()],
    })
    expect(await end([account])).toMatchObject([{ memberships_revoked: [target.readers], role_absent: true }])
  })

  test('the next creator is made when one has enough, and accounts of both and of none end in one batch', async () => {
    const before = await lease(target.open({ fields: { creator_roles: 0 } }), target)
    const first = await lease(engine, target)
    await fill(creatorName(1))
    const second = await lease(target.open(), target)
    const all = [before, first, second].map(({ account }) => account)
    const makers = [admin(), creatorName(1), creatorName(2)]
    for (const [i, account] of all.entries()) expect(await makersOf(account)).toEqual([makers[i]])

    for (const account of all) expect(await extend(account)).toMatchObject({ ok: true })
    const sessions = await Promise.all([before, first, second].map(({ secret }) => target.logIn(secret)))
    for (const session of sessions) await session.query('CREATE TABLE IF NOT EXISTS shop.left_behind ()')
    const evidence = await end(all)
    for (const each of evidence) {
      expect(each).toMatchObject({
        memberships_revoked: [target.readers],
        sessions_ended: 1,
        account: 'dropped',
        role_absent: true,
      })
    }
    const [owned] = await target.sql(
      `SELECT relowner::regrole::text AS owner FROM pg_class WHERE relname = 'left_behind'`,
    )
    expect(owned).toEqual({ owner: `leasehold_owner_${admin()}` })
  })

  test('without pg_signal_backend, and with a transaction it prepared, an account of a creator ends too', async () => {
    await target.sql(`REVOKE pg_signal_backend FROM ${admin()}`)
    const { account, secret } = await lease(engine, target)
    const guest = await target.logIn(secret)
    await guest.query(`BEGIN; SELECT FROM shop.orders; PREPARE TRANSACTION 'of_a_creator'`)

    expect(await end([account])).toMatchObject([
      { sessions_ended: 1, prepared_transactions_rolled_back: 1, role_absent: true },
    ])
  })

  test('whoever steals a creator has nothing that the admin account has not', async () => {
    await target.sql('CREATE ROLE bystander LOGIN; CREATE TABLE shop.secret ()')
    const { account } = await lease(engine, target)
    const readersOfTable = await target.sql(
      `SELECT has_table_privilege('${creatorName(1)}', 'shop.orders', 'SELECT') AS reads,
              pg_has_role('${creatorName(1)}', '${target.readers}', 'USAGE') AS is_group,
              pg_has_role('${creatorName(1)}', '${target.readers}', 'SET') AS becomes_group`,
    )
    expect(readersOfTable).toEqual([{ reads: false, is_group: false, becomes_group: false }])
    const refused = [
      `ALTER ROLE ${admin()} PASSWORD 'stolen'`,
      `GRANT ${admin()} TO ${creatorName(1)}`,
      `ALTER ROLE bystander PASSWORD 'stolen'`,
      `GRANT pg_read_all_data TO ${creatorName(1)}`,
      `GRANT pg_signal_backend TO ${creatorName(1)}`,
      'CREATE ROLE strong SUPERUSER',
      'CREATE ROLE strong REPLICATION',
      `ALTER ROLE ${creatorName(1)} BYPASSRLS`,
      'TABLE shop.secret',
      `ALTER TABLE shop.orders OWNER TO ${creatorName(1)}`,
    ]
    for (const text of refused) {
      await expect(
        target.sql(`BEGIN; SET LOCAL ROLE ${creatorName(1)}; ${text}; COMMIT`),
        text,
      ).rejects.toMatchObject({ code: '42501' })
      await target.sql('ROLLBACK')
    }
    // What it may give and change, the admin account may too.
    const more = await target.sql(
      `SELECT roleid::regrole::text AS role FROM pg_auth_members WHERE member = '${creatorName(1)}'::regrole
       AND NOT pg_has_role('${admin()}', roleid, 'MEMBER WITH ADMIN OPTION')`,
    )
    expect(more).toEqual([])
    await end([account])
    await target.sql('DROP ROLE bystander; DROP TABLE shop.secret')
  })

  test('a role of a creator’s name that somebody else is in makes nothing for us', async () => {
    // By another admin: whoever makes a role is in it for good.
    await target.sql(`CREATE ROLE rival CREATEROLE; SET ROLE rival;
      CREATE ROLE ${creatorName(1)} NOLOGIN CREATEROLE; GRANT ${creatorName(1)} TO ${admin()} WITH ADMIN TRUE; RESET ROLE`)

    const { account } = await lease(engine, target)
    expect(await makersOf(account)).toEqual([creatorName(2)])
    const alone = await lease(target.open({ fields: { creator_roles: 1 } }), target)
    expect(await makersOf(alone.account)).toEqual([admin()])
    await end([account, alone.account])
    await target.sql(`DROP ROLE ${creatorName(1)}, rival`)
  })

  test('accounts of a creator that was renamed are extended and end, and another makes the next', async () => {
    const { account } = await lease(engine, target)
    const renamed = `renamed_${admin()}`
    await target.sql(`ALTER ROLE ${creatorName(1)} RENAME TO ${renamed}`)
    const fresh = target.open()

    expect(await extend(account, fresh)).toMatchObject({ ok: true })
    const next = await lease(fresh, target)
    expect(await makersOf(next.account)).toEqual([creatorName(1)])
    expect(await end([account, next.account], fresh)).toMatchObject([
      { memberships_revoked: [target.readers] },
      { role_absent: true },
    ])
  })

  test('a session that still is a creator that somebody dropped goes on as the admin account', async () => {
    const { account } = await lease(engine, target)
    await end([account])
    await target.sql(`DROP ROLE ${creatorName(1)}`)

    const next = await lease(engine, target)
    expect(await makersOf(next.account)).toEqual([admin()])
    const other = await lease(engine, target)
    expect(await makersOf(other.account)).toEqual([creatorName(1)])
    await end([next.account, other.account])
  })

  test('a creator cannot be dropped under its accounts; where it was forced, they end once given to the admin account', async () => {
    const { account } = await lease(engine, target)
    await expect(target.sql(`DROP ROLE ${creatorName(1)}`)).rejects.toMatchObject({ code: '2BP01' })
    await target.sql(`DROP OWNED BY ${creatorName(1)}; DROP ROLE ${creatorName(1)}`)
    const fresh = target.open()

    const [result] = await fresh.end('disable', [endingOf(account, target.role)])
    expect(result).toMatchObject({ ok: false, error: { kind: 'denied' } })
    await target.sql(`GRANT "${account.name}" TO ${admin()} WITH ADMIN TRUE`)
    expect(await end([account], fresh)).toMatchObject([{ role_absent: true }])
  })

  test('accounts of a creator that we may not become any more are ended by the admin account itself', async () => {
    const { account, secret } = await lease(engine, target)
    const guest = await target.logIn(secret)
    await target.sql(`REVOKE SET OPTION FOR ${creatorName(1)} FROM ${admin()} GRANTED BY ${admin()}`)
    const fresh = target.open()

    expect(await extend(account, fresh)).toMatchObject({ ok: true })
    expect(await end([account], fresh)).toMatchObject([{ sessions_ended: 1, role_absent: true }])
    await expect(guest.query('SELECT 1')).rejects.toThrow()
  })

  test('a group or an owner that reaches a creator is refused', async () => {
    const { account } = await lease(engine, target)
    const strong = `strong_${admin()}`
    await target.sql(`CREATE ROLE ${strong}; GRANT ${creatorName(1)} TO ${strong}`)
    const fresh = target.open()

    const role = postgres.checkRole({ member_of: [strong] }).spec
    const [result] = await fresh.create([ticketFor(newAccount(target), role)])
    expect(String(result?.ok === false && result.error.message)).toContain(
      'has the rights of the admin account',
    )
    const probe = await target.open({ fields: { owner: strong } }).probe()
    expect(probe.missing).toEqual([expect.stringContaining('has the rights of the admin account')])
    await end([account], fresh)
    await target.sql(`DROP ROLE ${strong}`)
  })

  test('settings of the admin account give a creator no right of what it makes', async () => {
    await target.sql(`ALTER ROLE ${admin()} SET createrole_self_grant = 'set, inherit'`)
    const { account } = await lease(engine, target)
    const held = await target.sql(
      `SELECT inherit_option, set_option FROM pg_auth_members WHERE roleid = '"${account.name}"'::regrole`,
    )
    expect(held).toEqual([{ inherit_option: false, set_option: false }])
    await end([account])
  })

  test('what the admin account itself gave to an account of a creator is taken too', async () => {
    const extra = `extra_${admin()}`
    await target.sql(`CREATE ROLE ${extra}; GRANT ${extra} TO ${admin()} WITH ADMIN TRUE`)
    const role: Spec = postgres.checkRole({
      member_of: [target.readers],
      renew_statements: [`GRANT ${extra} TO "{{name}}"`],
    }).spec
    const { account } = await lease(engine, target, role)
    expect((await engine.extend([{ account, role, lifetimeMs: 60_000 }]))[0]).toMatchObject({ ok: true })
    const [evidence] = await end([account])
    expect(evidence?.not_taken).toBeUndefined()
    expect(evidence?.memberships_revoked).toEqual(expect.arrayContaining([extra, target.readers]))
    await target.sql(`DROP ROLE ${extra}`)
  })

  test('accounts of creators are extended and ended when there are functions, and the creators can then go', async () => {
    const [first, second] = [await lease(engine, target), await lease(engine, target)]
    for (const { sql } of postgres.enrolmentSql({
      target: target.spec,
      roles: [target.role],
      maxLeaseSeconds: 3_600,
    })) {
      await target.sql(sql)
    }
    const fresh = target.open()

    expect(await extend(first.account, fresh)).toMatchObject({ ok: true })
    expect((await fresh.probe()).warnings).toContainEqual(
      expect.stringContaining(`DROP ROLE "${creatorName(1)}"`),
    )
    await target.sql(`ALTER ROLE ${admin()} NOCREATEROLE`)
    const again = target.open()
    expect(await end([first.account, second.account], again)).toMatchObject([
      { memberships_revoked: expect.anything() },
      { role_absent: true },
    ])
    await target.sql(`DROP ROLE ${creatorName(1)}`)
    expect((await again.probe()).warnings).not.toContainEqual(expect.stringContaining('can still become'))
  })

  test('the probe says when no creator can be made, and leaves none behind', async () => {
    expect((await engine.probe()).warnings).not.toContainEqual(expect.stringContaining('creator'))
    expect(
      await target.sql(`SELECT FROM pg_roles WHERE rolname LIKE 'leasehold_creator_%${admin()}'`),
    ).toEqual([])
  })
})

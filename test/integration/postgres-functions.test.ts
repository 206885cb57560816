import { createHash } from 'node:crypto'
import pg from 'pg'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { type Account, END_STEPS, type Engine, type Spec } from '../../src/engine/engine.ts'
import { postgres } from '../../src/engine/postgres/postgres.ts'
import { scramVerifier } from '../../src/engine/postgres/scram.ts'
import { newId } from '../../src/lib/ids.ts'
import { createDatabase } from '../support/database.ts'
import { MAJORS, startTestPostgres, type TestPostgres } from '../support/postgres.ts'
import {
  endingOf,
  lease,
  newAccount,
  openPostgresTarget,
  type PostgresTarget,
  ticketFor,
} from '../support/postgres-target.ts'

const DAY_MS = 86_400_000

/** Servers where a superuser installed functions, and the admin account has no right but to call them. */
describe.each(MAJORS)('functions on PostgreSQL %s', (major) => {
  let server: TestPostgres
  let target: PostgresTarget
  let engine: Engine

  beforeAll(async () => {
    server = await startTestPostgres({ major, settings: { max_prepared_transactions: '10' } })
  })
  afterAll(() => server?.remove())
  beforeEach(async () => {
    target = await openPostgresTarget(server, 'definer functions')
    engine = target.open()
  })
  afterEach(() => target?.close())

  const end = async (account: Account, role: Spec = target.role, by: Engine = engine) => {
    const evidence: Record<string, unknown> = {}
    for (const step of END_STEPS) {
      const [result] = await by.end(step, [endingOf(account, role)])
      if (!result?.ok) throw result?.error ?? new Error('no answer')
      Object.assign(evidence, result.value)
    }
    return evidence
  }
  const problemOf = async (results: Promise<readonly { ok: boolean; error?: Error }[]>) =>
    (await results)[0]?.error?.message ?? 'none'
  const roleRow = async (name: string) =>
    (await target.sql(`SELECT rolcanlogin, rolvaliduntil FROM pg_authid WHERE rolname = '${name}'`))[0]

  test('row 3: what an account owns anywhere or was granted by anybody does not keep it', async () => {
    const other = await createDatabase(server.url())
    await target.sql(`CREATE SCHEMA desk; GRANT ALL ON SCHEMA desk TO ${target.readers}`, other.name)
    await target.installFunctions({ databases: [other.name] })
    const { account, secret } = await lease(engine, target)
    for (const [database, schema] of [
      [target.database, 'shop'],
      [other.name, 'desk'],
    ] as const) {
      const guest = await target.logIn(secret, database)
      await guest.query(`CREATE TABLE ${schema}.mine (id int); CREATE VIEW ${schema}.seen AS SELECT * FROM ${schema}.mine;
        CREATE FUNCTION ${schema}.door() RETURNS int LANGUAGE sql SECURITY DEFINER AS 'SELECT 1';
        ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO PUBLIC`)
      await guest.end()
    }
    // By the owner, and by somebody who may give it on; to a neighbour too, who keeps it.
    await target.sql(`CREATE ROLE giver; CREATE ROLE neighbour; CREATE FUNCTION shop.f("A b" int) RETURNS int LANGUAGE sql AS 'SELECT 1';
      CREATE TYPE shop."a type" AS (a int); GRANT INSERT ON shop.orders TO "${account.name}";
      GRANT SELECT, UPDATE ON shop.orders TO giver WITH GRANT OPTION; GRANT USAGE ON SCHEMA shop TO giver WITH GRANT OPTION;
      GRANT EXECUTE ON FUNCTION shop.f(int) TO giver WITH GRANT OPTION; GRANT USAGE ON TYPE shop."a type" TO giver WITH GRANT OPTION;
      SET ROLE giver; GRANT SELECT ON shop.orders TO "${account.name}", neighbour; GRANT UPDATE (note) ON shop.orders TO "${account.name}";
      GRANT USAGE ON SCHEMA shop TO "${account.name}"; GRANT EXECUTE ON FUNCTION shop.f(int) TO "${account.name}";
      GRANT USAGE ON TYPE shop."a type" TO "${account.name}"; RESET ROLE`)
    const evidence = await end(account)
    expect(evidence).toMatchObject({ role_absent: true, definer_functions_disarmed: [expect.any(String)] })
    const owned = `SELECT relname, relowner::regrole::text AS owner FROM pg_class WHERE relname IN ('mine', 'seen') ORDER BY 1`
    const owner = `leasehold_owner_${target.admin.username}`
    const both = [
      { relname: 'mine', owner },
      { relname: 'seen', owner },
    ]
    expect(await target.sql(owned)).toEqual(both)
    expect(await target.sql(owned, other.name)).toEqual(both)
    const doors = `SELECT prosecdef FROM pg_proc WHERE proname = 'door'`
    expect([...(await target.sql(doors)), ...(await target.sql(doors, other.name))]).toEqual([
      { prosecdef: false },
      { prosecdef: false },
    ])
    const [left] = await target.sql(
      `SELECT has_table_privilege('neighbour', 'shop.orders', 'SELECT') AS kept`,
    )
    expect(left).toEqual({ kept: true })
    await target.sql(
      'DROP OWNED BY giver CASCADE; DROP ROLE giver; DROP OWNED BY neighbour; DROP ROLE neighbour',
    )
  })

  test('what lies in a database without the functions is named, and handed over once they are there', async () => {
    const other = await createDatabase(server.url())
    await target.sql(`CREATE SCHEMA desk; GRANT ALL ON SCHEMA desk TO ${target.readers}`, other.name)
    const { account, secret } = await lease(engine, target)
    const guest = await target.logIn(secret, other.name)
    await guest.query('CREATE TABLE desk.mine ()')
    await guest.end()
    await expect(end(account)).rejects.toThrow('the functions are not installed here')
    expect(await roleRow(account.name)).toMatchObject({ rolcanlogin: false })
    await target.installFunctions({ databases: [other.name] })
    expect(await end(account)).toMatchObject({ role_absent: true })
  })

  test('an account lives no longer than the rules allow from its making, whoever asks', async () => {
    const { account } = await lease(engine, target)
    const extend = (days: number) =>
      engine.extend([{ account, role: target.role, lifetimeMs: days * DAY_MS }])
    expect((await extend(31))[0]).toMatchObject({ ok: true })
    expect(await problemOf(extend(33))).toContain('longer than the functions allow')
    const long = ticketFor(newAccount(target), target.role, { lifetimeMs: 33 * DAY_MS })
    expect(await problemOf(engine.create([long]))).toContain('no account for longer than')
    await end(account)
  })

  test('a broker with another key extends nothing, and still ends everything', async () => {
    const { account } = await lease(engine, target)
    const stranger = postgres.open(target.spec, async () => ({
      ...target.credentials,
      accountKey: { ...target.credentials.password, reveal: () => 'another key' },
    }))
    expect(await problemOf(stranger.extend([{ account, role: target.role, lifetimeMs: 60_000 }]))).toContain(
      'not by this key',
    )
    expect(await end(account, target.role, stranger)).toMatchObject({ role_absent: true })
    await stranger.close()
  })

  test('an account from before the functions is extended while that may be, and ended by them in any case', async () => {
    const { username } = target.admin
    const old = await openPostgresTarget(server, 'CREATEROLE')
    const before = old.open()
    const { account, secret } = await lease(before, old)
    const rules = { target: old.spec, roles: [old.role], maxLeaseSeconds: 3_600 }
    for (const { sql } of postgres.enrolmentSql?.(rules) ?? []) await old.sql(sql)
    const after = old.open()
    expect((await after.probe()).warnings.join()).toContain(`ALTER ROLE "${old.admin.username}" NOCREATEROLE`)
    const extend = (by: Engine) => by.extend([{ account, role: old.role, lifetimeMs: 60_000 }])
    expect((await extend(after))[0]).toMatchObject({ ok: true })
    await old.sql(`ALTER ROLE ${old.admin.username} NOCREATEROLE`)
    const least = old.open()
    expect(await problemOf(extend(least))).toContain('was not made by the functions')
    const guest = await old.logIn(secret)
    expect(await end(account, old.role, least)).toMatchObject({ role_absent: true, sessions_ended: 1 })
    await expect(guest.query('SELECT 1')).rejects.toThrow()
    await old.close()
    expect(username).not.toBe(old.admin.username)
  })

  test('SQL of a role’s own is refused with the reason, and nothing is made', async () => {
    const account = newAccount(target)
    const role = postgres.checkRole({
      creation_statements: [`CREATE ROLE "{{name}}" PASSWORD '{{password}}'`],
    })
    expect(await problemOf(engine.create([ticketFor(account, role.spec)]))).toContain(
      'creation_statements need an admin account with CREATEROLE',
    )
    expect(await roleRow(account.name)).toBeUndefined()
  })

  test('names that a template makes are let through once it is part of what is installed', async () => {
    const fields = { username_template: 'App.{{.RoleName}}@{{.LeaseID}}' }
    const { spec } = postgres.checkTarget({ ...target.spec, ...fields })
    const leaseId = newId()
    const ask = { target: spec, role: target.role, asked: {}, roleName: 'x', leaseId, displayName: '' }
    const account = { leaseId, name: postgres.accountName(ask), targetRef: null }
    const create = () => engine.create([ticketFor(account, target.role)])
    expect(await problemOf(create())).toContain('may not make an account of this name')
    const rules = { target: spec, roles: [target.role], maxLeaseSeconds: 3_600 }
    for (const { sql } of postgres.enrolmentSql?.(rules) ?? []) await target.sql(sql)
    expect((await create())[0]).toMatchObject({ ok: true })
    await end(account)
  })

  test('the probe tries the functions, and names what is wrong with them', async () => {
    expect(await engine.probe()).toMatchObject({ missing: [] })
    expect((await engine.probe()).warnings.join()).not.toContain('pg_signal_backend')
    const stranger = target.open({ fields: { owner: 'nobody' } })
    expect((await stranger.probe()).missing.join()).toContain('may not give anything to role nobody')
    await target.sql(`GRANT ${target.readers} TO ${target.admin.username}`)
    expect((await target.open().probe()).warnings.join()).toContain(`REVOKE "${target.readers}" FROM`)
    await target.sql(
      `CREATE OR REPLACE FUNCTION leasehold_broker.version() RETURNS int LANGUAGE sql AS 'SELECT 99'`,
    )
    expect((await target.open().probe()).missing.join()).toContain('leasehold target sql')
    expect(await target.sql(`SELECT FROM pg_roles WHERE rolname LIKE 'v\\_probe%'`)).toEqual([])
  })

  test('functions that are not a superuser’s are not believed', async () => {
    const other = await createDatabase(server.url())
    await target.sql(
      `GRANT CREATE ON DATABASE "${other.name}" TO ${target.admin.username}; SET ROLE ${target.admin.username};
       CREATE SCHEMA leasehold_broker; CREATE FUNCTION leasehold_broker.version() RETURNS int LANGUAGE sql AS 'SELECT 1'; RESET ROLE`,
      other.name,
    )
    const fields = { connection_url: String(target.spec.connection_url).replace(target.database, other.name) }
    expect((await target.open({ fields }).probe()).missing).toHaveLength(1)
    await expect(target.installFunctions({ databases: [other.name] })).rejects.toThrow(
      'the schema leasehold_broker belongs to somebody else',
    )
    await target.sql('ROLLBACK', other.name)
  })

  test('what is installed is refused where it would give too much', async () => {
    const install = (change: object, spec: Spec = {}) => {
      const rules = {
        target: { ...target.spec, ...spec },
        roles: [target.role],
        maxLeaseSeconds: 60,
        ...change,
      }
      const [script] = postgres.enrolmentSql?.(rules) ?? []
      return target.sql(script?.sql ?? '').finally(() => target.sql('ROLLBACK'))
    }
    await target.sql(`CREATE ROLE boss SUPERUSER; CREATE ROLE insider; GRANT boss TO insider; CREATE ROLE maker CREATEROLE;
      CREATE ROLE caller; GRANT ${target.admin.username} TO caller;
      CREATE ROLE bypasser BYPASSRLS; GRANT UPDATE ON leasehold_broker.rules TO bypasser`)
    for (const group of [
      'boss',
      'insider',
      'maker',
      'pg_execute_server_program',
      'caller',
      'bypasser',
      target.admin.username,
    ]) {
      await expect(install({ groups: [group] }), group).rejects.toThrow('must not be given')
      await expect(install({}, { owner: group }), group).rejects.toThrow('must not be given')
    }
    await expect(install({ groups: ['nobody'] })).rejects.toThrow('there is no role "nobody"')
    await expect(install({}, { username: server.superuser })).rejects.toThrow('is a superuser')
    await expect(install({}, { username: 'nobody' })).rejects.toThrow('role "nobody" does not exist')
    const elsewhere = String(target.spec.connection_url).replace(target.database, 'somewhere')
    await expect(install({}, { connection_url: elsewhere })).rejects.toThrow('another database')
    await target.sql('DROP OWNED BY bypasser; DROP ROLE insider, boss, maker, caller, bypasser')
    // Nothing of that undid what was there.
    const { account } = await lease(engine, target)
    await end(account)
  })

  test('no name of a group, an owner or a login breaks out of what is installed', async () => {
    const hostile = `x"'; $leasehold$; -- \\`
    const named = `${hostile} ${newId().slice(0, 6)}`
    const quoted = named.replaceAll('"', '""')
    for (const kind of ['NOLOGIN', 'LOGIN']) await target.sql(`CREATE ROLE "${kind} ${quoted}" ${kind}`)
    const role = { ...target.role, member_of: [`NOLOGIN ${named}`] }
    const rules = {
      target: { ...target.spec, owner: `NOLOGIN ${named}` },
      roles: [role],
      maxLeaseSeconds: 3_600,
      logins: [`LOGIN ${named}`],
    }
    for (const { sql } of postgres.enrolmentSql?.(rules) ?? []) await target.sql(sql)
    const { account } = await lease(engine, target, role)
    expect(await end(account, { ...role, owner: `NOLOGIN ${named}` })).toMatchObject({ role_absent: true })
    await target.sql(`DROP OWNED BY "LOGIN ${quoted}"; DROP ROLE "LOGIN ${quoted}", "NOLOGIN ${quoted}"`)
  })

  describe('a thief with the admin login', () => {
    let thief: pg.Client
    let victim: Account

    beforeEach(async () => {
      const { username: name, password } = target.admin
      thief = new pg.Client({ connectionString: server.url(target.database, { name, password }) })
      await thief.connect()
      victim = (await lease(engine, target)).account
    })
    afterEach(async () => {
      await thief.end()
      await end(victim)
    })

    const OWN_KEY = Buffer.from('the key of a thief')
    const description = async (change: object = {}) => {
      const leaseId = newId()
      return {
        name: `v_thief_${leaseId}`,
        lease: leaseId,
        verifier: await scramVerifier('known', 1),
        key_hash: createHash('sha256').update(OWN_KEY).digest('hex'),
        until: Date.now() / 1_000 + 600,
        connections: 5,
        groups: [target.readers],
        ...change,
      }
    }
    const make = async (change: object = {}) => {
      const account = await description(change)
      await thief.query('SELECT leasehold_broker.make($1)', [JSON.stringify([account])])
      return {
        account: { leaseId: account.lease, name: account.name, targetRef: null },
        account_name: account.name,
      }
    }
    const extend = async (name: string, key: Buffer | null, days = 1) => {
      const text = 'SELECT problem FROM leasehold_broker.extend($1, $2, $3, $4)'
      return (await thief.query(text, [[name], [null], [key], [days * DAY_MS]])).rows[0].problem as
        | string
        | null
    }

    test('makes a leased account in a listed group, no more than that, and we can end it', async () => {
      const { account } = await make()
      const guest = await target.logIn({
        username: account.name,
        password: { reveal: () => 'known' } as never,
      })
      expect((await guest.query('SELECT note FROM shop.orders')).rows).toEqual([{ note: 'first' }])
      await expect(guest.query('SELECT leasehold_broker.groups()')).rejects.toThrow('permission denied')
      await guest.end()
      expect(await end(account)).toMatchObject({ role_absent: true })
    })

    test('reads and changes nothing by itself', async () => {
      for (const statement of [
        'SELECT * FROM shop.orders',
        `SET ROLE ${target.readers}`,
        `SET ROLE "${victim.name}"`,
        'SET ROLE leasehold_functions',
        `GRANT ${target.readers} TO CURRENT_USER`,
        `CREATE ROLE another`,
        `ALTER ROLE "${victim.name}" PASSWORD 'known'`,
        `ALTER ROLE "${victim.name}" VALID UNTIL 'infinity'`,
        `ALTER ROLE "${victim.name}" SET search_path = nowhere`,
        `DROP ROLE "${victim.name}"`,
        `SELECT rolpassword FROM pg_authid`,
        'SELECT * FROM leasehold_broker.account',
        'UPDATE leasehold_broker.rules SET groups = NULL',
        `SELECT leasehold_broker.is_ours(10)`,
        `SELECT leasehold_broker.is_leaving(10)`,
        `SELECT leasehold_broker.is_harmless('postgres')`,
        `SELECT leasehold_broker.take_back(10)`,
        `CREATE FUNCTION leasehold_broker.mine() RETURNS int LANGUAGE sql AS 'SELECT 1'`,
        `ALTER FUNCTION leasehold_broker.version() SECURITY INVOKER`,
        `ALTER DEFAULT PRIVILEGES FOR ROLE leasehold_functions GRANT ALL ON TABLES TO PUBLIC`,
        `CREATE EVENT TRIGGER mine ON ddl_command_start EXECUTE FUNCTION pg_catalog.suppress_redundant_updates_trigger()`,
      ]) {
        await expect(thief.query(statement), statement).rejects.toThrow(
          /permission denied|must be|must have|member of|only/i,
        )
      }
    })

    test('makes nothing but what the rules describe', async () => {
      await target.sql(`CREATE ROLE boss SUPERUSER; CREATE ROLE unlisted`)
      const id = newId()
      for (const change of [
        { groups: ['unlisted'] },
        { groups: ['boss'] },
        { groups: [target.admin.username] },
        { groups: [`${target.readers}, boss`] },
        { groups: [`leasehold_owner_${target.admin.username}`] },
        { groups: [null] },
        { name: 'v_mine' },
        { name: server.superuser },
        { name: `pg_${id}`, lease: id },
        { name: `v_a_${id}" SUPERUSER PASSWORD 'x`, lease: id },
        { name: `v_a_${id}\n`, lease: id },
        { name: `v_a_${newId()}`, lease: id },
        { name: null },
        { name: victim.name, lease: victim.leaseId },
        { lease: `' SUPERUSER --` },
        { verifier: 'known' },
        { verifier: `${await scramVerifier('known', 1)}' SUPERUSER VALID UNTIL 'infinity` },
        { verifier: null },
        { key_hash: 'x' },
        { key_hash: null },
        { connections: -1 },
        { connections: null },
        { until: Date.now() / 1_000 + 400 * 86_400 },
        { until: 'Infinity' },
        { until: null },
      ]) {
        await expect(make(change), JSON.stringify(change)).rejects.toThrow()
      }
      const made = `SELECT rolname FROM pg_authid WHERE rolname LIKE '%thief%' OR rolname LIKE '%${id}%'`
      expect(await target.sql(made)).toEqual([])
      await target.sql('DROP ROLE boss, unlisted')
    })

    test('extends no account of another, and its own no further than the rules', async () => {
      const before = await roleRow(victim.name)
      for (const key of [OWN_KEY, Buffer.alloc(0), null]) {
        expect(await extend(victim.name, key)).toBe('not by this key')
      }
      expect(await extend(target.readers, OWN_KEY)).toBe('unknown')
      expect(await roleRow(victim.name)).toEqual(before)
      const { account } = await make()
      expect(await extend(account.name, OWN_KEY, 33)).toBe('longer than the functions allow')
      expect(
        await extend(account.name, OWN_KEY, Number.POSITIVE_INFINITY).catch(() => 'refused'),
      ).not.toBeNull()
      expect(await extend(account.name, OWN_KEY)).toBeNull()
      await end(account)
    })

    test('opens no account again that was disabled, expired or is there', async () => {
      const { account } = await make()
      await thief.query('SELECT leasehold_broker.lock_out($1)', [[account.name]])
      expect(await extend(account.name, OWN_KEY)).toBe('disabled')
      await expect(make({ name: account.name, lease: account.leaseId })).rejects.toThrow('already exists')
      expect(await roleRow(account.name)).toMatchObject({ rolcanlogin: false })
      const old = await make({ until: Date.now() / 1_000 - 60 })
      expect(await extend(old.account.name, OWN_KEY)).toBe('expired')
      for (const each of [account, old.account]) await end(each)
    })

    test('touches no role that is not a leased account', async () => {
      await target.sql(`CREATE ROLE bystander LOGIN; CREATE ROLE v_a_bystander LOGIN; CREATE TABLE shop.theirs ();
        ALTER TABLE shop.theirs OWNER TO bystander`)
      const others = [
        'bystander',
        'v_a_bystander',
        server.superuser,
        target.readers,
        target.admin.username,
        'leasehold_functions',
      ]
      for (const name of others) {
        for (const routine of ['lock_out', 'strip', 'drop_disabled']) {
          const call = thief.query(`SELECT leasehold_broker.${routine}($1)`, [[victim.name, name]])
          await expect(call, `${routine} ${name}`).rejects.toThrow('may not touch role')
        }
        const [{ oid }] = await target.sql(`SELECT oid FROM pg_roles WHERE rolname = '${name}'`)
        const owner = `leasehold_owner_${target.admin.username}`
        await expect(
          thief.query('SELECT leasehold_broker.hand_over($1, $2)', [[oid], owner]),
        ).rejects.toThrow('may not settle')
        await expect(thief.query('SELECT leasehold_broker.disarm($1)', [[oid]])).rejects.toThrow(
          'may not settle',
        )
        await expect(thief.query('SELECT leasehold_broker.lend($1)', [oid])).rejects.toThrow(
          'no prepared transaction',
        )
        const { rows } = await thief.query('SELECT * FROM leasehold_broker.end_sessions($1)', [[oid]])
        expect(rows.filter(({ told }) => told)).toEqual([])
      }
      // And of leased ones nothing goes to anybody but the owner, nor while they live.
      const given = thief.query('SELECT leasehold_broker.hand_over($1, $2)', [
        [victim.targetRef],
        target.admin.username,
      ])
      await expect(given).rejects.toThrow('may not settle')
      const dropped = thief.query('SELECT leasehold_broker.drop_disabled($1)', [[victim.name]])
      await expect(dropped).rejects.toThrow('disabled before it is dropped')
      expect(await roleRow(victim.name)).toMatchObject({ rolcanlogin: true })
      await thief.query('SELECT leasehold_broker.lock_out($1)', [[victim.name]])
      const taken = thief.query('SELECT leasehold_broker.hand_over($1, $2)', [
        [victim.targetRef],
        target.admin.username,
      ])
      await expect(taken).rejects.toThrow('may not give anything to role')
      await target.sql('DROP TABLE shop.theirs; DROP ROLE bystander, v_a_bystander')
    })

    test('gains nothing by what it puts in the way of names, or by its settings', async () => {
      await target.sql(
        `GRANT CREATE ON SCHEMA public TO ${target.admin.username}; CREATE ROLE bystander LOGIN`,
      )
      await thief.query(`CREATE FUNCTION public.yes(text, text) RETURNS boolean LANGUAGE sql AS 'SELECT true';
        CREATE OPERATOR public.~ (LEFTARG = text, RIGHTARG = text, FUNCTION = public.yes);
        CREATE FUNCTION public.same(name, name) RETURNS boolean LANGUAGE sql AS 'SELECT true';
        CREATE OPERATOR public.= (LEFTARG = name, RIGHTARG = name, FUNCTION = public.same);
        CREATE FUNCTION public.format(text, name) RETURNS text LANGUAGE sql AS 'SELECT ''ALTER ROLE CURRENT_USER SUPERUSER''';
        CREATE FUNCTION public.clock_timestamp() RETURNS timestamptz LANGUAGE sql AS 'SELECT ''infinity''::timestamptz';
        CREATE TEMP TABLE pg_authid (oid oid, rolname name, rolcanlogin boolean); CREATE TEMP TABLE account (oid oid, name name);
        INSERT INTO pg_temp.pg_authid VALUES (10, 'bystander', false);
        SET search_path = pg_temp, public, pg_catalog; SET standard_conforming_strings = off; SET backslash_quote = on;
        SET datestyle = 'SQL, DMY'; SET timezone = '<x>-14'; SET quote_all_identifiers = on; SET transform_null_equals = on`)
      await expect(thief.query(`SELECT leasehold_broker.lock_out('{bystander}')`)).rejects.toThrow(
        'may not touch role',
      )
      await expect(make({ name: 'bystander' })).rejects.toThrow()
      expect(await extend(victim.name, OWN_KEY)).toBe('not by this key')
      const { account } = await make({ until: 2_000_000_000 }).catch(() => make())
      const row = await roleRow(account.name)
      expect(Math.abs(row?.rolvaliduntil.getTime() - Date.now() - 600_000)).toBeLessThan(60_000)
      const [{ rolsuper }] = await target.sql(
        `SELECT rolsuper FROM pg_roles WHERE rolname = '${target.admin.username}'`,
      )
      expect(rolsuper).toBe(false)
      await end(account)
      await thief.query('DROP TABLE pg_temp.pg_authid, pg_temp.account')
      await target.sql(`DROP OWNED BY ${target.admin.username}; DROP ROLE bystander`)
      await target.installFunctions()
    })

    test('does not use what was in the past: nothing works on an old view of the roles', async () => {
      await thief.query('BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT FROM pg_roles')
      await target.sql('CREATE ROLE newcomer')
      for (const call of [
        `drop_disabled('{newcomer}')`,
        `strip('{newcomer}')`,
        `lock_out('{newcomer}')`,
        `make('[]')`,
        `disarm('{}')`,
        `hand_over('{}', 'leasehold_owner_${target.admin.username}')`,
      ]) {
        await thief.query('SAVEPOINT before')
        await expect(thief.query(`SELECT leasehold_broker.${call}`), call).rejects.toThrow('READ COMMITTED')
        await thief.query('ROLLBACK TO before')
      }
      await thief.query('COMMIT')
      await target.sql('DROP ROLE newcomer')
    })

    test('runs no code as a superuser by way of an event trigger that finds its temporary tables', async () => {
      await target.sql(`CREATE TABLE public.ddl_log (tag text); CREATE FUNCTION public.log_ddl() RETURNS event_trigger
        LANGUAGE plpgsql AS 'BEGIN INSERT INTO ddl_log VALUES (tg_tag); END';
        CREATE EVENT TRIGGER log_ddl ON ddl_command_end EXECUTE FUNCTION public.log_ddl()`)
      const { account } = await make()
      const guest = await target.logIn({
        username: account.name,
        password: { reveal: () => 'known' } as never,
      })
      await target.sql('ALTER EVENT TRIGGER log_ddl DISABLE')
      await guest.query(`CREATE FUNCTION shop.door() RETURNS int LANGUAGE sql SECURITY DEFINER AS 'SELECT 1'`)
      await guest.end()
      await thief.query(`CREATE TEMP TABLE ddl_log (tag text); CREATE FUNCTION pg_temp.climb() RETURNS trigger LANGUAGE plpgsql
        AS 'BEGIN ALTER ROLE ${target.admin.username} SUPERUSER; RETURN NULL; END';
        CREATE TRIGGER climb BEFORE INSERT ON pg_temp.ddl_log FOR EACH ROW EXECUTE FUNCTION pg_temp.climb();
        SELECT leasehold_broker.lock_out('{${account.name}}')`)
      await target.sql('ALTER EVENT TRIGGER log_ddl ENABLE')
      const [{ oid }] = await target.sql(`SELECT oid FROM pg_roles WHERE rolname = '${account.name}'`)
      const owner = `leasehold_owner_${target.admin.username}`
      const refusals: string[] = []
      const refused = (call: Promise<unknown>) =>
        call.then(
          () => refusals.push('none'),
          ({ message }) => refusals.push(message),
        )
      await refused(thief.query('SELECT leasehold_broker.disarm($1)', [[oid]]))
      await refused(thief.query('SELECT leasehold_broker.hand_over($1, $2)', [[oid], owner]))
      const [{ rolsuper }] = await target.sql(
        `SELECT rolsuper FROM pg_roles WHERE rolname = '${target.admin.username}'`,
      )
      expect(rolsuper).toBe(false)
      expect(refusals.map((text) => text.includes('temporary'))).toEqual([true, true])
      await target.sql(
        'DROP EVENT TRIGGER log_ddl; DROP FUNCTION public.log_ddl(); DROP TABLE public.ddl_log',
      )
      await end(account)
    })

    test('becomes a leased account only for its prepared transaction, and then reaches nothing of its groups', async () => {
      const { account, secret } = await lease(engine, target)
      const guest = await target.logIn(secret)
      const lend = () => thief.query('SELECT leasehold_broker.lend($1)', [account.targetRef])
      await expect(lend()).rejects.toThrow('no prepared transaction')
      await guest.query(`BEGIN; SELECT txid_current(); PREPARE TRANSACTION 'left'`)
      await expect(thief.query(`SET ROLE "${account.name}"`)).rejects.toThrow('permission denied')
      await lend()
      await thief.query(`SET ROLE "${account.name}"`)
      await expect(thief.query('SELECT * FROM shop.orders')).rejects.toThrow('permission denied')
      expect(await end(account)).toMatchObject({ role_absent: true })
      await guest.end().catch(() => {})
    })

    test('does not write the rules by a group that may write every table', async () => {
      const everything =
        Number(major) >= 14
          ? `GRANT pg_read_all_data, pg_write_all_data TO ${target.readers}`
          : `GRANT USAGE ON SCHEMA leasehold_broker TO ${target.readers};
             GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA leasehold_broker TO ${target.readers}`
      await target.sql(everything)
      const { account } = await make()
      const guest = await target.logIn({
        username: account.name,
        password: { reveal: () => 'known' } as never,
      })
      expect((await guest.query('SELECT FROM leasehold_broker.account')).rowCount).toBe(0)
      expect((await guest.query(`UPDATE leasehold_broker.rules SET pattern = ''`)).rowCount).toBe(0)
      await expect(
        guest.query(`INSERT INTO leasehold_broker.account VALUES ('postgres', 10, 'x', '\\x00', 'infinity')`),
      ).rejects.toThrow('row-level security')
      await guest.end()
      await end(account)
    })

    test('sees no key in what the broker’s sessions run', async () => {
      await engine.extend([{ account: victim, role: target.role, lifetimeMs: 60_000 }])
      const { rows } = await thief.query(
        `SELECT query FROM pg_stat_activity WHERE application_name = 'leasehold'`,
      )
      expect(rows.map(({ query }) => query)).toContain(
        'SELECT problem FROM leasehold_broker.extend($1::name[], $2::oid[], $3::bytea[], $4::float8[])',
      )
    })
  })
})

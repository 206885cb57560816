import pg from 'pg'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { type Account, END_STEPS, type Engine, type Spec } from '../../src/engine/engine.ts'
import { runOwnSql } from '../../src/engine/postgres/own-sql.ts'
import { postgres } from '../../src/engine/postgres/postgres.ts'
import { tokenize } from '../../src/engine/postgres/sql-lexer.ts'
import { newId } from '../../src/lib/ids.ts'
import type { Sensitive } from '../../src/lib/sensitive.ts'
import { MAJORS, startTestPostgres, type TestPostgres } from '../support/postgres.ts'
import {
  ADMIN_KINDS,
  endingOf,
  lease,
  newAccount,
  openPostgresTarget,
  type PostgresTarget,
  ticketFor,
} from '../support/postgres-target.ts'

const CREATE = `CREATE ROLE "{{name}}" WITH LOGIN PASSWORD '{{password}}' VALID UNTIL '{{expiration}}'`

describe.each(MAJORS.flatMap((major) => ADMIN_KINDS.map((kind) => ({ major, kind }))))(
  'issuing on PostgreSQL $major with $kind',
  ({ major, kind }) => {
    let server: TestPostgres
    let target: PostgresTarget
    let engine: Engine

    beforeAll(async () => {
      server = await startTestPostgres({ major })
    })
    afterAll(() => server?.remove())
    beforeEach(async () => {
      target = await openPostgresTarget(server, kind)
      // One connection for issuing, so that what one account's SQL leaves on it would meet the next.
      engine = target.open({ fields: { max_open_connections: 3 } })
    })
    afterEach(() => target?.close())

    const ownSql = (...creation_statements: string[]): Spec =>
      postgres.checkRole({ creation_statements }).spec
    const create = async (role: Spec, account: Account = newAccount(target)) =>
      (await engine.create([ticketFor(account, role)]))[0]
    const endWholly = async (...accounts: Account[]) => {
      for (const step of END_STEPS) {
        for (const result of await engine.end(
          step,
          accounts.map((account) => endingOf(account, target.role)),
        )) {
          if (!result.ok) throw result.error
        }
      }
    }
    const roleRow = async ({ name }: Account) =>
      (
        await target.sql(
          `SELECT rolvaliduntil, rolconnlimit, rolpassword, shobj_description(oid, 'pg_authid') AS mark
           FROM pg_authid WHERE rolname = '${name}'`,
        )
      )[0]

    test.each(kind === 'definer functions' ? ['a group'] : ['a group', 'SQL of its own'])(
      'every account has an expiry, a connection limit, a mark and a verifier, made by %s',
      async (way) => {
        const role =
          way === 'a group' ? target.role : ownSql(`CREATE ROLE "{{name}}" LOGIN PASSWORD '{{password}}'`)
        const { account, secret } = await lease(engine, target, { ...role, connection_limit: 3 })
        const row = await roleRow(account)
        expect(row).toMatchObject({ rolconnlimit: 3, mark: `leasehold lease ${account.leaseId}` })
        expect(row?.rolpassword).toMatch(/^SCRAM-SHA-256\$4096:/)
        expect(row?.rolpassword).not.toContain((secret.password as Sensitive).reveal())
        const untilMs = row?.rolvaliduntil.getTime() - Date.now()
        // Ten minutes and the margin; the test may have been slow.
        expect(untilMs).toBeGreaterThan(500_000)
        expect(untilMs).toBeLessThan(615_000)
        await endWholly(account)
      },
    )

    test('iterations are those of the role, else of the target, and a verifier of one still logs in', async () => {
      const fast = target.open({ fields: { scram_iterations: 1 } })
      for (const [from, role, iterations] of [
        [engine, target.role, 4_096],
        [fast, target.role, 1],
        [fast, { ...target.role, scram_iterations: 8_192 }, 8_192],
      ] as const) {
        const { account, secret } = await lease(from, target, role)
        expect((await roleRow(account))?.rolpassword).toMatch(new RegExp(`^SCRAM-SHA-256\\$${iterations}:`))
        await (await target.logIn(secret)).end()
        await endWholly(account)
      }
    })

    test('SQL that becomes another role by a back door is refused and undone', async () => {
      await target.sql(`CREATE ROLE other NOLOGIN; GRANT other TO ${target.admin.username}`)
      const result = await create(ownSql(CREATE, `SELECT set_config('role', 'other', false)`))
      expect(result).toMatchObject({ ok: false })
      const { account } = await lease(engine, target)
      await endWholly(account)
      await target.sql('DROP ROLE other')
    })

    test('the server itself refuses several statements that pass for one', async () => {
      const client = new pg.Client({ connectionString: server.url(target.database) })
      await client.connect()
      const known = { version: major * 10_000, admin: server.superuser, database: '' }
      const facts = { ...known, isSuperuser: true, createsRoles: true, functions: undefined }
      // As a lexer would cut it that took the two words for the start of a function's body.
      const statement = tokenize(
        'SELECT begin atomic FROM (SELECT 1 AS begin) t; COMMIT; DROP TABLE shop.orders',
      )
      await client.query('BEGIN')
      await expect(runOwnSql(client, facts, [statement], { name: 'v' })).rejects.toThrow('multiple commands')
      await client.query('ROLLBACK')
      await runOwnSql(client, facts, [tokenize('SELECT begin atomic FROM (SELECT 1 AS begin) t')], {
        name: 'v',
      })
      await client.end()
      expect(await target.sql('SELECT id FROM shop.orders')).toEqual([{ id: 1 }])
      expect(() => ownSql('SELECT begin atomic FROM (SELECT 1 AS begin) t; COMMIT; SELECT 1')).toThrow(
        'COMMIT',
      )
    })

    test('a group that is missing, too strong, or not ours to give is named', async () => {
      const problem = async (member_of: string) => {
        const result = await create(postgres.checkRole({ member_of: [member_of] }).spec)
        return result?.ok ? 'made' : result?.error.message
      }
      expect(await problem('no such')).toBe('member_of: the target has no role "no such"')
      await target.sql('CREATE ROLE boss SUPERUSER NOLOGIN; CREATE ROLE foreign_group')
      await target.sql(`CREATE ROLE inner_group; GRANT ${target.admin.username} TO inner_group`)
      for (const strong of ['boss', 'inner_group', target.admin.username]) {
        expect(await problem(strong)).toContain('has the rights of the admin account')
      }
      if (kind === 'CREATEROLE' && major >= 16) {
        expect(await problem('foreign_group')).toContain('run: GRANT "foreign_group" TO')
      }
      await target.sql('DROP ROLE boss, foreign_group, inner_group')
    })

    test('one group that is missing does not hold up the others of a batch', async () => {
      const accounts = Array.from({ length: 20 }, () => newAccount(target))
      const broken = postgres.checkRole({ member_of: ['no such'] }).spec
      const results = await engine.create(
        accounts.map((account, i) => ticketFor(account, i === 7 ? broken : target.role)),
      )
      expect(results.map(({ ok }) => ok)).toEqual(accounts.map((_, i) => i !== 7))
      await endWholly(...accounts)
    })

    test('an account that somebody replaced by another of its name is not extended', async () => {
      const { account } = await lease(engine, target)
      const [result] = await engine.extend([
        { account: { ...account, targetRef: '1' }, role: target.role, lifetimeMs: 60_000 },
      ])
      expect(result).toMatchObject({ ok: false })
      await endWholly(account)
    })

    test('the scan still finds an account that lost its comment, and no stranger', async () => {
      const { account } = await lease(engine, target)
      await target.sql(
        `COMMENT ON ROLE "${account.name}" IS NULL; CREATE ROLE v_stranger; CREATE ROLE app_${newId()}`,
      )
      const seen: Account[] = []
      for await (const found of engine.accounts()) seen.push(found)
      expect(seen).toEqual([account])
      await endWholly(account)
      await target.sql('DROP ROLE v_stranger')
    })

    // Functions on the target leave an admin account no right to run anything of its own.
    if (kind !== 'definer functions') {
      test("the dialect's usual template works unchanged", async () => {
        const role = ownSql(
          `${CREATE}; GRANT USAGE ON SCHEMA shop TO "{{name}}";`,
          'GRANT SELECT ON shop.orders TO "{{name}}";',
        )
        const { account, secret } = await lease(engine, target, role)
        const guest = await target.logIn(secret)
        expect((await guest.query('SELECT note FROM shop.orders')).rows).toEqual([{ note: 'first' }])
        await guest.end()
        await endWholly(account)
      })

      test('SQL that fails beside others fails alone and leaves nothing', async () => {
        const accounts = Array.from({ length: 5 }, () => newAccount(target))
        const roles = [
          target.role,
          ownSql(CREATE, 'SELECT 1/0'),
          ownSql(CREATE),
          ownSql('SELECT 1'),
          target.role,
        ]
        const results = await engine.create(
          accounts.map((account, i) => ticketFor(account, roles[i] as Spec)),
        )
        expect(results.map(({ ok }) => ok)).toEqual([true, false, true, false, true])
        expect(results[1]).toMatchObject({ error: { message: expect.stringContaining('division by zero') } })
        expect(results[3]).toMatchObject({
          error: { message: expect.stringContaining('made no role named') },
        })
        expect(await roleRow(accounts[1] as Account)).toBeUndefined()
        await endWholly(...accounts)
      })

      test('what its own SQL does to the session is gone for the next', async () => {
        const leaky = ownSql(
          CREATE,
          'SET search_path = shop; SET work_mem = 77; CREATE TEMP TABLE pg_roles (rolname name); SELECT pg_advisory_lock(1)',
        )
        const first = await lease(engine, target, leaky)
        const second = await lease(engine, target)
        const third = await lease(engine, target, leaky)
        await endWholly(first.account, second.account, third.account)
      })

      test('a hostile name is quoted by our own statements and refused by slots', async () => {
        await target.sql('CREATE TABLE witness ()')
        const attack = (leaseId: string) => `x"'; DROP TABLE witness; --${leaseId}`
        const account = (leaseId = newId()): Account => ({ leaseId, name: attack(leaseId), targetRef: null })
        const quoted = account()
        expect(await create(target.role, quoted)).toMatchObject({ ok: true })
        for (const slot of [
          `CREATE ROLE "{{name}}" PASSWORD '{{password}}'`,
          'CREATE ROLE {{name}}',
          `SELECT '{{username}}'`,
          `DO $$ BEGIN EXECUTE 'CREATE ROLE "{{name}}"'; END $$`,
        ]) {
          expect(await create(ownSql(slot), account())).toMatchObject({
            ok: false,
            error: { message: expect.stringContaining('not allowed') },
          })
        }
        const revoking = { ...target.role, revocation_statements: ['DROP ROLE "{{name}}"'] }
        for (const step of END_STEPS) {
          expect((await engine.end(step, [endingOf(quoted, revoking)]))[0]).toMatchObject({ ok: true })
        }
        await target.sql('DROP TABLE witness')
      })

      test('whatever callers and roles are called, the account is one role and can be leased', async () => {
        const template = '{{.DisplayName}}-{{.RoleName}}'
        const { spec } = postgres.checkTarget({ ...target.spec, username_template: template })
        const role = ownSql(
          `CREATE ROLE "{{name}}" LOGIN PASSWORD '{{password}}'`,
          `COMMENT ON ROLE {{name}} IS E'{{username}}'; DO $x$ BEGIN PERFORM '{{name}}'; END $x$`,
        )
        const names = [
          `o'brien`,
          '"',
          '\\',
          '$$',
          '$x$',
          '--',
          '/*',
          ';',
          '\n',
          '{{password}}',
          '\u0000',
          'pg_x',
        ]
        for (const displayName of names) {
          const leaseId = newId()
          const name = postgres.accountName({
            target: spec,
            role,
            asked: {},
            roleName: displayName,
            leaseId,
            displayName,
          })
          const account = { leaseId, name, targetRef: null }
          expect(await create(role, account)).toMatchObject({ ok: true })
          await endWholly(account)
        }
      })

      test('renew statements run, and the expiry moves whatever they do', async () => {
        const role = postgres.checkRole({
          member_of: [target.readers],
          renew_statements: [`ALTER ROLE "{{name}}" VALID UNTIL 'infinity' CONNECTION LIMIT 2`],
        }).spec
        const { account } = await lease(engine, target, role)
        const broken = { ...role, renew_statements: ['SELECT 1/0'] }
        const results = await engine.extend([
          { account, role: broken, lifetimeMs: 9_000_000 },
          { account, role, lifetimeMs: 7_200_000 },
        ])
        expect(results.map(({ ok }) => ok)).toEqual([false, true])
        const row = await roleRow(account)
        expect(row?.rolconnlimit).toBe(2)
        expect(row?.rolvaliduntil.getTime() - Date.now()).toBeGreaterThan(7_100_000)
        expect(row?.rolvaliduntil.getTime() - Date.now()).toBeLessThan(7_300_000)
        await endWholly(account)
      })
    }
  },
)

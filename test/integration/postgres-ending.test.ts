import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { type Account, END_STEPS, type EndStep, type Engine, type Spec } from '../../src/engine/engine.ts'
import { createDatabase } from '../support/database.ts'
import { MAJORS, startTestPostgres, type TestPostgres } from '../support/postgres.ts'
import {
  ADMIN_KINDS,
  endingOf,
  lease,
  newAccount,
  openPostgresTarget,
  type PostgresTarget,
} from '../support/postgres-target.ts'

/** The hard cases of ending: each of these left access behind, or a lease that never ended, in one broker or another. */
describe.each(MAJORS.flatMap((major) => ADMIN_KINDS.map((kind) => ({ major, kind }))))(
  'ending on PostgreSQL $major with $kind',
  ({ major, kind }) => {
    let server: TestPostgres

    beforeAll(async () => {
      server = await startTestPostgres({ major, settings: { max_prepared_transactions: '10' } })
    })
    afterAll(() => server?.remove())

    let target: PostgresTarget
    let engine: Engine

    beforeEach(async () => {
      target = await openPostgresTarget(server, kind)
      engine = target.open()
    })
    afterEach(() => target?.close())

    const step = async (name: EndStep, account: Account, role: Spec = target.role) => {
      const [result] = await engine.end(name, [endingOf(account, role)])
      if (!result?.ok) throw result?.error ?? new Error('no answer')
      return result.value
    }
    const endWholly = async (account: Account, role: Spec = target.role) => {
      const evidence: Record<string, unknown> = {}
      // As a receipt puts it together.
      const residual: string[] = []
      for (const name of END_STEPS) {
        const seen = await step(name, account, role)
        residual.push(...((seen.residual as string[]) ?? []))
        Object.assign(evidence, seen)
      }
      return { ...evidence, residual } as Record<string, unknown> & { residual: string[] }
    }
    /** Before 16 a member of a group can become it. */
    const asGroup = () =>
      major >= 16 ? [] : [`whatever it made by SET ROLE as ${target.readers} remains and works on`]
    const exists = async (name: string) =>
      (await target.sql(`SELECT FROM pg_roles WHERE rolname = '${name}'`)).length > 0

    test('a role that somebody dropped has its session ended, and is not proved gone before', async () => {
      const { account, secret } = await lease(engine, target)
      const guest = await target.logIn(secret)
      await target.sql(`DROP ROLE "${account.name}"`)
      await guest.query('SELECT 1')
      await expect(step('verify', account)).rejects.toMatchObject({ kind: 'blocked' })
      expect(await endWholly(account)).toMatchObject({ sessions_ended: 1, sessions: 0 })
      await expect(guest.query('SELECT 1')).rejects.toThrow()
    })

    test('a role that was renamed is found by its OID and its mark', async () => {
      const { account, secret } = await lease(engine, target)
      const guest = await target.logIn(secret)
      await target.sql(`ALTER ROLE "${account.name}" RENAME TO hidden`)
      await endWholly(account)
      await expect(guest.query('SELECT 1')).rejects.toThrow()
      expect(await exists(`hidden`)).toBe(false)
    })

    test('another role that happens to have the OID is left alone, and the proof says no', async () => {
      await target.sql(`CREATE ROLE innocent LOGIN`)
      const [{ oid }] = await target.sql(`SELECT oid::text FROM pg_roles WHERE rolname = 'innocent'`)
      const account = { ...newAccount(target), targetRef: oid }
      for (const name of ['disable', 'disconnect', 'remove'] as const) await step(name, account)
      await expect(step('verify', account)).rejects.toMatchObject({ kind: 'blocked' })
      const [role] = await target.sql(`SELECT rolcanlogin FROM pg_roles WHERE rolname = 'innocent'`)
      expect(role).toEqual({ rolcanlogin: true })
      await target.sql(`DROP ROLE innocent`)
    })

    test('a leased user that gave itself a new password is disabled all the same', async () => {
      const { account, secret } = await lease(engine, target)
      const guest = await target.logIn(secret)
      await guest.query(`ALTER ROLE CURRENT_USER PASSWORD 'my own'`)
      await step('disable', account)
      await expect(
        target.logIn({ ...secret, password: { reveal: () => 'my own' } as never }),
      ).rejects.toThrow('is not permitted to log in')
      await guest.end()
      await endWholly(account)
    })

    test('disabling takes the group away from a session that is open', async () => {
      const { account, secret } = await lease(engine, target)
      const guest = await target.logIn(secret)
      await guest.query('SELECT * FROM shop.orders')
      expect(await step('disable', account)).toMatchObject({ memberships_revoked: [target.readers] })
      await expect(guest.query('SELECT * FROM shop.orders')).rejects.toThrow('permission denied')
      await endWholly(account)
    })

    test('a session cannot keep the rights of the group by becoming it', async () => {
      const { account, secret } = await lease(engine, target)
      const guest = await target.logIn(secret)
      const became = guest.query(`SET ROLE ${target.readers}`)
      // Before 16 every member may; then only cutting the session ends it.
      if (major >= 16) await expect(became).rejects.toThrow('permission denied')
      else await became
      await step('disable', account)
      await step('disconnect', account)
      await expect(guest.query('SELECT * FROM shop.orders')).rejects.toThrow()
      await endWholly(account)
    })

    test('a membership that somebody else gave is taken too, where it is ours to take', async () => {
      const { account } = await lease(engine, target)
      await target.sql('CREATE ROLE extra; CREATE ROLE giver; GRANT extra TO giver WITH ADMIN OPTION')
      await target.sql(`SET ROLE giver; GRANT extra TO "${account.name}"; RESET ROLE`)
      const evidence = await step('disable', account)
      const left = await target.sql(
        `SELECT FROM pg_auth_members WHERE member = ${account.targetRef} AND roleid = 'extra'::regrole`,
      )
      // From 16 on only a superuser may take what somebody else gave. The evidence must not claim more.
      const taken = kind !== 'CREATEROLE' || major < 16
      expect(left).toHaveLength(taken ? 0 : 1)
      if (taken) expect(evidence.memberships_revoked).toContain('extra')
      else
        expect(evidence).toMatchObject({
          not_taken: expect.stringContaining('extra'),
          residual: [expect.stringContaining('extra')],
        })
      await endWholly(account)
      await target.sql('DROP ROLE giver, extra')
    })

    test('a SECURITY DEFINER function left behind works for nobody any more', async () => {
      const { account, secret } = await lease(engine, target)
      const guest = await target.logIn(secret)
      await guest.query(
        `CREATE FUNCTION shop.backdoor() RETURNS SETOF shop.orders LANGUAGE sql SECURITY DEFINER
         AS 'SELECT * FROM shop.orders'`,
      )
      const evidence = await endWholly(account)
      expect(evidence).toMatchObject({ definer_functions_disarmed: ['shop.backdoor()'] })
      const [left] = await target.sql(
        `SELECT prosecdef, proowner::regrole::text AS owner FROM pg_proc WHERE proname = 'backdoor'`,
      )
      expect(left).toEqual({ prosecdef: false, owner: `leasehold_owner_${target.admin.username}` })
    })

    test('a SECURITY DEFINER function is disarmed even when handing it over fails', async () => {
      const { account, secret } = await lease(engine, target)
      const guest = await target.logIn(secret)
      await guest.query(
        `CREATE FUNCTION shop.backdoor() RETURNS int LANGUAGE sql SECURITY DEFINER AS 'SELECT 1'`,
      )
      // A lock on the table keeps the handing over waiting until it gives up.
      await guest.query('CREATE TABLE shop.mine (id int)')
      await target.sql('BEGIN; LOCK TABLE shop.mine')
      try {
        await step('disable', account)
        await step('disconnect', account)
        await expect(step('remove', account)).rejects.toMatchObject({ kind: 'blocked' })
      } finally {
        await target.sql('ROLLBACK')
      }
      const [left] = await target.sql(`SELECT prosecdef FROM pg_proc WHERE proname = 'backdoor'`)
      expect(left).toEqual({ prosecdef: false })
      await endWholly(account)
    })

    test('what it owns in two databases goes to the owner, which has no rights of its own', async () => {
      const other = await createDatabase(server.url())
      await target.sql(`CREATE SCHEMA desk; GRANT ALL ON SCHEMA desk TO ${target.readers}`, other.name)
      await target.installFunctions({ databases: [other.name] })
      const { account, secret } = await lease(engine, target)
      for (const [database, table] of [
        [target.database, 'shop.mine'],
        [other.name, 'desk.mine'],
      ] as const) {
        const guest = await target.logIn(secret, database)
        await guest.query(`CREATE TABLE ${table} (id int); INSERT INTO ${table} VALUES (7)`)
        await guest.end()
      }
      const evidence = await endWholly(account)
      const owned = (name: string) =>
        `objects now owned by "leasehold_owner_${target.admin.username}" in database "${name}"`
      expect(evidence.residual.sort()).toEqual(
        [...asGroup(), owned(target.database), owned(other.name)].sort(),
      )
      expect([...(evidence.settled_databases as string[])].sort()).toEqual(
        [target.database, other.name].sort(),
      )
      const owner = `SELECT relowner::regrole::text AS owner FROM pg_class WHERE relname = 'mine'`
      expect(await target.sql(owner)).toEqual([{ owner: `leasehold_owner_${target.admin.username}` }])
      expect(await target.sql(owner, other.name)).toEqual([
        { owner: `leasehold_owner_${target.admin.username}` },
      ])
      expect(await target.sql('SELECT id FROM desk.mine', other.name)).toEqual([{ id: 7 }])
      const [role] = await target.sql(
        `SELECT rolcanlogin, rolsuper, rolcreaterole, (SELECT count(*)::int FROM pg_auth_members m WHERE m.member = r.oid) AS groups
         FROM pg_roles r WHERE rolname = 'leasehold_owner_${target.admin.username}'`,
      )
      expect(role).toEqual({ rolcanlogin: false, rolsuper: false, rolcreaterole: false, groups: 0 })
    })

    test('what it owns goes to the owner its role names', async () => {
      await target.sql(`CREATE ROLE heir NOLOGIN; GRANT CREATE ON SCHEMA shop TO heir`)
      if (kind === 'CREATEROLE') await target.sql(`GRANT heir TO ${target.admin.username}`)
      const role = { ...target.role, owner: `heir` }
      await target.installFunctions({ roles: [role] })
      const { account, secret } = await lease(engine, target, role)
      const guest = await target.logIn(secret)
      await guest.query('CREATE TABLE shop.mine (id int)')
      await endWholly(account, role)
      const [table] = await target.sql(
        `SELECT relowner::regrole::text AS owner FROM pg_class WHERE relname = 'mine'`,
      )
      expect(table).toEqual({ owner: `heir` })
      await target.sql(`DROP TABLE shop.mine; DROP OWNED BY heir; DROP ROLE heir`)
    })

    test('the admin account itself is refused as an owner', async () => {
      const role = { ...target.role, owner: target.admin.username }
      const { account, secret } = await lease(engine, target, role)
      const guest = await target.logIn(secret)
      await guest.query('CREATE TABLE shop.mine (id int)')
      await step('disable', account)
      await step('disconnect', account)
      await expect(step('remove', account, role)).rejects.toMatchObject({ kind: 'blocked' })
      await endWholly(account)
    })

    test('a transaction it prepared is rolled back, with the locks it would have kept', async () => {
      const { account, secret } = await lease(engine, target)
      const guest = await target.logIn(secret)
      await guest.query(`BEGIN; CREATE TABLE shop.mine (id int); PREPARE TRANSACTION 'of a lease ${kind}'`)
      await expect(step('verify', account)).rejects.toMatchObject({ kind: 'blocked' })
      expect(await endWholly(account)).toMatchObject({ prepared_transactions_rolled_back: 1 })
      expect(await target.sql('SELECT FROM pg_prepared_xacts')).toEqual([])
    })

    test('revocation statements that fail are on the receipt, and the account goes all the same', async () => {
      const role = { ...target.role, revocation_statements: ['SELECT 1/0'] }
      const { account } = await lease(engine, target, role)
      const evidence = await endWholly(account, role)
      expect(evidence.revocation_statements).toMatch(/^failed: division by zero/)
      expect(evidence.residual).toEqual([
        ...asGroup(),
        expect.stringMatching(/^what revocation_statements were to undo: they failed: division by zero/),
      ])
      expect(await exists(account.name)).toBe(false)
    })

    test('one account that cannot be dropped yet does not keep the others', async () => {
      const leases = await Promise.all(Array.from({ length: 8 }, () => lease(engine, target)))
      for (const i of [1, 3, 5]) {
        const guest = await target.logIn(leases[i]?.secret ?? {})
        await guest.query(`CREATE TABLE shop.mine_${i} (id int)`)
        await guest.end()
      }
      const endings = leases.map(({ account }) => endingOf(account, target.role))
      await target.sql('BEGIN; LOCK TABLE shop.mine_3')
      try {
        await engine.end('disable', endings)
        const removed = await engine.end('remove', endings)
        expect(removed.map(({ ok }) => ok)).toEqual(leases.map((_, i) => i !== 3))
      } finally {
        await target.sql('ROLLBACK')
      }
      await endWholly(leases[3]?.account as Account)
    })

    test('a session that was told to go and comes back finds the door closed', async () => {
      const { account, secret } = await lease(engine, target)
      const guests = await Promise.all(Array.from({ length: 5 }, () => target.logIn(secret)))
      await step('disable', account)
      expect(await step('disconnect', account)).toMatchObject({ sessions_ended: 5, sessions_left: 0 })
      for (const guest of guests) await expect(guest.query('SELECT 1')).rejects.toThrow()
      await expect(target.logIn(secret)).rejects.toThrow('is not permitted to log in')
      await endWholly(account)
    })

    test('extending does not open a disabled login again', async () => {
      const { account, secret } = await lease(engine, target)
      await step('disable', account)
      await engine.extend([{ account, role: target.role, lifetimeMs: 3_600_000 }])
      await expect(target.logIn(secret)).rejects.toThrow('is not permitted to log in')
      await endWholly(account)
    })

    const leaseMany = async (count: number) => {
      const leases: Awaited<ReturnType<typeof lease>>[] = []
      while (leases.length < count)
        leases.push(...(await Promise.all(Array.from({ length: 32 }, () => lease(engine, target)))))
      return leases
    }
    const OWN_ROW = `BEGIN; ALTER ROLE CURRENT_USER PASSWORD 'my own'`

    test('an account that holds its own row in an open transaction is disabled all the same', async () => {
      const { account, secret } = await lease(engine, target)
      const guests = await Promise.all([target.logIn(secret), target.logIn(secret)])
      await guests[0]?.query(OWN_ROW)
      // Waits for the first one's lock, and would have it next.
      const second = guests[1]?.query(OWN_ROW)
      second?.catch(() => {})
      expect(await step('disable', account)).toMatchObject({
        account: 'login disabled',
        sessions_ended_first: 2,
      })
      await expect(target.logIn(secret)).rejects.toThrow('is not permitted to log in')
      for (const guest of guests) await expect(guest.query('SELECT 1')).rejects.toThrow()
      expect(await endWholly(account)).toMatchObject({ role_absent: true, residual: asGroup() })
    })

    test('an account that holds its own row in a prepared transaction is disabled all the same', async () => {
      const { account, secret } = await lease(engine, target)
      const guest = await target.logIn(secret)
      await guest.query(`${OWN_ROW}; PREPARE TRANSACTION 'own row ${kind}'`)
      await guest.end()
      expect(await step('disable', account)).toMatchObject({ prepared_transactions_rolled_back: 1 })
      await expect(target.logIn(secret)).rejects.toThrow('is not permitted to log in')
      await endWholly(account)
    })

    test('of 256 that end together, those that hold their own rows keep neither themselves nor the others', {
      timeout: 60_000,
    }, async () => {
      const leases = await leaseMany(256)
      for (const i of [0, 77, 255]) {
        const guest = await target.logIn(leases[i]?.secret ?? {})
        await guest.query(OWN_ROW)
      }
      const quiet = await target.logIn(leases[5]?.secret ?? {})
      const endings = leases.map(({ account }) => endingOf(account, target.role))
      const disabled = await engine.end('disable', endings)
      expect(disabled.filter(({ ok }) => !ok)).toEqual([])
      // Only those that were in the way lose their sessions so early.
      await quiet.query('SELECT 1')
      const [open] = await target.sql(
        `SELECT count(*)::int FROM pg_roles WHERE rolcanlogin AND oid IN (${leases.map(({ account }) => account.targetRef)})`,
      )
      expect(open).toEqual({ count: 0 })
      for (const name of ['disconnect', 'remove', 'verify'] as const) {
        expect((await engine.end(name, endings)).filter(({ ok }) => !ok)).toEqual([])
      }
    })

    test('an account that another user holds by an open GRANT does not keep the others from being removed', {
      timeout: 60_000,
    }, async () => {
      const leases = await leaseMany(64)
      const neighbour = await lease(engine, target)
      const guest = await target.logIn(neighbour.secret)
      const [victim] = leases
      await guest.query(
        `CREATE TABLE shop.bait (id int); BEGIN; GRANT SELECT ON shop.bait TO "${victim?.account.name}"`,
      )
      const endings = leases.map(({ account }) => endingOf(account, target.role))
      for (const name of ['disable', 'disconnect'] as const) await engine.end(name, endings)
      const removed = await engine.end('remove', endings)
      expect(removed.map(({ ok }) => ok)).toEqual(leases.map((_, i) => i !== 0))
      await endWholly(neighbour.account)
      await endWholly(victim?.account as Account)
    })

    test('without pg_signal_backend a nameless session is reported with the grant that is missing', async () => {
      const target = await openPostgresTarget(server, 'CREATEROLE')
      await target.sql(`REVOKE pg_signal_backend FROM ${target.admin.username}`)
      const engine = target.open()
      const { account, secret } = await lease(engine, target)
      const named = await lease(engine, target)
      const guest = await target.logIn(secret)
      const other = await target.logIn(named.secret)
      await target.sql(`DROP ROLE "${account.name}"`)
      const results = await engine.end('disconnect', [
        endingOf(account, target.role),
        endingOf(named.account, target.role),
      ])
      expect(results[0]).toMatchObject({ ok: false, error: { kind: 'denied' } })
      expect(results[0]).toHaveProperty(
        'error.message',
        expect.stringContaining('GRANT pg_signal_backend TO'),
      )
      expect(results[1]).toMatchObject({ ok: true })
      await expect(other.query('SELECT 1')).rejects.toThrow()
      await guest.end()
      for (const step of END_STEPS) {
        await engine.end(
          step,
          [account, named.account].map((each) => endingOf(each, target.role)),
        )
      }
      await target.close()
    })

    // Functions on the target leave an admin account no right to run anything of its own.
    if (kind !== 'definer functions') {
      test('rights on objects that were given to the account itself do not stop its removal', async () => {
        const role = {
          creation_statements: [
            `CREATE ROLE "{{name}}" LOGIN PASSWORD '{{password}}' VALID UNTIL '{{expiration}}';
           GRANT USAGE ON SCHEMA shop TO "{{name}}"; GRANT SELECT ON shop.orders TO "{{name}}"`,
          ],
        }
        const { account, secret } = await lease(engine, target, role)
        const guest = await target.logIn(secret)
        await guest.query('SELECT * FROM shop.orders')
        expect(await endWholly(account, role)).toMatchObject({ residual: [] })
        expect(await exists(account.name)).toBe(false)
        const [acl] = await target.sql(
          `SELECT relacl::text FROM pg_class WHERE oid = 'shop.orders'::regclass`,
        )
        expect(acl?.relacl).not.toContain(account.name)
      })

      test('revocation statements that drop the account themselves are welcome to', async () => {
        const role = {
          ...target.role,
          revocation_statements: ['DROP OWNED BY "{{name}}"; DROP ROLE IF EXISTS "{{name}}"'],
        }
        const { account } = await lease(engine, target, role)
        expect(await endWholly(account, role)).toMatchObject({
          revocation_statements: 'run',
          role_absent: true,
        })
        expect(await endWholly(account, role)).toMatchObject({
          revocation_statements: 'not run: the account was absent',
        })
      })
    }
  },
)

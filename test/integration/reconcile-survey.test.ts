import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { END_STEPS, type Engine, type Planned, type Sighting, type Survey } from '../../src/engine/engine.ts'
import { postgres } from '../../src/engine/postgres/postgres.ts'
import { MAJORS, startTestPostgres, type TestPostgres } from '../support/postgres.ts'
import {
  ADMIN_KINDS,
  endingOf,
  lease,
  newAccount,
  openPostgresTarget,
  type PostgresTarget,
} from '../support/postgres-target.ts'

/** What a look at leased accounts shows, on every release, with both kinds of admin. */

const LIFETIME_MS = 60_000

describe.each(MAJORS.flatMap((major) => ADMIN_KINDS.map((kind) => [major, kind] as const)))(
  'PostgreSQL %s, admin with %s',
  (major, kind) => {
    let server: TestPostgres
    let target: PostgresTarget
    let engine: Engine
    beforeAll(async () => {
      server = await startTestPostgres({ major })
      target = await openPostgresTarget(server, kind)
      engine = target.open()
    })
    afterAll(async () => {
      await target.close()
      await server.remove()
    })

    const survey = (): Survey => engine.survey as Survey
    const see = async (account: Planned['account'], role = target.role): Promise<Sighting | null> =>
      (await survey().look([{ account, role }]))[0] ?? null
    const judge = async (account: Planned['account'], changes: Partial<Planned> = {}) =>
      survey().judge((await see(account, changes.role)) as Sighting, {
        account,
        role: target.role,
        lifetimeMs: LIFETIME_MS,
        hardLifetimeMs: LIFETIME_MS,
        first: null,
        ...changes,
      })

    test('an account as it was made has nothing to say', async () => {
      const { account } = await lease(engine, target)
      const { changes } = await judge(account)

      expect(changes).toEqual([])
      expect(await see(account)).toMatchObject({ account, enabled: true })
    })

    test('answers come in the order asked, null for what is not there', async () => {
      const [a, b] = [await lease(engine, target), await lease(engine, target)]
      const seen = await survey().look(
        [b.account, newAccount(target), a.account].map((account) => ({ account, role: target.role })),
      )

      expect(seen.map((each) => each?.account.name ?? null)).toEqual([b.account.name, null, a.account.name])
    })

    test('one that was dropped and made anew is another', async () => {
      const { account } = await lease(engine, target)
      await target.sql(`drop role "${account.name}"; create role "${account.name}" login`)

      expect((await judge(account)).changes).toEqual([expect.stringContaining('replaced by another role')])
    })

    test('rights in another database are seen', async () => {
      const { account } = await lease(engine, target)
      const elsewhere = `other_${account.leaseId}`
      await target.sql(`create database "${elsewhere}"`)
      await target.sql(
        `create table secrets (id int); grant select on secrets to "${account.name}"`,
        elsewhere,
      )

      expect((await judge(account)).changes).toEqual([expect.stringContaining(`${elsewhere}: pg_class`)])
    })

    test('what a group of leased accounts owns, any of them can have given', async () => {
      const { account } = await lease(engine, target)
      await target.sql(`create table shop.shared (id int); alter table shop.shared owner to ${target.readers};
        grant select on shop.shared to "${account.name}"`)

      expect((await judge(account)).changes).toEqual([])
      await target.sql('drop table shop.shared')
    })

    test('a membership that may be handed on is another than the one that was given', async () => {
      const { account } = await lease(engine, target)
      await target.sql(`grant ${target.readers} to "${account.name}" with admin option`)

      expect((await judge(account)).changes).toEqual([`it was put into ${target.readers} (and may give it)`])
    })

    test('an account that gives nothing can be made and ended', async () => {
      const role = postgres.canaryRole ?? {}
      const { account } = await lease(engine, target, role)
      expect(await see(account, role)).toMatchObject({ traits: { groups: [], attributes: [], grants: [] } })
      for (const step of END_STEPS) {
        expect(await engine.end(step, [endingOf(account, role)])).toMatchObject([{ ok: true }])
      }

      expect(await see(account, role)).toBeNull()
    })

    // Functions make accounts by our own statements alone.
    const ownSqlTest = kind === 'definer functions' ? undefined : test
    ownSqlTest?.('statements of the role’s own are known by the first look', async () => {
      const role = postgres.checkRole({
        creation_statements: [
          `CREATE ROLE "{{name}}" LOGIN PASSWORD '{{password}}' CREATEDB; GRANT SELECT ON shop.orders TO "{{name}}"`,
        ],
      }).spec
      // Only a superuser may give CREATEDB without having it.
      if (kind === 'CREATEROLE') await target.sql(`alter role ${target.admin.username} createdb`)
      const { account } = await lease(engine, target, role)
      const { changes, keep } = await judge(account, { role })
      expect(changes).toEqual([])
      expect(keep).toMatchObject({ attributes: ['CREATEDB'], grantCount: 1 })
      const first = { traits: keep as object as Planned['role'], renewedSince: true }
      expect(await judge(account, { role, first })).toEqual({ changes: [] })
      await target.sql(`create table shop.more (id int); grant select on shop.more to "${account.name}"`)

      expect((await judge(account, { role, first })).changes).toEqual([
        'it was given rights on table shop.more',
      ])
      await target.sql(`drop table shop.more; revoke select on shop.orders from "${account.name}"`)
      expect((await judge(account, { role, first })).changes).toEqual([])
    })

    test('a changed password is seen by a superuser, and what is kept of it is no password', async () => {
      const { account } = await lease(engine, target)
      const { keep } = await judge(account)
      await target.sql(`alter role "${account.name}" password 'another'`)
      const { changes } = await judge(account, keep && { first: { traits: keep, renewedSince: false } })

      if (kind === 'superuser') {
        expect(keep?.password).toMatch(/^[0-9a-f]{16}$/)
        expect(changes).toEqual(['its password was changed'])
      } else {
        expect(keep).toBeUndefined()
        expect(changes).toEqual([])
      }
    })

    test('an access list that fills up is warned of, by its table, before nothing can be granted any more', async () => {
      const limits = async () => (await survey().limits?.()) ?? []
      expect((await limits()).map(({ name, warning }) => [name, warning])).toEqual([
        ['roles', undefined],
        ['acl_bytes', undefined],
        ['connection_slots', undefined],
      ])
      await target.sql('create table shop.crowded (id int)')
      for (let from = 1; (await limits())[1]?.warning === undefined; from += 100) {
        await target.sql(`do $$ begin for i in ${from}..${from + 99} loop
          execute format('create role %I', '${kind}_' || i);
          execute format('grant select on shop.crowded to %I', '${kind}_' || i); end loop; end $$`)
      }
      const { used, max, warning } = (await limits())[1] ?? {}

      expect(warning).toContain('shop.crowded')
      expect(used).toBeGreaterThan(0.8 * (max ?? 0))
    })
  },
)

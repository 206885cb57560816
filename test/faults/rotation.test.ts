import { afterAll, beforeAll, expect, test } from 'vitest'
import type { Broker } from '../../src/compose.ts'
import type { Mount } from '../../src/lease/mounts.ts'
import { sealedSecrets } from '../../src/ledger/sealed-secrets.ts'
import { sensitive } from '../../src/lib/sensitive.ts'
import { builtinSecretStore } from '../../src/secrets/builtin/builtin-store.ts'
import { type Credentials, createCredentials } from '../../src/secrets/credentials.ts'
import { secretStores } from '../../src/secrets/stores.ts'
import { type Answer, type Installation, openInstallation, request } from '../support/installation.ts'
import { untilLanded } from '../support/kills.ts'
import { type GatePlan, type Process, until } from '../support/processes.ts'
import { startTestPostgres, type TestPostgres } from '../support/servers.ts'

/**
 * A server or a worker is killed right after it sent each statement by which something lasts while it rotates a
 * password: every commit, in the ledger, in the secret store and on the target. What is there before one of them is
 * what was there after the one before it, so this sees every state there is. At any moment after, what the store has
 * must still open the target; and once somebody looks, the two agree again.
 */

let postgres: TestPostgres
let at: Installation
let credentials: Credentials
/** Who looks after each kill: one for all, as a worker that was there all along. */
let onlooker: Broker
beforeAll(async () => {
  postgres = await startTestPostgres()
  at = await openInstallation({ targets: { app: postgres }, ledgerServer: postgres })
  const builtin = builtinSecretStore(sealedSecrets(at.test.ledger), {
    masterKey: sensitive(at.settings.LEASEHOLD_MASTER_KEY ?? ''),
  })
  credentials = createCredentials(secretStores({ builtin, external: {}, default: 'builtin' }))
  await at.targets.app?.sql(
    `CREATE ROLE keeper SUPERUSER LOGIN PASSWORD 'keeper 0'; CREATE ROLE keeper_two SUPERUSER LOGIN PASSWORD 'two';
     CREATE ROLE app_a LOGIN PASSWORD 'of a'`,
  )
  onlooker = await at.broker()
  const mount = (await onlooker.mounts.find('database/')) as Mount
  await onlooker.enrolment.write(mount, 'app', {
    verify: true,
    password: sensitive('keeper 0'),
    fields: { username: 'keeper' },
  })
})
afterAll(async () => {
  await onlooker.close()
  await at.close()
  await postgres.remove()
})

/** From the claim on: without what a request does before it. */
const CLAIM = String.raw`set claimed_by = \$1, fence = r\.fence \+ 1`
const LASTING = String.raw`^(commit|with due|insert into leasehold\.(rotation|sealed_secret))|ALTER ROLE`
const dyingAt = (n: number, from = CLAIM, only = LASTING): GatePlan => ({
  at: n,
  what: 'die after sending',
  only,
  from,
})

/** What each rotation must have been stopped at, how often at least, and with the ledger at which steps. */
const STATEMENTS: [RegExp, number][] = [
  [/^with due/, 1],
  [/ALTER ROLE/, 1],
  // The candidate comes, becomes the current one, and goes.
  [/^insert into leasehold\.sealed_secret/, 3],
]
const PHASES = ['propose', 'set', 'verify', 'promote'] as const

const ask = (server: Process, path: string, body: object = {}) =>
  request(server, at.token, 'POST', path, body)

type Place = { secretName: string; passwordReference: string | null }
const rows = async <Row extends object>(sql: string): Promise<Row[]> =>
  (await at.test.ledger.query(sql)).rows as Row[]
const PLACE = 'secret_name as "secretName", password_reference as "passwordReference"'
const adminPlace = async () =>
  (await rows<Place>(`select ${PLACE} from leasehold.target where removed_at is null`))[0]
const STATIC = `kind = 'static' and removed_at is null`
const staticPlace = async () =>
  (await rows<Place>(`select ${PLACE} from leasehold.rotation where ${STATIC}`))[0]

async function opens(username: string, password: string | undefined): Promise<boolean> {
  if (!password) return false
  try {
    const client = await at.targets.app?.logIn({ username, password: sensitive(password) })
    await client?.end()
    return true
  } catch {
    return false
  }
}

/** Whether what the store has of an account opens it: the current password, or the one it was being rotated to. */
async function storeOpens(
  place: Place | undefined,
  account: string,
  which: ('current' | 'pending')[],
): Promise<boolean> {
  for (const each of which) {
    const held = place && (await credentials.read(place, each))
    if (held && (await opens(held.username ?? account, held.password.reveal()))) return true
  }
  return false
}

const OPEN = `removed_at is null and (phase is not null or claimed_by is not null or requested_at is not null
  or next_action_at <= leasehold.ledger_now())`
const openRotations = () =>
  rows(`select name, phase, claimed_by, last_error, next_action_at from leasehold.rotation where ${OPEN}`)

/** Time goes by and somebody looks, until no rotation is half done or due. */
const settle = (): Promise<void> =>
  until(
    'no rotation is half done',
    async () => {
      await at.test.advance(200)
      await onlooker.rotator.sweep()
      await onlooker.rotator.idle()
      return (await openRotations()).length === 0
    },
    openRotations,
  )

type Kill = { statement: string; phases: string[] }

/** What was left where it died, once what it sent last has landed. */
async function killed(died: Process): Promise<Kill> {
  await died.exited
  const death = died.death()
  await untilLanded(at, death)
  const left = await rows<{ phase: string }>(
    'select phase from leasehold.rotation where removed_at is null and phase is not null',
  )
  return { statement: death?.label ?? 'it died elsewhere', phases: left.map(({ phase }) => phase) }
}

const unvisited = (kills: readonly Kill[]) =>
  STATEMENTS.filter(([one, times]) => kills.filter(({ statement }) => one.test(statement)).length < times)

function expectVisited(kills: readonly Kill[]): void {
  expect(unvisited(kills)).toEqual([])
  expect(kills.flatMap(({ phases }) => phases)).toEqual(expect.arrayContaining([...PHASES]))
}

type Visit = {
  /** The statement at which to begin. */
  from?: string
  before?: () => Promise<void>
  act: (server: Process) => Promise<Answer | undefined>
  /** Right after the kill, before anybody looks; and once all is settled. */
  after: () => Promise<void>
  settled: () => Promise<void>
}

/** Kills a server after its first statement that lasts, the next one after its second, until one lives through it. */
async function visit({ from, before, act, after, settled }: Visit): Promise<Kill[]> {
  const kills: Kill[] = []
  // The next one starts while the last one's death is looked into.
  let starting = at.server()
  for (;;) {
    const server = await starting
    await before?.()
    await server.gate(dyingAt(kills.length + 1, from))
    const answer = await act(server)
    if (answer) {
      expect(answer).toMatchObject({ status: 204 })
      await server.kill()
      await settled()
      return kills
    }
    starting = at.server()
    kills.push(await killed(server))
    await after()
    await settle()
    await settled()
  }
}

const expectAdminKept = async () =>
  expect(await storeOpens(await adminPlace(), 'keeper', ['current', 'pending'])).toBe(true)
const expectAdminAgreed = async () =>
  expect(await storeOpens(await adminPlace(), 'keeper', ['current'])).toBe(true)
const expectStaticAgreed = async () =>
  expect(await storeOpens(await staticPlace(), 'app_a', ['current'])).toBe(true)

test('kill -9 of a server in rotate-root: the admin password is never lost', async () => {
  // The first one writes more than those after it.
  const first = await at.server()
  expect((await ask(first, 'database/rotate-root/app'))?.status).toBe(204)
  await first.kill()

  const kills = await visit({
    act: (server) => ask(server, 'database/rotate-root/app'),
    after: expectAdminKept,
    settled: expectAdminAgreed,
  })

  expectVisited(kills)
}, 300_000)

test('kill -9 of a server while two admins take turns: the one in use never fails', async () => {
  const server = await at.server()
  const second = { alternate_username: 'keeper_two', alternate_password: 'two' }
  expect((await ask(server, 'database/config/app', second))?.status).toBeLessThan(300)

  const kills = await visit({
    act: (live) => ask(live, 'database/rotate-root/app'),
    // Without any repair, and without looking at a candidate.
    after: expectAdminAgreed,
    settled: expectAdminAgreed,
  })

  expectVisited(kills)
  expect((await ask(server, 'database/config/app', { alternate_username: '' }))?.status).toBeLessThan(300)
  await server.kill()
  await expectAdminAgreed()
}, 300_000)

const STATIC_ROLE = { db_name: 'app', username: 'app_a', rotation_period: '100d' }

test('kill -9 of a server that makes a static role: it is there with its password, or not at all', async () => {
  const kills = await visit({
    from: String.raw`insert into leasehold\.sealed_secret`,
    before: async () => {
      await rows(
        `update leasehold.rotation set removed_at = leasehold.ledger_now(), next_action_at = null where ${STATIC}`,
      )
      await onlooker.rotator.sweep()
    },
    act: (live) => ask(live, 'database/static-roles/a', STATIC_ROLE),
    after: async () => {},
    settled: async () => {
      const place = await staticPlace()
      if (!place) return
      const held = await credentials.read(place, 'current')
      // Died between the role and the ask for its first rotation: the role is there, and is due at its time.
      if (held?.password.reveal() === '') return
      await expectStaticAgreed()
    },
  })

  expectVisited(kills)
}, 300_000)

test('kill -9 of a worker with an admin and a static role due at once', async () => {
  const server = await at.server()
  await ask(server, 'database/static-roles/a', STATIC_ROLE)
  await ask(server, 'database/config/app', { rotation_period: '100d' })
  await server.kill()
  const killAt = async (plan: GatePlan): Promise<Kill | undefined> => {
    await at.test.advance(101 * 86_400)
    const worker = await at.worker({ plan })
    await until(
      'it died, or all is rotated',
      async () => !worker.isRunning() || (await openRotations()).length === 0,
      openRotations,
    )
    const lived = await worker.gate(null).then(
      () => true,
      () => false,
    )
    if (lived) {
      await worker.kill()
      return undefined
    }
    const kill = await killed(worker)
    await expectAdminKept()
    expect(await storeOpens(await staticPlace(), 'app_a', ['current', 'pending'])).toBe(true)
    await settle()
    await expectAdminAgreed()
    await expectStaticAgreed()
    return kill
  }

  const kills: Kill[] = []
  for (;;) {
    const kill = await killAt(dyingAt(kills.length + 1))
    if (!kill) break
    kills.push(kill)
  }
  // The two go on beside each other: a statement may have had another number each time, and slipped through.
  for (const [one, times] of unvisited(kills)) {
    for (let n = 1; n <= times; n += 1) {
      const kill = await killAt(dyingAt(n, CLAIM, one.source))
      if (kill) kills.push(kill)
    }
  }

  expectVisited(kills)
}, 300_000)

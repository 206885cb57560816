import { auditedLedger, onBehalfOf } from '../../src/audit/request.ts'
import { openTrail } from '../../src/audit/trail.ts'
import { type Access, createAccess } from '../../src/breakglass/access.ts'
import { ACCESS_ACTIONS } from '../../src/breakglass/access-actions.ts'
import { createMoves, type Moves } from '../../src/breakglass/moves.ts'
import { tell } from '../../src/breakglass/notify/tell.ts'
import { createPolicyBook, type PolicyBook } from '../../src/breakglass/policy-book.ts'
import { createRequests, type Requests } from '../../src/breakglass/requests.ts'
import type { CheckTicket } from '../../src/breakglass/ticket-check.ts'
import { createGrantLeases } from '../../src/lease/grant-leases.ts'
import { openSigner } from '../../src/lease/signer.ts'
import { findGrant, type Grant } from '../../src/ledger/grants.ts'
import { insertMount } from '../../src/ledger/mounts.ts'
import { sealedSecrets } from '../../src/ledger/sealed-secrets.ts'
import { BrokerError } from '../../src/lib/errors.ts'
import { newId } from '../../src/lib/ids.ts'
import { createLogger } from '../../src/lib/log.ts'
import { sensitive } from '../../src/lib/sensitive.ts'
import { builtinSecretStore } from '../../src/secrets/builtin/builtin-store.ts'
import type { LaneName } from './grant-model.ts'
import { actorFor, idOf, type Login, type Name } from './grant-people.ts'
import { ASKED_LANE, POLICIES } from './grant-policies.ts'
import { type LeaseProcess, type LeaseWorld, openLeaseWorld } from './lease-world.ts'

/** What a server asked to be woken for: targets now, and grants at a time. */
export type Heard = { targets: string[]; looks: number[] }

/** One server's break-glass on the ledger and the targets that others share. */
export type GrantServer = {
  requests: Requests
  access: Access
  moves: Moves
  policies: PolicyBook
  process: LeaseProcess
  heard: Heard
}

/** Somebody's ask, with a policy, a role, a target and people of its own: nothing of another one touches it. */
export type Asked = { id: string; lane: LaneName; requester: string; number: number }

export type GrantWorld = {
  lease: LeaseWorld
  servers: readonly [GrantServer, GrantServer]
  ask(lane: LaneName): Promise<Asked>
  grant(id: string): Promise<Grant>
  /** The ledger's clock, which moves by `advance` alone. */
  now(): Date
  advance(seconds: number): Promise<void>
  /** A new version of the policy that something was asked under, or of the role that it is for. */
  editPolicy(asked: Asked): Promise<void>
  editRole(asked: Asked): Promise<void>
  /** Takes away the target that something was asked for. */
  retire(asked: Asked): Promise<void>
  /** What is due by now, of leases and of grants. */
  round(server: GrantServer): Promise<void>
  actor(name: Name, login: Login, asked: Pick<Asked, 'number'>): ReturnType<typeof actorFor>
  /** While it is set, nothing is begun on any target. */
  refuses: { begin: boolean }
  close(): Promise<void>
}

const log = createLogger('silent', 'json')
const MASTER_KEY = sensitive(Buffer.alloc(32, 7).toString('base64'))

/** On a clock that stands still, so that "just before" and "just after" a deadline are what they say. */
export async function openGrantWorld(): Promise<GrantWorld> {
  const lease = await openLeaseWorld()
  const { test } = lease
  await test.ledger.query(`update public.test_clock set stopped_at = date_trunc('second', now())`)
  for (const path of ['auth/oidc/', 'auth/other/']) {
    await test.ledger.transaction((db) =>
      insertMount(db, { id: newId(), path, type: 'oidc', description: '', config: {}, options: null }),
    )
  }
  const refuses = { begin: false }
  const servers = [
    await openServer(lease, lease, 'one', refuses),
    await openServer(lease, await lease.process('second'), 'two', refuses),
  ] as const
  const [first] = servers
  let asks = 0
  let now = await test.now()

  const writeRole = (number: number, defaultTtlSeconds: number) =>
    lease.roles.write(lease.mount, `app-${number}`, {
      dbName: `db-${number}`,
      defaultTtlSeconds,
      maxTtlSeconds: 0,
      fields: {},
    })
  const writePolicy = ({ lane, number }: Pick<Asked, 'lane' | 'number'>, description: string) =>
    first.policies.write(`p-${number}`, {
      ...POLICIES[lane],
      roles: [`database/creds/app-${number}`],
      description,
    })

  return {
    lease,
    servers,
    refuses,
    now: () => now,
    async advance(seconds) {
      if (seconds === 0) return
      await test.advance(seconds)
      now = new Date(now.getTime() + seconds * 1_000)
    },
    async ask(lane) {
      asks += 1
      const number = asks
      await lease.enrolment.write(lease.mount, `db-${number}`, {
        plugin: 'fake-database-plugin',
        verify: true,
        allowedRoles: ['*'],
        password: sensitive('admin-password'),
        fields: { username: 'admin' },
      })
      await writeRole(number, 60)
      await writePolicy({ lane, number }, '')
      const ask = {
        policy: `p-${number}`,
        roles: [`database/creds/app-${number}`],
        reason: 'orders are stuck in the queue since 02:40',
        ticket: '',
        durationSeconds: undefined,
        lane: ASKED_LANE[lane],
      }
      const actor = actorFor('rita', 'key', now, number)
      const { id } = await asRequest(() => first.requests.submit(ask, { actor, idempotencyKey: undefined }))
      return { id, lane, requester: idOf('rita', number), number }
    },
    async grant(id) {
      const grant = await findGrant(test.ledger, id)
      if (!grant) throw new Error(`no grant ${id}`)
      return grant
    },
    editPolicy: (asked) => writePolicy(asked, newId()),
    editRole: async ({ number }) => {
      await writeRole(number, 61)
    },
    retire: ({ number }) => lease.enrolment.remove(lease.mount.id, `db-${number}`, true),
    async round({ process, access }) {
      await process.sweep.once()
      await process.ender.idle()
      await access.due.sweep()
    },
    actor: (name, login, { number }) => actorFor(name, login, now, number),
    close: () => lease.close(),
  }
}

/** What a request of somebody's is to the audit log: one event, with its first change. */
export const asRequest = <T>(work: () => Promise<T>): Promise<T> =>
  onBehalfOf(
    {
      facts: {},
      once: true,
      closed: false,
      event: (_, facts) => ({ type: 'request', what: { operation: 'update' }, outcome: {}, ...facts }),
    },
    work,
  )

async function openServer(
  { test, target }: LeaseWorld,
  process: LeaseProcess,
  worker: string,
  refuses: { begin: boolean },
): Promise<GrantServer> {
  const bare = test.another()
  const ledger = auditedLedger(bare, openTrail(bare))
  const moves = createMoves({ ledger, tell })
  const secrets = builtinSecretStore(sealedSecrets(bare), { masterKey: MASTER_KEY })
  const heard: Heard = { targets: [], looks: [] }
  const checkTicket: CheckTicket = async () => ({ state: 'verified', onCall: null })
  const before = createRequests({
    ledger,
    moves,
    checkTicket,
    checkFields: () => {},
    accessActions: ACCESS_ACTIONS,
    log,
  })
  const { issue, ender, mounts, targets } = process
  const access = createAccess({
    checkTicket,
    ...{ ledger, moves, ender, log, worker },
    issue: (ask) =>
      refuses.begin ? Promise.reject(new BrokerError('target_failed', 'issuing is paused')) : issue(ask),
    signer: await openSigner(secrets, 'test-installation'),
    grantLeases: createGrantLeases({ ledger, targets, engineTypes: [target.type], log }),
    findMount: mounts.find,
    connectFacts: () => null,
    wake: (targetId) => void heard.targets.push(targetId),
    wakeAt: () => {},
    wakeLook: (at) => void (at && heard.looks.push(at.getTime())),
    lookAtWaiting: before.lookAtWaiting,
    onCall: before.onCall,
  })
  return { requests: before, access, moves, process, policies: createPolicyBook({ ledger, secrets }), heard }
}

import { auditedLedger, onBehalfOf } from '../../src/audit/request.ts'
import { openTrail } from '../../src/audit/trail.ts'
import { type Access, createAccess } from '../../src/breakglass/access.ts'
import { ACCESS_ACTIONS } from '../../src/breakglass/access-actions.ts'
import { createMoves, type Moves } from '../../src/breakglass/moves.ts'
import { tell } from '../../src/breakglass/notify/tell.ts'
import { createPolicyBook, type PolicyBook } from '../../src/breakglass/policy-book.ts'
import { createRequests, type Requests } from '../../src/breakglass/requests.ts'
import { createGrantLeases } from '../../src/lease/grant-leases.ts'
import { openSigner } from '../../src/lease/signer.ts'
import { findGrant, type Grant } from '../../src/ledger/grants.ts'
import { insertMount } from '../../src/ledger/mounts.ts'
import { sealedSecrets } from '../../src/ledger/sealed-secrets.ts'
import { newId } from '../../src/lib/ids.ts'
import { createLogger } from '../../src/lib/log.ts'
import { sensitive } from '../../src/lib/sensitive.ts'
import { builtinSecretStore } from '../../src/secrets/builtin/builtin-store.ts'
import { actorFor, type Login, type Name } from './grant-people.ts'
import { type LeaseProcess, type LeaseWorld, openLeaseWorld } from './lease-world.ts'

/** One server's break-glass on the ledger and the targets that others share. */
export type GrantServer = {
  requests: Requests
  access: Access
  moves: Moves
  policies: PolicyBook
  process: LeaseProcess
}

export type LaneName = 'break_glass' | 'standard' | 'sealed'

/** Somebody's ask, with a policy, a role and a target of its own: nothing of another one touches it. */
export type Asked = { id: string; lane: LaneName; requester: string; number: number }

export type GrantWorld = {
  lease: LeaseWorld
  servers: readonly [GrantServer, GrantServer]
  ask(lane: LaneName): Promise<Asked>
  grant(id: string): Promise<Grant>
  /** A new version of the policy that something was asked under, or of the role that it is for. */
  editPolicy(asked: Asked): Promise<void>
  editRole(asked: Asked): Promise<void>
  /** What is due by now, of leases and of grants. */
  round(server: GrantServer): Promise<void>
  actor(name: Name, login: Login, asked: Pick<Asked, 'requester'>): Promise<ReturnType<typeof actorFor>>
  close(): Promise<void>
}

const log = createLogger('silent', 'json')
const MASTER_KEY = sensitive(Buffer.alloc(32, 7).toString('base64'))

const SETS = {
  oncall: { groups: ['oncall'] },
  owners: { groups: ['owners'] },
  officers: { groups: ['security'] },
  keepers: { groups: ['keepers'] },
  reviewers: { groups: ['audit'] },
}
const ONE_OF_EACH = [
  { set: 'oncall', count: 1 },
  { set: 'owners', count: 1 },
]
const PARTS = {
  sets: SETS,
  security_officers: ['officers'],
  target_owners: ['keepers'],
  reviewers: ['reviewers'],
  ticket_required: false,
  max_live: 100,
}
const POLICIES: Record<LaneName, Record<string, unknown>> = {
  break_glass: { ...PARTS, approvals: { all_of: ONE_OF_EACH } },
  sealed: { ...PARTS, approvals: { all_of: ONE_OF_EACH }, sealed: true },
  standard: {
    ...PARTS,
    lane: 'standard',
    approvals: { any_of: ONE_OF_EACH },
    pending_ttl: '15m',
    deny_threshold: 2,
    narrowing_keeps_votes: true,
  },
}

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
  const servers = [
    await openServer(lease, lease, 'one'),
    await openServer(lease, await lease.process('second'), 'two'),
  ] as const
  const [first] = servers
  let asks = 0

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
    async ask(lane) {
      asks += 1
      const [number, requester] = [asks, `rita-${asks}`]
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
        lane: lane === 'sealed' ? ('sealed' as const) : undefined,
      }
      const actor = actorFor('rita', 'key', await test.now(), requester)
      const { id } = await asRequest(() => first.requests.submit(ask, { actor, idempotencyKey: undefined }))
      return { id, lane, requester, number }
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
    async round({ process, access }) {
      await process.sweep.once()
      await process.ender.idle()
      await access.due.sweep()
    },
    actor: async (name, login, { requester }) => actorFor(name, login, await test.now(), requester),
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
): Promise<GrantServer> {
  const bare = test.another()
  const ledger = auditedLedger(bare, openTrail(bare))
  const moves = createMoves({ ledger, tell })
  const secrets = builtinSecretStore(sealedSecrets(bare), { masterKey: MASTER_KEY })
  const before = createRequests({
    ledger,
    moves,
    checkTicket: async () => 'verified',
    checkFields: () => {},
    accessActions: ACCESS_ACTIONS,
  })
  const { issue, ender, mounts, targets } = process
  const access = createAccess({
    ...{ ledger, moves, issue, ender, log, worker },
    signer: await openSigner(secrets, 'test-installation'),
    grantLeases: createGrantLeases({ ledger, targets, engineTypes: [target.type], log }),
    findMount: mounts.find,
    connectFacts: () => null,
    wake: () => {},
    wakeAt: () => {},
    wakeLook: () => {},
    lookAtWaiting: before.lookAtWaiting,
  })
  return { requests: before, access, moves, process, policies: createPolicyBook({ ledger, secrets }) }
}

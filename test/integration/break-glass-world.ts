import { auditedLedger } from '../../src/audit/request.ts'
import { openTrail } from '../../src/audit/trail.ts'
import type { GrantAction } from '../../src/breakglass/actions.ts'
import type { Actor } from '../../src/breakglass/actor.ts'
import type { GrantAsk } from '../../src/breakglass/ask.ts'
import { createMoves, type Moves, type Tell } from '../../src/breakglass/moves.ts'
import { createPolicyBook, type PolicyBook } from '../../src/breakglass/policy-book.ts'
import { createRequests, type Requests } from '../../src/breakglass/requests.ts'
import type { CheckTicket, TicketState } from '../../src/breakglass/ticket-check.ts'
import { type Ledger, lockNamed, many } from '../../src/ledger/db.ts'
import { findGrant, type Grant } from '../../src/ledger/grants.ts'
import { insertMount } from '../../src/ledger/mounts.ts'
import { putRole } from '../../src/ledger/roles.ts'
import { putTarget } from '../../src/ledger/targets.ts'
import { newId } from '../../src/lib/ids.ts'
import { createLogger } from '../../src/lib/log.ts'
import type { Sensitive } from '../../src/lib/sensitive.ts'
import { openTestLedger, type TestLedger } from '../support/ledger.ts'

/** One server's break-glass on a ledger that others share. */
export type Server = { ledger: Ledger; moves: Moves; policies: PolicyBook; requests: Requests }

export type BreakGlassWorld = Server & {
  test: TestLedger
  another(): Server
  secrets: Map<string, string>
  told: { event: string; state: string }[]
  /** What the incident system says. */
  ticket: { answer: TicketState }
  /** A person logged in now by OIDC, with a second factor. */
  person(name: string, groups?: string[], changes?: Partial<Actor>): Promise<Actor>
  write(name: string, changes?: Record<string, unknown>): Promise<void>
  ask(actor: Actor, changes?: Partial<GrantAsk>): Promise<Grant>
  grant(id: string): Promise<Grant>
  /** A new version of the role that is asked for. */
  changeRole(name?: string): Promise<void>
  sql<Row extends Record<string, unknown>>(text: string, values?: unknown[]): Promise<Row[]>
  close(): Promise<void>
}

export const ROLE = 'database/creds/app-admin'
export const REASON = 'orders are stuck in the queue since 02:40'

/** Two people of two sets: whom it takes under the policy of `write`. */
export const POLICY = {
  roles: ['database/creds/app-*'],
  sets: {
    oncall: { groups: ['oncall'] },
    owners: { groups: ['owners'] },
    officers: { groups: ['security'] },
  },
  approvals: {
    all_of: [
      { set: 'oncall', count: 1 },
      { set: 'owners', count: 1 },
    ],
  },
  security_officers: ['officers'],
  ticket_pattern: 'INC-\\d{1,8}',
}

export async function openBreakGlassWorld(
  accessActions: readonly GrantAction[] = [],
  /** Who is asked about tickets; without it, what `ticket` says. */
  checkTicket?: CheckTicket,
): Promise<BreakGlassWorld> {
  const test = await openTestLedger({ stopped: true })
  const secrets = new Map<string, string>()
  const told: BreakGlassWorld['told'] = []
  const ticket: BreakGlassWorld['ticket'] = { answer: 'verified' }
  const tell: Tell = async (_, { event, grant }) => {
    told.push({ event, state: grant.state })
  }
  const server = (bare: Ledger): Server => {
    const ledger = auditedLedger(bare, openTrail(bare))
    const moves = createMoves({ ledger, tell })
    return {
      ledger,
      moves,
      policies: createPolicyBook({ ledger, secrets: secretsOf(secrets) }),
      requests: createRequests({
        ledger,
        moves,
        checkTicket: checkTicket ?? (async () => ({ state: ticket.answer, onCall: null })),
        checkFields: () => {},
        accessActions,
        log: createLogger('silent', 'json'),
      }),
    }
  }
  const mountId = newId()
  const mount = { description: '', config: {}, options: null }
  await test.ledger.transaction((db) =>
    insertMount(db, { id: mountId, path: 'database/', type: 'database', ...mount }),
  )
  await test.ledger.transaction((db) =>
    insertMount(db, { id: newId(), path: 'auth/oidc/', type: 'oidc', ...mount }),
  )
  await test.ledger.transaction((db) =>
    insertMount(db, { id: newId(), path: 'auth/other/', type: 'oidc', ...mount }),
  )
  await putTarget(test.ledger, {
    id: newId(),
    mountId,
    name: 'orders',
    engine: 'postgres',
    plugin: 'postgresql-database-plugin',
    spec: { environment: 'prod' },
    secretName: 'none',
    passwordReference: null,
    allowedRoles: ['*'],
    verified: true,
    capabilities: { revocability: 'immediate' },
  })
  const changeRole = async (name = 'app-admin') => {
    const spec = { member_of: ['app_admins'] }
    const ttls = { defaultTtlSeconds: 0, maxTtlSeconds: 0 }
    await test.ledger.transaction(async (db) => {
      await lockNamed(db, `role ${mountId} ${name}`)
      await putRole(db, { id: newId(), mountId, name, targetName: 'orders', spec, ...ttls })
    })
  }
  await changeRole()
  await changeRole('app-reader')

  const first = server(test.ledger)
  return {
    ...first,
    test,
    another: () => server(test.another()),
    secrets,
    told,
    ticket,
    changeRole,
    async person(name, groups = [], changes = {}) {
      return {
        id: `entity-${name}`,
        display_name: name,
        subject: name,
        mount: 'auth/oidc/',
        kind: 'human',
        groups,
        person: `https://issuer.example#${name}`,
        amr: ['pwd', 'otp'],
        acr: '',
        auth_time: Math.floor((await test.now()).getTime() / 1_000),
        accessor: `accessor-${name}`,
        source_address: '192.0.2.7',
        ...changes,
      }
    },
    write: (name, changes = {}) => first.policies.write(name, { ...POLICY, ...changes }),
    ask: (actor, changes = {}) =>
      first.requests.submit(
        {
          policy: 'orders',
          roles: [ROLE],
          reason: REASON,
          ticket: 'INC-4711',
          durationSeconds: undefined,
          lane: undefined,
          ...changes,
        },
        { actor, idempotencyKey: undefined },
      ),
    async grant(id) {
      const grant = await findGrant(test.ledger, id)
      if (!grant) throw new Error(`no grant ${id}`)
      return grant
    },
    sql: (text, values) => many(test.ledger, text, values),
    close: () => test.close(),
  }
}

const secretsOf = (kept: Map<string, string>) => ({
  async put(name: string, text: Sensitive) {
    kept.set(name, text.reveal())
  },
  async get(name: string) {
    const text = kept.get(name)
    return text === undefined
      ? undefined
      : { text: { reveal: () => text, toString: () => '', toJSON: () => '' } }
  },
})

/** What a promise is refused with. */
export async function refusalOf(
  doing: Promise<unknown>,
): Promise<{ code: string; message: string; data: unknown }> {
  const error = await doing.then(
    () => undefined,
    (refused: { code: string; message: string; details?: { data?: unknown } }) => refused,
  )
  if (!error) throw new Error('it was let be')
  return { code: error.code, message: error.message, data: error.details?.data }
}

import type { AdminCredentials, EngineType, Spec } from '../../src/engine/engine.ts'
import { postgres } from '../../src/engine/postgres/postgres.ts'
import { KUBERNETES_RIGS } from './kubernetes-rig.ts'
import { MYSQL_RIGS } from './mysql-rig.ts'
import { MAJORS, startTestPostgres } from './postgres.ts'
import { ADMIN_KINDS, type AdminKind, openPostgresTarget } from './postgres-target.ts'

/** What the conformance suite needs of one kind of system, to see from outside what an engine did there. */
export type Rig = {
  type: EngineType
  target: Spec
  admin: AdminCredentials
  role: Spec
  /** A role of which no account can be made, whatever state the target is in. */
  brokenRole: Spec
  /** A target where nothing answers. */
  deadTarget: Spec
  /** Opens a session with what a lease handed out; fails when the login is refused. */
  logIn(secret: Readonly<Record<string, unknown>>): Promise<Guest>
  /** The account's name as what a lease hands out tells it; for most it is the `username`. */
  nameIn?(secret: Readonly<Record<string, unknown>>): string
  /** Every account on the target that the engine could have made, by name. */
  accountNames(): Promise<string[]>
  /** When the target itself will refuse the login, null where it never does. */
  expiryOf(name: string): Promise<Date | null>
  stop(): Promise<void>
}

export type Guest = {
  /** Does something that needs the role's rights, and fails when the session or the rights are gone. */
  work(): Promise<void>
  leave(): Promise<void>
}

export type NamedRig = { name: string; start(): Promise<Rig> }

/** From 16 on an admin with CREATEROLE makes accounts as creator roles, unless it is told not to. */
const POSTGRES_WAYS: { kind: AdminKind; alone: boolean; from: number }[] = [
  ...ADMIN_KINDS.map((kind) => ({ kind, alone: false, from: 13 })),
  { kind: 'CREATEROLE', alone: true, from: 16 },
]

const POSTGRES_RIGS: NamedRig[] = MAJORS.flatMap((major) =>
  POSTGRES_WAYS.filter(({ from }) => major >= from).map(({ kind, alone }) => ({
    name: `PostgreSQL ${major}, admin with ${kind}${alone ? ' and no creator roles' : ''}`,
    start: async (): Promise<Rig> => {
      const server = await startTestPostgres({ major })
      const target = await openPostgresTarget(server, kind, alone ? { creator_roles: 0 } : {})
      return {
        type: postgres,
        target: target.spec,
        admin: target.credentials,
        role: target.role,
        brokenRole: postgres.checkRole({ member_of: ['no such group'] }).spec,
        deadTarget: postgres.checkTarget({ connection_url: 'postgresql://127.0.0.1:1/nowhere' }).spec,
        async logIn(secret) {
          const client = await target.logIn(secret as Parameters<typeof target.logIn>[0])
          return {
            work: async () => void (await client.query('SELECT note FROM shop.orders')),
            leave: () => client.end(),
          }
        },
        accountNames: async () =>
          (await target.sql("SELECT rolname FROM pg_roles WHERE rolname LIKE 'v\\_%'")).map(
            ({ rolname }) => rolname,
          ),
        expiryOf: async (name) =>
          (await target.sql(`SELECT rolvaliduntil FROM pg_roles WHERE rolname = '${name}'`))[0]
            ?.rolvaliduntil ?? null,
        async stop() {
          await target.close()
          await server.remove()
        },
      }
    },
  })),
)

/** Every implementation of the seam, by a name for the report. */
export const RIGS: readonly NamedRig[] = [...POSTGRES_RIGS, ...MYSQL_RIGS, ...KUBERNETES_RIGS]

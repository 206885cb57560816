import type { Result } from '../lib/result.ts'
import type { Sensitive } from '../lib/sensitive.ts'

/**
 * The seam to the systems that hold accounts. An `EngineType` knows a kind of system (what a target and a role of
 * that kind look like); an `Engine` is an open connection to one target. `test/conformance/engine.ts` runs over all.
 */

/** What one lease gives on a target: named, and written to the ledger, before it exists. */
export type Account = {
  leaseId: string
  /** The whole name on the target (for PostgreSQL the role name). */
  name: string
  /** The target's own id once known (PostgreSQL: the role's OID), since a name can be dropped behind our back. */
  targetRef: string | null
}

/** A role's or target's fields under their wire names, as its `EngineType` checked them. Stored as JSON; no secret. */
export type Spec = Readonly<Record<string, unknown>>

/** Durations count from the call, so that no clock has to agree with the target's. */
export type Ticket = {
  account: Account
  role: Spec
  /** What this lease asks for beyond its role, as `EngineType.checkAsk` left it; `{}` for engines that take nothing. */
  asked: Spec
  /** How long the account is to live; the engine adds the target's `expiry_margin` to what the target enforces. */
  lifetimeMs: number
  /** After this the account must never come into being, however late a packet arrives. */
  createWithinMs: number
}

export type Created = {
  targetRef: string
  /** The answer's `data`: for a database `username` and `password`. Held in memory only. */
  secret: Readonly<Record<string, string | Sensitive>>
  /** From the call, where the target gives less than was asked: the lease ends with it. */
  lifetimeMs?: number
  warnings?: readonly string[]
}

export type Term = { account: Account; role: Spec; lifetimeMs: number }

/** In this order; each is idempotent, and an account that is already absent succeeds. */
export const END_STEPS = ['disable', 'disconnect', 'remove', 'verify'] as const
export type EndStep = (typeof END_STEPS)[number]

export type Ending = {
  account: Account
  role: Spec
  /** Above zero while a create of this account may still land: `verify` then fails with kind `pending`. */
  createWithinMs: number
}

/** What a step saw, for the receipt: small, printable, no secret. */
export type Evidence = Readonly<Record<string, string | number | boolean | readonly string[]>>

/** How soon ending a lease ends access: at once, at a known time, or only by the target's own expiry. */
export type Revocability = 'immediate' | 'bounded' | 'none'

export type Capabilities = {
  serverVersion: string
  /** Which server and database this is, whatever address it was reached by; absent when the server would not say. */
  serverId?: string
  /** Target clock minus ours, in milliseconds, as measured now. */
  clockSkewMs: number
  revocability: Revocability
  /** What the admin account lacks without which leases cannot be issued or ended: enrolment refuses, naming each. */
  missing: readonly string[]
  /** What will work less well, by name of the missing privilege or setting. */
  warnings: readonly string[]
}

/**
 * unreachable: no answer or no connection; the breaker counts these, and a retry may succeed.
 * denied: the target refused our admin account. blocked: something holds the account (an object, a lock).
 * pending: not yet provable, try after the create deadline. late: the create deadline had passed.
 * no_admin: our admin credential could not be had; says nothing of the target, which was not asked.
 * failed: anything else, such as a role's own statement in error.
 */
export type EngineErrorKind =
  | 'unreachable'
  | 'denied'
  | 'blocked'
  | 'pending'
  | 'late'
  | 'no_admin'
  | 'failed'

export class EngineError extends Error {
  readonly kind: EngineErrorKind

  constructor(kind: EngineErrorKind, message: string, options?: { cause?: unknown }) {
    super(message, options)
    this.name = 'EngineError'
    this.kind = kind
  }
}

/** One open target. Every method answers per item, in the order asked; a bad item fails alone. */
export type Engine = {
  create(tickets: readonly Ticket[]): Promise<Result<Created>[]>
  /** Moves the expiry the target itself enforces; nothing to do where it enforces none. */
  extend(terms: readonly Term[]): Promise<Result<void>[]>
  /** Has connections of its own: neither issuing nor leased accounts can use up what ending needs. */
  end(step: EndStep, endings: readonly Ending[]): Promise<Result<Evidence>[]>
  /**
   * What only the target can tell about an ask before anything is made, such as the labels of a namespace. Throws a
   * `BrokerError` when it may not be, an `EngineError` when the target does not say.
   */
  admit?(ask: { role: Spec; asked: Spec }): Promise<void>
  /** A fresh secret for a live account whose secrets end by themselves, good for the new term. The old one may live on. */
  rearm?(terms: readonly (Term & { asked: Spec })[]): Promise<Result<Created>[]>
  /** Accounts that are not ours to make, whose passwords we keep: admins and static roles. Absent where there are none. */
  passwords?: Passwords
  /** Every account on the target that carries our mark, for the orphan scan and the tests. */
  accounts(): AsyncIterable<Account>
  /** How accounts stand on the target, for the reconciler. Absent where nobody but us can change them unseen. */
  survey?: Survey
  /** Tells of leases that end with something else on the target, when that is gone. Absent where there is no such thing. */
  follow?(how: Follow): Following
  /** What this target lets us do, tried for real. Throws an `EngineError` when it cannot be reached. */
  probe(): Promise<Capabilities>
  /**
   * Whether our admin account and this other one can each renew and end what the other makes, as two that take turns
   * have to: what keeps them from it. Absent where the target cannot tell.
   */
  sharing?(other: string): Promise<string[]>
  /** One cheap round trip; throws an `EngineError` when the target does not answer. */
  ping(): Promise<void>
  /** How many connections each of its pools has open, how many of them idle, and how many callers wait for one. */
  connections?(): { lane: string; open: number; idle: number; waiting: number }[]
  /** Resolves when every connection is closed; work in hand fails. */
  close(): Promise<void>
}

/** A lease with what it asked for: what it is tied to is in there. */
export type Tied = { account: Account; asked: Spec }

export type Follow = {
  /** May be called again for the same lease; must neither wait nor throw. */
  onGone: (leaseId: string) => void
  /** Something is not seen at present; it is being tried again. */
  onTrouble: (error: unknown) => void
  /** At the latest after so long everything is looked at afresh, so that no missed event matters for longer. */
  resyncMs: number
}

export type Following = {
  /** The leases to tell of from here on: all of them, each time. What is gone already is told of at once. */
  follow(tied: readonly Tied[]): void
  stop(): Promise<void>
}

/** Reads only, on the connections for ending. */
export type Survey = {
  /** Each of these accounts as it stands now, in the order asked, found by its name or the target's own id. Null: not there. */
  look(leases: readonly { account: Account; role: Spec }[]): Promise<(Sighting | null)[]>
  /** What of it is not as the lease's plan has it. Pure; no clock of the target has to agree with ours. */
  judge(sighting: Sighting, plan: Planned): Judgement
  /** What the target may run out of. */
  limits?(): Promise<Limit[]>
}

export type Sighting = {
  account: Account
  /** Whether the target lets it in. */
  enabled: boolean
  /** What else there is to compare; small, printable, no secret. */
  traits: Spec
}

/** A live lease as the ledger had it when the account was looked at. */
export type Planned = {
  account: Account
  role: Spec
  lifetimeMs: number
  /** Until the end that no renewal can move. */
  hardLifetimeMs: number
  /** What `keep` said when the account was first looked at, and whether the lease was renewed since. */
  first: { traits: Spec; renewedSince: boolean } | null
}

export type Judgement = {
  /** What somebody else changed, in words; empty when nothing was. */
  changes: readonly string[]
  /** What to hold the account against from now on, where its plan alone does not say how it has to look. */
  keep?: Spec
}

export type Limit = {
  /** In the manner of metrics: `roles`, `connection_slots`. */
  name: string
  used: number
  max?: number
  /** Which one it is, where it is the fullest of many. */
  what?: string
  /** What it comes to, and the cure; only past the point where somebody has to act. */
  warning?: string
}

/** Both take the account's whole name and throw an `EngineError`; `failed` says that there is no such account. */
export type Passwords = {
  /** Resolves when the target took it. `statements` of the target's or role's own stand in for ours; they are filled in. */
  set(username: string, password: Sensitive, statements?: readonly string[]): Promise<void>
  /** Logs in on a connection of its own: whether the target lets this account in with this password. */
  accepts(username: string, password: Sensitive): Promise<boolean>
  /** Statements as somebody wrote them in this field. Asks nobody; throws a `BrokerError` that names the field. */
  check?(field: string, statements: readonly string[]): void
}

export type AdminCredentials = {
  username: string
  password: Sensitive
  tlsPrivateKey?: Sensitive
  /**
   * Of the installation, never of the target: from it an engine derives what proves to a target, for one account, that
   * the broker asks, and not somebody with the password alone.
   */
  accountKey?: Sensitive
  /**
   * Told by the engine when the target let us in with these, or refused them: which of several credentials `Admin`
   * gives next, and which is kept for the day the secret store is down, goes by it. Does not throw.
   */
  onLogin?(accepted: boolean): void
}

/**
 * What connections are for. Each asks for the admin credential by itself: while the secret store is down, ending goes
 * on with the one that last worked, and issuing has none.
 */
export type Lane = 'issuing' | 'ending'

/** Throws an `EngineError` of kind `no_admin`. Not kept longer than the connections that were opened with it. */
export type Admin = (lane: Lane) => Promise<AdminCredentials>

/** The fields of a target or role, checked: what to store, and what to tell the writer. */
export type Checked = {
  spec: Spec
  warnings: string[]
  /** A password that stood in the fields themselves (a connection URL): taken out of `spec`, for the secret store. */
  password?: Sensitive
}

/** What is to be allowed by SQL that a superuser of the target installs, so that the admin account needs no rights. */
export type EnrolmentAsk = {
  target: Spec
  /** The roles that lease on the target. */
  roles: readonly Spec[]
  /** The longest that a lease there may live. */
  maxLeaseSeconds: number
  /** Groups to allow in place of those the roles name; databases beside the target's own; admin accounts beside its own. */
  groups?: readonly string[] | undefined
  databases?: readonly string[] | undefined
  logins?: readonly string[] | undefined
}

export type Asked = { asked: Spec; ttlSeconds?: number; warnings: string[] }

export type EngineType = {
  /** The word in the ledger and in logs: `postgres`. */
  name: string
  /** The dialect's plugin names that select it. */
  plugins: readonly string[]
  /** The type of mount that holds its targets and roles. */
  mountType: 'database' | 'kubernetes'
  /** Both take wire-named fields and throw a `BrokerError` that names the field at fault. */
  checkTarget(fields: Spec): Checked
  checkRole(fields: Spec): Checked | Promise<Checked>
  /**
   * What a caller asks for beyond the role, from the request's fields: what to keep with the lease, and how long it is
   * to live where that was said. Throws a `BrokerError` that names the field. Absent: nothing can be asked for.
   */
  checkAsk?(ask: { target: Spec; role: Spec; roleName: string; fields: Spec }): Asked
  /** Whether leases of this role can be renewed; absent: all can. */
  renewable?(role: Spec): boolean
  /** By database, the target's own first. Holds no secret. Throws a `BrokerError` that names the field at fault. */
  enrolmentSql?(ask: EnrolmentAsk): { database: string; sql: string }[]
  /** A role that gives nothing, for accounts made only to see that they can be ended. Absent: none are made. */
  canaryRole?: Spec
  /** The account's name for a lease. Always holds the lease id: the orphan scan lives on it. */
  accountName(ask: {
    target: Spec
    role: Spec
    asked: Spec
    roleName: string
    leaseId: string
    displayName: string
  }): string
  /** Opens lazily: connecting waits for the first call. `admin` is asked again, once, when a login is refused. */
  open(target: Spec, admin: Admin): Engine
}

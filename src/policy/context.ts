/**
 * Everything a condition may see, as plain values. What is not known is empty ('' or no entries), so that a condition
 * can say `role.name == ""`; only a lease count that nobody took is missing, because 0 would pass for an answer.
 */
export type DecisionContext = {
  principal: PrincipalFacts
  role: RoleFacts
  request: RequestFacts
  approval: ApprovalFacts
  leases: LeaseFacts
}

export type PrincipalFacts = {
  /** Set by the auth mount; a caller cannot choose it. */
  kind: 'human' | 'workload'
  /** The path of the auth mount, such as `auth/jwt/`. */
  mount: string
  subject: string
  displayName: string
  /** Any JSON, as the issuer signed it. Whole numbers are seen as int, others as double. */
  claims: Readonly<Record<string, unknown>>
  metadata: Readonly<Record<string, string>>
  groups: readonly string[]
}

export type Labels = Readonly<Record<string, string>>

export type RoleFacts = {
  name: string
  mount: string
  engine: string
  target: string
  environment: string
  labels: Labels
  targetEnvironment: string
  targetLabels: Labels
  mountEnvironment: string
  mountLabels: Labels
}

export type RequestFacts = {
  operation: string
  /** Without `/v1/`. */
  path: string
  /** By the ledger's clock. */
  time: Date
  /** The server's time zone, an IANA name such as `Europe/Berlin`. */
  zone: string
  /** '' when there is none; `in_cidr` on it is then an error, which counts as false. */
  sourceAddress: string
  namespace: string
  /** 0 when none was asked for. */
  requestedTtlSeconds: number
  tls: boolean
}

/** A live break-glass grant; without one `live` is false and the rest is empty. */
export type ApprovalFacts = {
  live: boolean
  id: string
  policy: string
  /** `break_glass`, `standard`, `sealed`; while a drill is activated, `drill`. */
  lane: string
  reason: string
  ticket: string
  approvers: readonly string[]
  /** The year 1970 when there is no grant, so that it is over by any clock. */
  expiresAt: Date
}

export type LeaseFacts = {
  /** Live leases of this principal; undefined when nobody counted, and reading it is then an error. */
  held: number | undefined
}

const NO_ROLE: RoleFacts = {
  name: '',
  mount: '',
  engine: '',
  target: '',
  environment: '',
  labels: {},
  targetEnvironment: '',
  targetLabels: {},
  mountEnvironment: '',
  mountLabels: {},
}

const NO_APPROVAL: ApprovalFacts = {
  live: false,
  id: '',
  policy: '',
  lane: '',
  reason: '',
  ticket: '',
  approvers: [],
  expiresAt: new Date(0),
}

/** What a caller must know; everything else may be left out, and is then empty. */
export type Known = {
  principal: Pick<PrincipalFacts, 'kind' | 'mount' | 'subject'> & Partial<PrincipalFacts>
  role?: Pick<RoleFacts, 'name' | 'mount'> & Partial<RoleFacts>
  request: Pick<RequestFacts, 'operation' | 'path' | 'time' | 'tls'> & Partial<RequestFacts>
  /** A live grant: leaving it out is how to say that there is none. */
  approval?: Omit<ApprovalFacts, 'live'>
  leasesHeld?: number
}

/** A whole context out of what is known: a request may be about no role, under no grant, from no address. */
export const decisionContext = ({
  principal,
  role,
  request,
  approval,
  leasesHeld,
}: Known): DecisionContext => ({
  principal: { displayName: '', claims: {}, metadata: {}, groups: [], ...principal },
  role: { ...NO_ROLE, ...role },
  request: { zone: 'UTC', sourceAddress: '', namespace: '', requestedTtlSeconds: 0, ...request },
  approval: approval ? { ...approval, live: true } : NO_APPROVAL,
  leases: { held: leasesHeld },
})

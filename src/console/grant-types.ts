/** Break-glass requests as the API answers them: the fields the pages use. Times RFC 3339. */
export type GrantState =
  | 'pending'
  | 'approved'
  | 'activating'
  | 'active'
  | 'suspended'
  | 'ending'
  | 'ending_stuck'
  | 'review_due'
  | 'review_overdue'
  | 'denied'
  | 'cancelled'
  | 'expired'
  | 'voided'
  | 'activation_failed'
  | 'closed_ok'
  | 'closed_flagged'

export type Lane = 'standard' | 'break_glass' | 'sealed' | 'drill'

export type Person = { display_name: string; subject: string; mount: string; groups?: string[] }

export type PlanRole = {
  path: string
  mount: string
  name: string
  target: string
  engine: string
  environment: string | null
  privileges: string[]
  kubernetes_namespace?: string
  revocability: string
}

export type Plan = {
  lane: Lane
  roles: PlanRole[]
  duration_seconds: number
  reason: string
  ticket: string
}

export type Vote = {
  round: number
  number: number
  voter: Person
  decision: 'approve' | 'deny' | 'witness' | 'ratify' | 'refuse' | 'resume' | 'abandon' | 'on_call'
  comment: string
  cast_at: string
  sets: string[]
  plan_hash: string
  current: boolean
  /** What a vote that no person cast goes by. */
  evidence?: { as_of?: string } | null
  ended_because: string | null
}

/** People: how many it takes and how many have said yes, of the nearest way to meet it. */
type Progress = { needed: number; have: number; met: boolean }

export type QuorumSet = Progress & {
  set: string
  voters: string[]
  may_still_vote: string[]
}

export type QuorumPart = QuorumSet | (Progress & ({ all_of: QuorumPart[] } | { any_of: QuorumPart[] }))

export type Quorum = {
  words: string
  met: boolean
  /** Null where it takes nobody in particular. */
  tree: QuorumPart | null
  min_approvers: number
  approvers: number
}

export type Extension = {
  round: number
  state: 'pending' | 'approved' | 'denied' | 'expired'
  seconds: number
  reason: string
  /** What a vote on it is for. */
  plan_hash: string
  asked_at: string
  decided_at: string | null
}

/** Sets that are told one after another while nobody decides. */
export type Escalation = {
  asked: string[][]
  next: { sets: string[]; at: string } | null
}

export type GrantEvent = {
  number: number
  at: string
  event: string
  from: GrantState | null
  to: GrantState
  actor: Person | null
  detail: Record<string, unknown>
}

export type GrantLease = {
  lease_id: string
  path: string
  target: string
  account: string | null
  state: string
  expires_at: string | null
  access_ended_at: string | null
  /** It ends before the access does, which was extended without it. */
  collect_anew?: boolean
}

export type GrantAction =
  | 'approve'
  | 'deny'
  | 'withdraw'
  | 'cancel'
  | 'witness'
  | 'activate'
  | 'collect'
  | 'extend'
  | 'approve-extension'
  | 'deny-extension'
  | 'suspend'
  | 'resume'
  | 'end'
  | 'ratify'
  | 'refuse-ratification'
  | 'abandon'
  | 'review'
  | 'reopen'
  | 'incident-closed'

/** As in lists. */
export type ShortGrant = {
  id: string
  state: GrantState
  version: number
  lane: Lane
  policy: { name: string; version: number }
  requester: Person & { id: string; kind: string }
  plan: Plan
  plan_hash: string
  reason: string
  ticket: string
  ticket_state: 'none' | 'verified' | 'unverified'
  duration_seconds: number
  requested_at: string
  pending_expires_at: string | null
  approved_at: string | null
  activate_by: string | null
  started_at: string | null
  expires_at: string | null
  ended_at: string | null
  end_reason: string | null
  review_due_at: string | null
  review_overdue_at: string | null
  ratification: 'none' | 'due' | 'ratified' | 'refused' | 'overdue'
  ratify_by: string | null
  force_rotation: boolean
  stuck_since: string | null
  quorum: Quorum
  /** What the caller may do now, and why not what they could otherwise. */
  allowed: GrantAction[]
  refused: Partial<Record<GrantAction, string>>
}

export type Grant = ShortGrant & {
  now: string
  votes: Vote[]
  /** Null where all are told from the first. */
  escalation: Escalation | null
  extensions: Extension[]
  leases: GrantLease[]
  reviews: Record<string, unknown>[]
  events: GrantEvent[]
  deliveries: {
    destination: string
    event: string
    state: string
    attempts: number
    last_error: string | null
  }[]
}

export type GrantCounts = { inbox: number; mine_open: number; reviews_due: number; reviews_overdue: number }
export type GrantList = { requests: ShortGrant[]; cursor: string | null; counts: GrantCounts; now: string }

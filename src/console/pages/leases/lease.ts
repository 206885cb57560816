/** A lease as listings have it; `src/http` is where the names come from. Nothing in it is secret. */
export type LeaseRow = {
  lease_id: string
  id: string
  path: string
  role: string
  mount: string
  target: string
  engine: string
  account: string
  principal: string
  principal_name: string
  state: 'issuing' | 'active' | 'revoking' | 'revoked'
  stuck: boolean
  issued_at: string
  expires_at: string
  hard_expires_at: string
  renewed_at: string | null
  limited_by: string | null
  grant_id: string | null
  next_action_at: string | null
  attempts: number
  last_error: string
  end_reason: string | null
  access_ended_at: string | null
  ended_at: string | null
}

export type LeaseDetail = LeaseRow & {
  now: string
  renewable: boolean
  revocability: 'immediate' | 'bounded' | 'none'
  holder: {
    display_name: string
    kind: string
    mount: string
    subject: string
    accessor: string
    groups: string[]
  } | null
  allowed_by: Rule | null
  timeline: LeaseStep[]
  receipt: string | null
  may: { renew: boolean; revoke: boolean }
}

/** The rule of a policy that let a lease be; of a root token there is no more than its name. */
export type Rule = { policy: string; version?: number | null; pattern?: string | null; line?: number | null }

export type LeaseStep = { at: string; what: string; detail: Record<string, unknown> | null }

export type Leases = { leases: LeaseRow[]; cursor: string | null; now: string }

/** What a lease's state means for whoever asks whether the account can still be used. */
export function stateMeans(lease: Pick<LeaseRow, 'state' | 'stuck' | 'access_ended_at'>): string {
  if (lease.state === 'issuing') return 'The account is being made on the target.'
  if (lease.state === 'active') return 'The account can log in.'
  if (lease.state === 'revoked') return 'The account is proved gone from the target.'
  if (lease.access_ended_at) {
    return lease.stuck
      ? 'Nobody can use the account, but it cannot be removed yet. That is tried again for ever.'
      : 'Nobody can use the account; its removal is being proved.'
  }
  return lease.stuck
    ? 'Ending it keeps failing: the account may still be usable. That is tried again for ever.'
    : 'The login is being disabled and its sessions cut.'
}

const REASONS: Record<string, string> = {
  expired: 'its time was over',
  revoked: 'somebody revoked it',
  token_ended: 'the token that asked for it ended',
  mount_disabled: 'its mount was disabled',
  issue_failed: 'it could not be made',
  undelivered: 'its answer reached nobody',
  tie_gone: 'what it was tied to is gone',
  account_gone: 'its account was removed by somebody else',
  foreign_change: 'its account was changed by somebody else',
  orphan: 'an account was found that no lease stood behind',
  canary: 'it was a trial of ending leases',
  grant_ended: 'the grant that allowed it ended',
  replaced: 'fresh credentials took its place',
}

export const reasonWords = (reason: string | null): string =>
  reason === null ? '' : (REASONS[reason] ?? reason.replaceAll('_', ' '))

const LIMITS: Record<string, string> = {
  role_max: "by its role's maximum",
  mount_max: "by its mount's maximum",
  token: 'by the token that asked for it',
  grant: 'by the grant that allowed it',
}

export const limitWords = (limit: string | null): string =>
  limit === null ? 'by nothing but what was asked' : (LIMITS[limit] ?? limit.replaceAll('_', ' '))

const REVOCABILITY = {
  immediate: 'can be cut at once',
  bounded: 'can be cut within a known time',
  none: 'cannot be cut: it ends by its own time',
}

export const revocabilityWords = (how: LeaseDetail['revocability']): string => REVOCABILITY[how]

const STEPS: Record<string, string> = {
  issued: 'Issued',
  renewed: 'Renewed',
  due: 'Due to end',
  disable: 'Login disabled',
  disconnect: 'Sessions ended',
  remove: 'Account removed',
  verify: 'Proved gone',
  access_ended: 'Access over',
  ended: 'Lease ended',
}

export const stepWords = (step: string): string => STEPS[step] ?? step.replaceAll('_', ' ')

/** Which policy let it be, and by which of its rules. */
export function ruleWords(rule: Rule | null): { policy: string; pattern: string } {
  if (rule === null) return { policy: 'not on record', pattern: '' }
  const version = rule.version ? `, version ${rule.version}` : ''
  const line = rule.line ? ` (line ${rule.line})` : ''
  return { policy: `policy ${rule.policy}${version}`, pattern: rule.pattern ? `${rule.pattern}${line}` : '' }
}

/** Who holds a lease, by the best name there is. */
export const holderName = (lease: Pick<LeaseRow, 'principal' | 'principal_name'>): string =>
  lease.principal_name || lease.principal || 'a root token'

/** One line for each thing that a step recorded; lists and objects as compact JSON, so nothing is dropped. */
export const evidenceLines = (evidence: Record<string, unknown> | null): string[] =>
  Object.entries(evidence ?? {}).map(
    ([name, value]) =>
      `${name.replaceAll('_', ' ')}: ${typeof value === 'string' ? value : JSON.stringify(value)}`,
  )

/** What a receipt says; see `src/lease/receipts.ts`, whose signature is under it. */
export type Receipt = {
  iss: string
  lease_id: string
  account: string
  target: string
  reason: string
  issued_at: string
  ended_at: string
  steps: { step: string; at: string; evidence: Record<string, unknown> }[]
  residual: string[]
}

import { targetName } from '../../target-name.ts'

/** A target as `sys/leasehold/targets` has it. Times RFC 3339. */
export type Target = {
  id: string
  mount: string
  name: string
  engine: string
  environment: string | null
  reachable: boolean | null
  breaker: 'closed' | 'open' | 'unknown'
  leases: { live: number; stuck: number; overdue_seconds: number }
  stuck: { lease_id: string; error: string; attempts: number; since: string }[]
  freeze: { at: number; frozen: boolean }
  revocable: boolean | null
  canary: (Times & Partial<Canary>) | null
  reconcile: (Times & Partial<Findings> & { error?: string }) | null
  warnings: string[]
  /** How close its catalog is to what it can bear, as the last reconcile measured it. */
  guard: Limit[] | null
  rotation: { admin: Rotation | null; static: Rotation[] }
}

export type Targets = { targets: Target[]; now: string }

type Times = {
  running: boolean
  last_at: string | null
  last_success_at: string | null
  next_at: string | null
}

type Canary = {
  state: 'ended' | 'failed' | 'unsupported'
  lease_id: string
  seconds: number
  failed_at: 'open' | 'issue' | 'end'
  error: string
}

type Found = { account: string; lease_id?: string; seen?: string[] }

type Findings = {
  accounts: number
  leases: number
  found: Record<string, { count: number; some: Found[] }>
  clock_skew_ms: number
}

/** `warning` says what it comes to, and the cure; only past the point where somebody has to act. */
export type Limit = { name: string; used: number; max?: number; what?: string; warning?: string }

export type Rotation = {
  name: string | null
  username: string
  last_rotated_at: string | null
  next_at: string | null
  phase: string | null
  attempts: number
  error: string
  automated: boolean
}

/** Something about a target that a person should know: `bad` needs doing, `warning` needs a look. */
export type Finding = { tone: 'bad' | 'warning'; what: string; means: string }

/** Leases may end this much late on a busy target without it being worth a word. */
const LATE_SECONDS = 60

/** All that is wrong with a target, the worst first; nothing when it is well. */
export function troubleOf(target: Target): Finding[] {
  const found = [...cannotBeUsed(target), ...cannotBeEnded(target), ...oughtToBeSeen(target)]
  return found.sort((a, b) => Number(b.tone === 'bad') - Number(a.tone === 'bad'))
}

function cannotBeUsed({ breaker, reachable, freeze, leases }: Target): Finding[] {
  const away = breaker === 'open' || reachable === false
  return [
    ...(away
      ? [
          bad(
            'Cannot be reached',
            'Nobody gets new credentials here until it answers. Ending goes on being tried.',
          ),
        ]
      : []),
    ...(freeze.frozen
      ? [
          bad(
            'Issuing is frozen',
            `${leases.stuck} leases cannot be ended, and the limit is ${freeze.at}: nobody gets new credentials until fewer are stuck.`,
          ),
        ]
      : []),
  ]
}

function cannotBeEnded({ leases, freeze, canary, revocable }: Target): Finding[] {
  return [
    ...(leases.stuck > 0 && !freeze.frozen
      ? [
          bad(
            leases.stuck === 1 ? '1 stuck lease' : `${leases.stuck} stuck leases`,
            'Ending them failed six times or more. They are tried again for ever; below is why it fails.',
          ),
        ]
      : []),
    ...(revocable === false
      ? [
          bad(
            'The canary failed',
            `A trial account could not be ${canary?.failed_at === 'end' ? 'ended' : 'made'}, so real ones may fare alike: ${canary?.error ?? 'it is not known why'}`,
          ),
        ]
      : []),
    ...(leases.overdue_seconds > LATE_SECONDS
      ? [
          warning(
            'Ending is late',
            `The longest wait of a lease that is due is ${seconds(leases.overdue_seconds)}.`,
          ),
        ]
      : []),
  ]
}

function oughtToBeSeen({ reconcile, warnings, rotation, guard }: Target): Finding[] {
  const rotations = [...(rotation.admin ? [rotation.admin] : []), ...rotation.static]
  const unknown = reconcile?.found?.unknown?.count ?? 0
  return [
    ...(reconcile?.error ? [warning('Not reconciled', reconcile.error)] : []),
    ...(unknown > 0
      ? [
          warning(
            unknown === 1 ? '1 unknown account' : `${unknown} unknown accounts`,
            'They bear our mark, and no lease of ours is behind them. They are left alone until you decide.',
          ),
        ]
      : []),
    ...guardWarnings(guard, warnings).map((text) => warning('The catalog guard warns', text)),
    ...rotations
      .filter(({ error }) => error !== '')
      .map(({ username, error }) => warning(`The password of ${username} was not rotated`, error)),
    ...warnings.map((text) => warning('Warning', text)),
  ]
}

/** Those that the target's own warnings do not say already. */
const guardWarnings = (guard: Target['guard'], warnings: readonly string[]): string[] =>
  (guard ?? []).flatMap(({ warning: text }) => (text && !warnings.includes(text) ? [text] : []))

const bad = (what: string, means: string): Finding => ({ tone: 'bad', what, means })
const warning = (what: string, means: string): Finding => ({ tone: 'warning', what, means })
const seconds = (count: number): string => (count === 1 ? '1 second' : `${Math.round(count)} seconds`)

/** As people call it. */
export const nameOf = ({ name, engine, mount }: Pick<Target, 'name' | 'engine' | 'mount'>): string =>
  targetName({ target: name, engine, path: mount })

/** Those in trouble first, then by name. */
export const inOrder = (targets: readonly Target[]): Target[] =>
  [...targets].sort(
    (a, b) => worst(b) - worst(a) || nameOf(a).localeCompare(nameOf(b)) || a.mount.localeCompare(b.mount),
  )

export const worst = (target: Target): number =>
  Math.max(0, ...troubleOf(target).map(({ tone }) => (tone === 'bad' ? 2 : 1)))

/** Nothing was tried on it so far that could have failed: that it is well is not known. */
export const isUntried = ({ canary, reconcile, guard }: Target): boolean =>
  (!canary || (canary.state === undefined && canary.last_at === null)) &&
  (!reconcile || (reconcile.found === undefined && !reconcile.error)) &&
  (guard ?? []).length === 0

export function issuingWords({ freeze }: Pick<Target, 'freeze'>): string {
  if (freeze.frozen) return 'frozen'
  return freeze.at > 0 ? `open; frozen once ${freeze.at} leases are stuck` : 'open, whatever is stuck'
}

/** A cluster is reconciled by the worker alone: there is no asking for it. */
export const canReconcile = ({ engine }: Pick<Target, 'engine'>): boolean => engine !== 'kubernetes'

export function canaryWords({ canary }: Target): string {
  if (!canary || (canary.state === undefined && canary.last_at === null)) return 'not tried yet'
  if (canary.state === 'unsupported') return 'none on this kind of target'
  if (canary.state === 'failed') return 'the trial account could not be ended as it should'
  return `a trial account was made and ended${canary.seconds === undefined ? '' : ` in ${canary.seconds} s`}`
}

const FOUND_WORDS: Record<string, string> = {
  orphan: 'without a lease, ended',
  unknown: 'unknown, left alone',
  account_gone: 'gone behind our back',
  foreign_change: 'changed by somebody else, ended',
  let_in_again: 'let in again while ending',
}

/** What the last reconcile found, in a sentence. */
export function reconcileWords({ reconcile }: Target): string {
  if (!reconcile || reconcile.found === undefined) return 'not done yet'
  const odd = Object.entries(reconcile.found)
    .filter(([, { count }]) => count > 0)
    .map(([name, { count }]) => `${count} ${FOUND_WORDS[name] ?? name.replaceAll('_', ' ')}`)
  const all = `${reconcile.accounts ?? 0} accounts held against ${reconcile.leases ?? 0} leases`
  return odd.length === 0 ? `${all}: all as it should be` : `${all}: ${odd.join(', ')}`
}

export function rotationWords(rotation: Rotation): string {
  if (rotation.phase) return `being rotated now (${rotation.phase})`
  return rotation.automated ? 'rotated by itself' : 'rotated only when asked'
}

const LIMITS: Record<string, string> = {
  roles: 'roles on the server',
  accounts: 'accounts on the server',
  acl_bytes: 'bytes in the largest access list',
  connection_slots: 'connections in use',
}

/** One limit of the catalog: how much of it is used, of how much. */
export function limitLine({ name, used, max, what }: Limit): string {
  const of = max === undefined ? '' : ` of ${max.toLocaleString('en-GB')}`
  return `${used.toLocaleString('en-GB')}${of} ${LIMITS[name] ?? name.replaceAll('_', ' ')}${what ? ` (${what})` : ''}`
}

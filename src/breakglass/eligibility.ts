import { inCidr } from '../policy/condition-cidr.ts'
import type { Actor } from './actor.ts'
import type { PolicySpec, Selection } from './policies.ts'

/** `auth/oidc/`, `oidc/` and `oidc` are one mount. */
const mountName = (mount: string): string => mount.replace(/^auth\//, '').replace(/\/+$/, '')

/** The mount by which a security key was shown names nobody: people of several providers may come in by it. */
export const isKnownBy = ({ home, mount }: Pick<Actor, 'mount' | 'home'>, written: string): boolean =>
  mountName(home ?? mount) === mountName(written)

/**
 * `<subject>`, of whatever mount, or `<mount>#<subject>`: with a mark in it, it is always the latter, since what another
 * issuer lets people call themselves must not read like it. Whoever came by a security key is still the subject that
 * their provider's mount knows.
 */
export const isSubject = (actor: Actor, written: string): boolean => {
  const { subject } = actor
  const at = written.indexOf('#')
  if (subject === '' || (at < 0 ? written : written.slice(at + 1)) !== subject) return false
  if (at < 0) return true
  return isKnownBy(actor, written.slice(0, at))
}

const isSelected = (actor: Actor, { groups, subjects }: Selection): boolean =>
  groups.some((group) => actor.groups.includes(group)) ||
  subjects.some((subject) => isSubject(actor, subject))

/** The sets of a policy that a person is in; a machine is in none. */
export const setsOf = (actor: Actor, { sets }: Pick<PolicySpec, 'sets'>): string[] =>
  actor.kind === 'human' ? Object.keys(sets).filter((name) => isSelected(actor, sets[name] as Selection)) : []

export const isInAny = (actor: Actor, policy: Pick<PolicySpec, 'sets'>, names: readonly string[]): boolean =>
  setsOf(actor, policy).some((name) => names.includes(name))

/** Whether somebody may ask under a policy at all. */
export function mayAsk(actor: Actor, { requesters, lane }: Pick<PolicySpec, 'requesters' | 'lane'>): boolean {
  if (!requesters.kinds.includes(actor.kind) || (lane === 'break_glass' && actor.kind !== 'human'))
    return false
  const anybody = requesters.groups.length === 0 && requesters.subjects.length === 0
  return anybody || isSelected(actor, requesters)
}

/** Whether a policy lets access be had at an address. */
export const isFromWithin = (source: string, { allow_from }: Pick<PolicySpec, 'allow_from'>): boolean =>
  allow_from.length === 0 || allow_from.some((block) => inCidr(source, block) === true)

/** The issuer's clock may be ahead of ours by so much. */
const SKEW_SECONDS = 60

type LoginRules = Pick<
  PolicySpec,
  'fresh_login_max_age' | 'fresh_login_amr' | 'fresh_login_acr' | 'hardware_amr'
>

/**
 * Why a login is not good enough to act by, as a sentence for whom it is; undefined when it is. `now` is the ledger's.
 * With `hardware`, the second factor has to be bound to hardware.
 */
export function loginFault(
  { kind, auth_time, amr, acr, derived }: Pick<Actor, 'kind' | 'auth_time' | 'amr' | 'acr' | 'derived'>,
  rules: LoginRules,
  now: Date,
  { hardware = false } = {},
): string | undefined {
  const maxAge = rules.fresh_login_max_age
  if (kind !== 'human') return 'only a person may do this, and this login is that of a workload'
  // It has the proof of a login, and may be in anybody's hands.
  if (derived) return 'log in yourself: this token was made from another'
  if (auth_time === null) return 'log in again: your login does not say when you proved who you are'
  const age = Math.floor(now.getTime() / 1_000 - auth_time)
  if (age < -SKEW_SECONDS) return 'log in again: your login is dated in the future'
  if (age > maxAge) return `log in again: your login is older than the ${inWords(maxAge)} allowed`
  const wanted = hardware ? rules.hardware_amr : rules.fresh_login_amr
  if (wanted.length > 0 && !wanted.some((method) => amr.includes(method))) {
    const what = hardware ? 'a second factor bound to hardware' : 'a second factor'
    return `log in again with ${what} (${wanted.join(', ')})`
  }
  if (rules.fresh_login_acr.length > 0 && !rules.fresh_login_acr.includes(acr)) {
    return `log in again at a level of ${rules.fresh_login_acr.join(' or ')}`
  }
  return undefined
}

/** Without losing a second: it is the limit that the login was held to. */
function inWords(seconds: number): string {
  const [unit, size] =
    seconds % 3_600 === 0 ? ['hour', 3_600] : seconds % 60 === 0 ? ['minute', 60] : ['second', 1]
  const count = seconds / Number(size)
  return `${count} ${unit}${count === 1 ? '' : 's'}`
}

import type { Judgement, Planned, Sighting } from '../engine.ts'
import { extra, firstLook, GRANTS_KEPT } from '../survey.ts'
import type { Plan } from './role.ts'

export type Rights = {
  /** The roles it was given; with a note where it may hand one on. */
  groups: string[]
  /** By what they are on: `*.*`, `shop.*`, `table shop.orders`. Of objects, the first hundred. */
  grants: Record<string, string[]>
  objectCount: number
}

/** What is compared of an account, as the ledger may keep it. */
export type Traits = Rights & {
  /** Empty text is what an account has that was made without. */
  settings: Record<string, string>
  /** What it logs in by. */
  login: string
  /** Stands for its password and what else it may log in with, and is of no use for anything else. */
  password: string
}

export type Seen = Sighting & { traits: Traits }

/** What of an account is not as its lease's plan, or the first look at it, has it. */
export function judge({ enabled, traits }: Seen, plan: Planned, role: Plan): Judgement {
  const { hasOwnSql, first } = firstLook<Traits>(plan, role)
  const changes = [
    ...(enabled ? [] : ['it was locked']),
    ...loginChanges(traits, first, hasOwnSql),
    ...settingChanges(traits, first?.settings ?? (hasOwnSql ? traits.settings : settingsBy(plan, traits))),
    ...extraRights(traits, role, hasOwnSql ? (first ?? traits) : NOTHING_OF_ITS_OWN),
  ]
  return { changes, ...(first === undefined && changes.length === 0 ? { keep: traits } : {}) }
}

const NOTHING_OF_ITS_OWN: Rights = { groups: [], grants: {}, objectCount: 0 }

/** What accounts of ours log in by, on any server there is. */
const OURS = ['mysql_native_password', 'caching_sha2_password']

function loginChanges({ login, password }: Traits, first: Traits | undefined, hasOwnSql: boolean): string[] {
  if (first) return first.password === password ? [] : ['its password or way to log in was changed']
  return hasOwnSql || OURS.includes(login) ? [] : [`it was let in by ${login}`]
}

/** As our statements make it. The target may have had another `connection_limit` then, so only the role's own counts. */
function settingsBy({ role }: Planned, { settings }: Traits): Record<string, string> {
  const { max_user_connections: now = '' } = settings
  const limit = role.connection_limit
  return { max_user_connections: limit === undefined ? now : String(limit) }
}

function settingChanges({ settings }: Traits, before: Record<string, string>): string[] {
  return Object.keys(settings).flatMap((name) => {
    const [was = '', is = ''] = [before[name], settings[name]]
    return was === is ? [] : [`its ${name.toUpperCase()} was ${was || 'not set'} and is ${is || 'not set'}`]
  })
}

function extraRights(now: Rights, role: Plan, before: Rights): string[] {
  const groups = extra(now.groups, [...role.memberOf.map(withoutDefaultHost), ...before.groups])
  const { objectCount } = now
  const isMany = Math.max(objectCount, before.objectCount) > GRANTS_KEPT
  const places = Object.keys(now.grants).filter((place) => !isMany || !isObject(place))
  return [
    ...groups.map((name) => `it was put into ${name}`),
    ...places.flatMap((place) => extraOn(place, now.grants[place] ?? [], before.grants[place] ?? [])),
    ...(isMany && objectCount > before.objectCount ? [`it was given rights on ${objectCount} objects`] : []),
  ]
}

/** What may be put in its place counts even of many. */
const isObject = (place: string): boolean => !place.endsWith('.*') && !place.startsWith('the account ')

const withoutDefaultHost = (group: string): string => group.replace(/@%$/, '')

function extraOn(place: string, now: readonly string[], before: readonly string[]): string[] {
  const added = extra(now, before)
  return added.length === 0 ? [] : [`it was given ${added.join(', ')} on ${place}`]
}

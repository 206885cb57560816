import type { Actor } from '../../src/breakglass/actor.ts'

/** Everybody who has a part in the tests of the grant machine, or would like to. */

/** Who a person is, whichever way they came in, and the groups that their issuer says they are in. */
type Known = { human: string; groups: readonly string[]; kind?: 'workload'; mount?: string }

const EVERY_GROUP = ['oncall', 'owners', 'security', 'keepers', 'audit']

export const PEOPLE = {
  /** Asks. Could vote and review, were it not for her own request. */
  rita: { human: 'rita', groups: ['oncall', 'owners', 'audit'] },
  ann: { human: 'ann', groups: ['oncall'] },
  /** Ann again, by another mount, where she is in another group. */
  annAgain: { human: 'ann', groups: ['owners'], mount: 'auth/other/' },
  olga: { human: 'olga', groups: ['owners'] },
  both: { human: 'both', groups: ['oncall', 'owners', 'audit'] },
  sam: { human: 'sam', groups: ['security'] },
  otto: { human: 'otto', groups: ['keepers'] },
  vera: { human: 'vera', groups: ['audit'] },
  bot: { human: '', groups: EVERY_GROUP, kind: 'workload' },
  eve: { human: 'eve', groups: [] },
} as const satisfies Record<string, Known>

export type Name = keyof typeof PEOPLE
export const NAMES = Object.keys(PEOPLE) as Name[]

export const known = (name: Name): Known => PEOPLE[name]

/**
 * How somebody is logged in: just now with a key of hardware; just now with a second factor that could be copied; a
 * second longer ago than policy lets it be; by a password alone; or by an issuer that does not say when.
 */
export const LOGINS = ['key', 'soft', 'aged', 'password', 'undated'] as const
export type Login = (typeof LOGINS)[number]

const METHODS: Record<Login, string[]> = {
  key: ['pwd', 'hwk'],
  soft: ['pwd', 'otp'],
  aged: ['pwd', 'hwk'],
  password: ['pwd'],
  undated: ['pwd', 'hwk'],
}

const FRESH_SECONDS = 300

/** What the door would have made of their login. `requester` is the id of whoever asks in this run. */
export function actorFor(name: Name, login: Login, now: Date, requester: string): Actor {
  const { human, groups, kind = 'human', mount = 'auth/oidc/' } = known(name)
  const isRequester = name === 'rita'
  const age = login === 'aged' ? FRESH_SECONDS + 1 : 0
  return {
    id: isRequester ? requester : `entity-${name}`,
    display_name: name,
    subject: name,
    mount,
    kind,
    groups,
    person: human === '' ? '' : `https://issuer.example#${isRequester ? requester : human}`,
    amr: METHODS[login],
    acr: '',
    auth_time: login === 'undated' ? null : Math.floor(now.getTime() / 1_000) - age,
    accessor: `accessor-${name}`,
    source_address: '192.0.2.7',
  }
}

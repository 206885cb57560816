import type { Actor } from '../../src/breakglass/actor.ts'

/** Everybody who has a part in the tests of the grant machine, or would like to. */

/** Who a person is, whichever way they came in, and the groups that their issuer says they are in. */
type Known = { human: string; groups: readonly string[]; kind?: 'workload'; mount?: string }

const EVERY_GROUP = ['oncall', 'owners', 'security', 'keepers', 'audit']
const OTHER_MOUNT = 'auth/other/'

export const PEOPLE = {
  /** Asks. Could vote and review, were it not for her own request. */
  rita: { human: 'rita', groups: ['oncall', 'owners', 'audit'] },
  /** Rita again, by another mount: under another id. */
  ritaAgain: { human: 'rita', groups: ['oncall', 'owners', 'audit'], mount: OTHER_MOUNT },
  ann: { human: 'ann', groups: ['oncall'] },
  /** Ann again, by another mount, where she is in another group. */
  annAgain: { human: 'ann', groups: ['owners'], mount: OTHER_MOUNT },
  olga: { human: 'olga', groups: ['owners'] },
  both: { human: 'both', groups: ['oncall', 'owners', 'audit'] },
  sam: { human: 'sam', groups: ['security'] },
  sven: { human: 'sven', groups: ['security'] },
  otto: { human: 'otto', groups: ['keepers'] },
  vera: { human: 'vera', groups: ['audit'] },
  bot: { human: '', groups: EVERY_GROUP, kind: 'workload' },
  eve: { human: 'eve', groups: [] },
} as const satisfies Record<string, Known>

export type Name = keyof typeof PEOPLE
export const NAMES = Object.keys(PEOPLE) as Name[]

export const known = (name: Name): Known => PEOPLE[name]

export const isSame = (a: Name, b: Name): boolean => known(a).human === known(b).human
export const isAmong = (names: readonly Name[], name: Name): boolean => names.some((one) => isSame(one, name))

/**
 * How somebody is logged in: just now with a key of hardware, or so long ago with one that it is just good enough; just
 * now with a second factor that could be copied; a second longer ago than policy lets it be; by a password alone; by an
 * issuer that does not say when; or by one that dates it in the future.
 */
export const LOGINS = ['key', 'edge', 'soft', 'aged', 'password', 'undated', 'future'] as const
export type Login = (typeof LOGINS)[number]

const METHODS: Partial<Record<Login, string[]>> = { soft: ['pwd', 'otp'], password: ['pwd'] }

export const FRESH_SECONDS = 300
const AGES: Partial<Record<Login, number>> = { edge: FRESH_SECONDS, aged: FRESH_SECONDS + 1, future: -61 }

/** Everybody is somebody else to each request: what is learnt of a person for one says nothing about another. */
export const idOf = (name: Name, number: number): string => `${name}-${number}`

/** What the door would have made of their login. */
export function actorFor(name: Name, login: Login, now: Date, number: number): Actor {
  const { human, groups, kind = 'human', mount = 'auth/oidc/' } = known(name)
  return {
    id: idOf(name, number),
    display_name: name,
    subject: name,
    mount,
    kind,
    groups,
    person: human === '' ? '' : `https://issuer.example#${human}-${number}`,
    amr: METHODS[login] ?? ['pwd', 'hwk'],
    acr: '',
    auth_time: login === 'undated' ? null : Math.floor(now.getTime() / 1_000) - (AGES[login] ?? 0),
    accessor: `accessor-${name}`,
    source_address: '192.0.2.7',
  }
}

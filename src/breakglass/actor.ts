import { type Principal, personOf, principalId } from '../policy/principal.ts'

/** Somebody who does something to a grant, as proved when they did it: names and groups change, this does not. */
export type Actor = {
  /** The same over all logins of one subject. */
  id: string
  display_name: string
  subject: string
  mount: string
  /** The mount that knows them as this subject, where they came in by another. */
  home?: string
  kind: 'human' | 'workload'
  groups: readonly string[]
  /** The issuer and whom it calls `sub`; '' where it says neither. One person may come in by several mounts. */
  person: string
  amr: readonly string[]
  acr: string
  /** Of the mount, by which they logged in; '' where it has none. */
  role?: string
  /** Seconds since 1970; null when the issuer did not say. */
  auth_time: number | null
  accessor: string
  source_address: string
  /** Their token was made from that of the login, by whoever held it. */
  derived?: true
}

/** Out of the proved principal alone: nothing that a body says makes an actor. */
export function actorOf(principal: Principal, sourceAddress: string): Actor {
  const { identity, accessor, derived } = principal
  const { kind, mount, home, subject, groups, metadata, amr = [], acr = '', authTime = null } = identity
  return {
    id: principalId(principal),
    display_name: shownName(principal),
    subject,
    mount,
    ...(home !== undefined && { home }),
    kind,
    groups,
    person: personOf(identity),
    amr,
    acr,
    role: metadata.role ?? '',
    auth_time: authTime,
    accessor,
    source_address: sourceAddress,
    ...(derived && { derived }),
  }
}

const MAX_NAME_CHARACTERS = 64

/**
 * `Ada Okafor (oidc-ada)`, where the login itself says how a person is called. Names are the provider's word and may be
 * anybody's choice, so what stands in the brackets tells people apart, and no name can have brackets of its own.
 */
export function shownName({ identity: { kind, metadata }, displayName }: Principal): string {
  const name = kind === 'human' ? tame(metadata.name ?? '') : ''
  return name === '' ? displayName : `${name} (${displayName})`
}

/** Without what is not seen or turns the text about, and without brackets of any script. */
const tame = (name: string): string =>
  [
    ...name
      .normalize('NFKC')
      .replace(/\s+/g, ' ')
      .replace(/[\p{C}\p{DI}\p{Ps}\p{Pe}]/gu, ''),
  ]
    .slice(0, MAX_NAME_CHARACTERS)
    .join('')
    .trim()

/** Whoever comes in by another mount, or by another login, is no other person. */
export const isSamePerson = (a: Pick<Actor, 'id' | 'person'>, b: Pick<Actor, 'id' | 'person'>): boolean =>
  a.id === b.id || (a.person !== '' && a.person === b.person)

/** Whose word it is that they are who they are: it takes each of them. */
export const mountsOf = ({ mount, home }: Pick<Actor, 'mount' | 'home'>): string[] =>
  home === undefined ? [mount] : [mount, home]

/** What everybody who may see a grant sees of who did something. */
export const shownActor = ({ display_name, subject, mount, groups }: Actor) => ({
  display_name,
  subject,
  mount,
  groups,
})

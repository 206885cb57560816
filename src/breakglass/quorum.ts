/** Whose yes it takes, as a tree; the sets are a policy's. */
export type Quorum =
  | { all_of: readonly Quorum[] }
  | { any_of: readonly Quorum[] }
  | { set: string; count: number }

/** Somebody who has voted, and the sets they are in. `person` is the same whatever login they came by. */
export type Voter = { person: string; sets: readonly string[] }

const MAX_NODES = 40
const MAX_DEPTH = 6
/** Ways in which a quorum may be met, and yeses in one of them: what is beyond it nobody could read either. */
const MAX_WAYS = 64
const MAX_YESES = 20

/** Each way in which it may be met: the sets of which one yes each is needed. */
function waysOf(quorum: Quorum): string[][] {
  if ('set' in quorum) return [new Array<string>(quorum.count).fill(quorum.set)]
  if ('any_of' in quorum) return quorum.any_of.flatMap(waysOf)
  return quorum.all_of.reduce<string[][]>(
    (ways, part) => {
      const more = waysOf(part)
      return ways.flatMap((way) => more.map((other) => [...way, ...other]))
    },
    [[]],
  )
}

/** Why a quorum is not taken, as the second half of a sentence; `sets` are those of the policy. */
export function quorumFault(quorum: Quorum, sets: ReadonlySet<string>): string | undefined {
  const leaves = leavesOf(quorum)
  const unknown = leaves.find(({ set }) => !sets.has(set))
  if (unknown) return `names the set "${unknown.set}", which is not in sets`
  if (nodes(quorum) > MAX_NODES || depth(quorum) > MAX_DEPTH) return 'is too large'
  if (countWays(quorum) > MAX_WAYS) return `can be met in more than ${MAX_WAYS} ways`
  if (waysOf(quorum).some((way) => way.length > MAX_YESES)) return `takes more than ${MAX_YESES} people`
  return undefined
}

export const childrenOf = (quorum: Quorum): readonly Quorum[] =>
  'set' in quorum ? [] : 'any_of' in quorum ? quorum.any_of : quorum.all_of

const nodes = (quorum: Quorum): number => childrenOf(quorum).reduce((sum, child) => sum + nodes(child), 1)
const depth = (quorum: Quorum): number => 1 + Math.max(0, ...childrenOf(quorum).map(depth))

const countWays = (quorum: Quorum): number => {
  if ('set' in quorum) return 1
  const ways = childrenOf(quorum).map(countWays)
  return 'any_of' in quorum ? ways.reduce((a, b) => a + b, 0) : ways.reduce((a, b) => a * b, 1)
}

export const leavesOf = (quorum: Quorum): { set: string; count: number }[] =>
  'set' in quorum ? [quorum] : childrenOf(quorum).flatMap(leavesOf)

/**
 * Whether these yeses are enough. A person counts once, whatever sets they are in and however often they come: where
 * one of each of two sets is asked for, it takes two people.
 */
export function isMet(quorum: Quorum | null, minApprovers: number, voters: readonly Voter[]): boolean {
  const people = peopleOf(voters)
  const counted = quorum
    ? people.filter(({ sets }) => leavesOf(quorum).some(({ set }) => sets.includes(set)))
    : []
  if (counted.length < minApprovers) return false
  return quorum === null || waysOf(quorum).some((way) => seatsFilled(way, counted) === way.length)
}

const peopleOf = (voters: readonly Voter[]): Voter[] => [
  ...new Map(voters.map((voter) => [voter.person, voter])).values(),
]

/** How many people a quorum takes and how many of them have said yes, of the way to meet it that lacks the fewest. */
export function progressOf(
  quorum: Quorum,
  voters: readonly Voter[],
): { needed: number; have: number; met: boolean } {
  const people = peopleOf(voters)
  const [nearest] = waysOf(quorum)
    .map((way) => ({ needed: way.length, have: seatsFilled(way, people) }))
    .sort((a, b) => a.needed - a.have - (b.needed - b.have) || a.needed - b.needed)
  const { needed, have } = nearest ?? { needed: 0, have: 0 }
  return { needed, have, met: have === needed }
}

/** How many of those asked for can each be somebody else: a bipartite matching, by augmenting paths. */
function seatsFilled(way: readonly string[], people: readonly Voter[]): number {
  const filledBy = new Map<number, number>()
  const place = (person: number, tried: Set<number>): boolean =>
    way.some((set, seat) => {
      if (tried.has(seat) || !people[person]?.sets.includes(set)) return false
      tried.add(seat)
      const sitting = filledBy.get(seat)
      if (sitting !== undefined && !place(sitting, tried)) return false
      filledBy.set(seat, person)
      return true
    })
  people.forEach((_, person) => {
    place(person, new Set())
  })
  return filledBy.size
}

/** "1 of security-oncall and 1 of service-owner, 2 people". */
export function quorumWords(quorum: Quorum | null, minApprovers: number): string {
  if (quorum === null && minApprovers === 0) return 'no approval'
  const people = minApprovers > 0 ? `${minApprovers} ${minApprovers === 1 ? 'person' : 'people'}` : ''
  return [quorum ? words(quorum, true) : '', people].filter((part) => part !== '').join(', ')
}

function words(quorum: Quorum, outermost: boolean): string {
  if ('set' in quorum) return `${quorum.count} of ${quorum.set}`
  const text = childrenOf(quorum)
    .map((child) => words(child, false))
    .join('any_of' in quorum ? ' or ' : ' and ')
  return outermost || childrenOf(quorum).length < 2 ? text : `(${text})`
}

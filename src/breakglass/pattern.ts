/** Tickets are no longer than this, so what a pattern may cost has an end. */
export const MAX_TICKET_CHARACTERS = 128
const MAX_PATTERN_CHARACTERS = 200
/** Ways through a pattern that a backtracking matcher may have to try; each is at most as long as a ticket. */
const MAX_WAYS = 100_000

const ESCAPES = /^[dDwWsSbB]|^[^A-Za-z0-9]/
const QUANTIFIER = /^(?:[*+?]|\{(\d{1,3})(,(\d{0,3}))?\})\??/

/**
 * Why a ticket pattern is not taken, as the second half of a sentence; undefined when it is good. Only what every
 * matcher knows is taken, and only as much of it as no ticket can make slow.
 */
export function patternFault(pattern: string): string | undefined {
  if (pattern.length > MAX_PATTERN_CHARACTERS) return `is longer than ${MAX_PATTERN_CHARACTERS} characters`
  const ways = waysThrough(pattern)
  if (typeof ways === 'string') return ways
  if (ways > MAX_WAYS) return 'could take too long to match: use fewer or narrower repetitions'
  try {
    new RegExp(`^(?:${pattern})$`)
    return undefined
  } catch {
    return 'is no regular expression'
  }
}

/** The whole ticket has to match. */
export const matchesPattern = (pattern: string, ticket: string): boolean =>
  ticket.length <= MAX_TICKET_CHARACTERS && new RegExp(`^(?:${pattern})$`).test(ticket)

/** Of an alternative, and of those beside it that are done. */
type Group = { here: number; others: number }

/** In how many ways a text may be walked through the pattern at most; text is why the pattern cannot be judged. */
function waysThrough(pattern: string): number | string {
  const open: Group[] = []
  let group: Group = { here: 1, others: 0 }
  for (let rest = pattern; rest !== ''; ) {
    const atom = atomOf(rest)
    if (atom === undefined) return 'has parts that are not taken here: look-around, references, named groups'
    rest = rest.slice(atom.length)
    let ways = 1
    if (OPENS.has(atom)) {
      open.push(group)
      group = { here: 1, others: 0 }
      continue
    }
    if (atom === ')') {
      const outer = open.pop()
      if (!outer) return 'has a parenthesis too many'
      ways = group.others + group.here
      group = outer
    }
    const quantifier = quantifierAt(rest)
    rest = rest.slice(quantifier.length)
    group =
      atom === '|'
        ? { here: 1, others: group.others + group.here }
        : { ...group, here: group.here * repeated(ways, quantifier) }
    if (group.here > MAX_WAYS) return group.here
  }
  return open.length > 0 ? 'has a parenthesis that is not closed' : group.others + group.here
}

const OPENS = new Set(['(', '(?:'])

/** The next piece: a class, an escape, a parenthesis or one character. */
function atomOf(rest: string): string | undefined {
  const first = rest[0] as string
  if (first === '\\') return ESCAPES.test(rest.slice(1)) ? rest.slice(0, 2) : undefined
  if (first === '[') return /^\[(?:\\.|[^\]\\])*\]/.exec(rest)?.[0]
  if (first !== '(') return first
  if (rest.startsWith('(?:')) return '(?:'
  return rest.startsWith('(?') ? undefined : '('
}

const quantifierAt = (rest: string): string => QUANTIFIER.exec(rest)?.[0] ?? ''

function repeated(ways: number, quantifier: string): number {
  if (quantifier === '') return ways
  const [text, least, isRange, most] = QUANTIFIER.exec(quantifier) ?? ['']
  const [min, max] =
    least === undefined
      ? [text.startsWith('+') ? 1 : 0, text.startsWith('?') ? 1 : MAX_TICKET_CHARACTERS]
      : [Number(least), isRange === undefined ? Number(least) : Number(most || MAX_TICKET_CHARACTERS)]
  return (Math.abs(max - min) + 1) * ways ** Math.max(max, 1)
}

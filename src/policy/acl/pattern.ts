/** A rule's path, ready to be held against the paths of requests. */
export type Pattern = {
  /** As written, without leading slashes. Two rules with the same text are about the same paths. */
  text: string
  /** Neither `+` nor `*`: it covers its own text only. */
  exact: boolean
  /** The literal text in front of the first `+` or of the `*`. */
  head: string
  /** Ends in `*`. */
  prefix: boolean
  /** What follows the head from the first `+` on, without the `*`; undefined for a `+`. Empty without any `+`. */
  rest: readonly (string | undefined)[]
  /** How many segments are a `+`. */
  wildcards: number
}

/** Longer than any path that a request can name. */
const MAX_PATTERN_LENGTH = 1_024

/** Why a pattern is refused and the index of what is wrong, or undefined when it is good. */
export function patternFault(text: string): { index: number; reason: string } | undefined {
  if (text.length > MAX_PATTERN_LENGTH)
    return { index: MAX_PATTERN_LENGTH, reason: `longer than ${MAX_PATTERN_LENGTH} characters` }
  const both = text.indexOf('+*')
  if (both >= 0) return { index: both, reason: "invalid use of wildcards ('+*' is forbidden)" }
  const star = text.indexOf('*')
  // Vault takes such a star, and a plus at the start of a word, for itself: the rule would silently match nothing.
  if (star >= 0 && star < text.length - 1)
    return { index: star, reason: "invalid use of wildcards ('*' is only allowed at the end)" }
  const plus = /(?:^|\/)\+(?=[^/])/.exec(text)
  if (plus)
    return {
      index: plus.index + plus[0].length - 1,
      reason: "invalid use of wildcards ('+' stands for a whole segment)",
    }
  return undefined
}

/** `written` must be free of faults. */
export function patternOf(written: string): Pattern {
  const text = written.replace(/^\/+/, '')
  const prefix = text.endsWith('*')
  const body = prefix ? text.slice(0, -1) : text
  const first = /(?:^|\/)\+(?=\/|$)/.exec(body)
  if (!first) return { text, exact: !prefix, head: body, prefix, rest: [], wildcards: 0 }
  const headLength = first.index + first[0].length - 1
  const rest = body
    .slice(headLength)
    .split('/')
    .map((segment) => (segment === '+' ? undefined : segment))
  const wildcards = rest.filter((segment) => segment === undefined).length
  return { text, exact: false, head: body.slice(0, headLength), prefix, rest, wildcards }
}

/**
 * Vault's priority among patterns, for `sort`: the one that counts first comes first. The later the first wildcard the
 * better; then one without `*`, with fewer `+`, longer, and last, only so that there is an order, greater as text.
 */
export function byPriority(a: Pattern, b: Pattern): number {
  const [lengthA, lengthB] = [bodyLength(a), bodyLength(b)]
  return (
    b.head.length - a.head.length ||
    Number(a.prefix) - Number(b.prefix) ||
    a.wildcards - b.wildcards ||
    lengthB - lengthA ||
    (a.text < b.text ? 1 : a.text > b.text ? -1 : 0)
  )
}

const bodyLength = ({ text, prefix }: Pattern): number => text.length - Number(prefix)

/** Whether the pattern covers the path. A `+` is any one segment, an empty one too. */
export function covers({ exact, head, prefix, rest }: Pattern, path: string): boolean {
  if (exact) return path === head
  if (!path.startsWith(head)) return false
  return rest.length === 0 || coversRest(rest, prefix, path, head.length)
}

/** Walked, not split: this runs for every pattern that shares its head with the path. */
function coversRest(
  rest: readonly (string | undefined)[],
  prefix: boolean,
  path: string,
  start: number,
): boolean {
  let from = start
  for (let i = 0; i < rest.length; i++) {
    const segment = rest[i]
    const last = i === rest.length - 1
    if (last && prefix) return segment !== undefined && path.startsWith(segment, from)
    const slash = path.indexOf('/', from)
    const to = slash < 0 ? path.length : slash
    if (segment !== undefined && (to - from !== segment.length || !path.startsWith(segment, from)))
      return false
    if (last) return to === path.length
    if (slash < 0) return false
    from = to + 1
  }
  return false
}

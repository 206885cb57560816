import { byPriority, covers, type Pattern } from './pattern.ts'

/** Finds what is filed under the patterns that cover a path, best pattern first. */
export type RuleIndex<T> = {
  /** What is filed under exactly this path. */
  exact(path: string): T | undefined
  /** The first defined answer of `visit`, over every other pattern that covers the path but not `except`. */
  first<R>(path: string, except: string | undefined, visit: (filed: T) => R | undefined): R | undefined
}

type Filed<T> = { pattern: Pattern; filed: T }

/** Patterns must differ in their text. */
export function indexRules<T>(entries: readonly Filed<T>[]): RuleIndex<T> {
  const exact = new Map<string, T>()
  const byHead = new Map<string, Filed<T>[]>()
  for (const entry of [...entries].sort((a, b) => byPriority(a.pattern, b.pattern))) {
    const { pattern, filed } = entry
    if (pattern.exact) {
      exact.set(pattern.text, filed)
      continue
    }
    const sameHead = byHead.get(pattern.head)
    if (sameHead) sameHead.push(entry)
    else byHead.set(pattern.head, [entry])
  }
  // The patterns came in their order, which is by length of head first: looking heads up in it keeps to it.
  const lengths = [...new Set([...byHead.keys()].map((head) => head.length))]

  return {
    exact: (path) => exact.get(path),
    first(path, except, visit) {
      for (const length of lengths) {
        const sameHead = length <= path.length ? byHead.get(path.slice(0, length)) : undefined
        const answer = sameHead && firstOf(sameHead, path, except, visit)
        if (answer !== undefined) return answer
      }
      return undefined
    },
  }
}

function firstOf<T, R>(
  entries: readonly Filed<T>[],
  path: string,
  except: string | undefined,
  visit: (filed: T) => R | undefined,
): R | undefined {
  for (const { pattern, filed } of entries) {
    if (!covers(pattern, path) || (except !== undefined && covers(pattern, except))) continue
    const answer = visit(filed)
    if (answer !== undefined) return answer
  }
  return undefined
}

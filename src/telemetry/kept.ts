/**
 * Keeps an answer for `ms`, and while one is being fetched gives it to all who ask: however many look at the numbers,
 * what they are read from is asked once. A failure is kept as well, so that a source in trouble is left alone.
 */
export function kept<Answer>(
  ms: number,
  fetch: () => Promise<Answer>,
  nowMs: () => number = () => performance.now(),
): () => Promise<Answer> {
  let latest: Promise<Answer> | undefined
  let freshUntilMs = Number.NEGATIVE_INFINITY
  return () => {
    if (latest && nowMs() < freshUntilMs) return latest
    freshUntilMs = Number.POSITIVE_INFINITY
    const fetching = fetch().finally(() => {
      freshUntilMs = nowMs() + ms
    })
    latest = fetching
    return fetching
  }
}

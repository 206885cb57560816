/** Resolves after `ms`, or at once when the signal says that nobody waits any longer. Never rejects. */
export function pause(ms: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal?.aborted) return resolve()
    const end = () => {
      clearTimeout(timer)
      signal?.removeEventListener('abort', end)
      resolve()
    }
    const timer = setTimeout(end, ms)
    signal?.addEventListener('abort', end)
  })
}

/** Waits for the promise, but no longer than this; false when it was not settled by then. Its rejection is passed on. */
export async function within(promise: Promise<unknown>, ms: number): Promise<boolean> {
  const timer = new AbortController()
  try {
    return await Promise.race([promise.then(() => true), pause(ms, timer.signal).then(() => false)])
  } finally {
    timer.abort()
  }
}

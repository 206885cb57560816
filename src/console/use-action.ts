import { useState } from 'react'

export type Action<A extends unknown[]> = {
  run: (...args: A) => void
  running: boolean
  error: unknown
  clear: () => void
}

/**
 * Something a person does that the server may refuse: runs once at a time, keeps the refusal. What it answers goes to
 * `onDone` and nowhere else, so an answer that holds a secret is in no cache.
 */
export function useAction<A extends unknown[], T>(
  act: (...args: A) => Promise<T>,
  { onDone, onFailed }: { onDone?: (answer: T) => void; onFailed?: (error: unknown) => void } = {},
): Action<A> {
  const [running, setRunning] = useState(false)
  const [error, setError] = useState<unknown>(undefined)

  async function attempt(args: A): Promise<void> {
    setRunning(true)
    setError(undefined)
    try {
      const answer = await act(...args)
      onDone?.(answer)
    } catch (refusal) {
      setError(refusal)
      onFailed?.(refusal)
    } finally {
      setRunning(false)
    }
  }

  return {
    run: (...args) => {
      if (!running) void attempt(args)
    },
    running,
    error,
    clear: () => setError(undefined),
  }
}

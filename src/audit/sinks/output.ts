/** An open sink. One call at a time. */
export type Output = {
  /**
   * Resolves when the sink has the lines, whole and for good. Rejects otherwise: then it may have any part of them, and
   * the output is to be closed and opened anew before they are given again.
   */
  take(lines: readonly string[], signal: AbortSignal): Promise<void>
  close(): Promise<void>
}

/** Takes everything, and keeps nothing. */
export const discarding: Output = { take: async () => {}, close: async () => {} }

/** An answer per item: batches fail item by item, never as a whole because of one. */
export type Result<T> = { ok: true; value: T } | { ok: false; error: Error }

export const ok = <T>(value: T): Result<T> => ({ ok: true, value })

export const failed = (error: unknown): { ok: false; error: Error } => ({
  ok: false,
  error: error instanceof Error ? error : new Error(String(error)),
})

/** Every failure a caller may see, and its HTTP status. Callers match the code; only the dialect's texts are fixed. */
const HTTP_STATUS = {
  invalid_request: 400,
  permission_denied: 403,
  not_found: 404,
  unsupported_operation: 405,
  conflict: 409,
  body_too_large: 413,
  unsupported_media_type: 415,
  too_many_requests: 429,
  target_failed: 500,
  unavailable: 503,
} as const

export type ErrorCode = keyof typeof HTTP_STATUS

/** What the wire carries besides the text of an error. */
export type ErrorDetails = {
  /** After so many whole seconds it is worth trying again. */
  retryAfterSeconds?: number
  data?: Readonly<Record<string, unknown>>
}

/** An error meant for the caller. `message` is what the wire carries; an empty one stands for `{"errors":[]}`. */
export class BrokerError extends Error {
  readonly code: ErrorCode
  readonly details: ErrorDetails

  constructor(code: ErrorCode, message: string, options: { cause?: unknown } & ErrorDetails = {}) {
    const { cause, ...details } = options
    super(message, { cause })
    this.name = 'BrokerError'
    this.code = code
    this.details = details
  }
}

/** The status for any thrown value; what is not a `BrokerError` is our own fault. */
export const httpStatus = (error: unknown): number =>
  error instanceof BrokerError ? HTTP_STATUS[error.code] : 500

/** The text of any thrown value, for logs and for the ledger's `last_error`. */
export const messageOf = (error: unknown): string => (error instanceof Error ? error.message : String(error))

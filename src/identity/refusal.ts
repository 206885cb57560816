import { BrokerError, type ErrorCode } from '../lib/errors.ts'

/** A login that failed a check, by any method. The message is for the wire; `reason` and `detail` are for audit and logs only. */
export class RefusedLogin<Reason extends string = string> extends BrokerError {
  readonly reason: Reason
  /** Says what failed where; never holds a proof, nor a claim's value. */
  readonly detail: string

  constructor(
    reason: Reason,
    [code, text]: readonly [ErrorCode, string],
    detail = '',
    options?: { cause?: unknown },
  ) {
    super(code, text, options)
    this.name = new.target.name
    this.reason = reason
    this.detail = detail
  }
}

/** Why a login was refused: for audit and logs, never for the caller. Undefined for other errors. */
export const refusalOf = (error: unknown): { reason: string; detail: string } | undefined =>
  error instanceof RefusedLogin ? { reason: error.reason, detail: error.detail } : undefined

import pg from 'pg'
import { EngineError, type EngineErrorKind } from '../engine.ts'
import { isConnectionFault } from '../faults.ts'

/** What an error of the driver means for us. https://www.postgresql.org/docs/current/errcodes-appendix.html */
const KINDS: readonly (readonly [RegExp, EngineErrorKind])[] = [
  // Login refused, or not allowed.
  [/^28|^42501$/, 'denied'],
  // No connection, none free, shutting down, or a standby that took the primary's place.
  [/^08|^53|^57P|^25006$|^25P0[34]$/, 'unreachable'],
  // An object depends on it, it is in use, a lock or a statement took too long, a deadlock, a lost race.
  [/^2BP01$|^55|^57014$|^40/, 'blocked'],
]
const LOST_RACE = /tuple concurrently (updated|deleted)/

type ServerError = pg.DatabaseError & { code: string }

/** An error that the server itself answered with, to a statement or a login. */
export const isServerError = (error: unknown): error is ServerError =>
  error instanceof pg.DatabaseError && error.code !== undefined

export const isLoginRefused = (error: unknown): boolean => isServerError(error) && error.code.startsWith('28')

/** Two sessions touched the same catalog row: not a fault of the statement, and worth one more try. */
export const isLostRace = (error: unknown): boolean =>
  isServerError(error) && (/^40/.test(error.code) || LOST_RACE.test(error.message))

/** Whether a statement is at fault, and not the connection: only then is its batch worth another try. */
export const isStatementFault = (error: unknown): boolean =>
  error instanceof EngineError
    ? error.kind !== 'unreachable'
    : isServerError(error) && kindOf(error) !== 'unreachable'

function kindOf(error: ServerError): EngineErrorKind {
  if (LOST_RACE.test(error.message)) return 'blocked'
  return KINDS.find(([codes]) => codes.test(error.code))?.[1] ?? 'failed'
}

const isDriverError = (error: Error): boolean => error instanceof pg.DatabaseError

/** Without a `cause`: the driver's error holds the statement, and that holds the verifier. */
export function toEngineError(error: unknown, doing?: string): EngineError {
  if (error instanceof EngineError) return error
  const prefix = doing ? `${doing}: ` : ''
  if (!isServerError(error)) {
    const message = error instanceof Error ? error.message : String(error)
    const kind = isConnectionFault(error, isDriverError) ? 'unreachable' : 'failed'
    return new EngineError(kind, `${prefix}${message || 'the connection failed'}`)
  }
  const detail = error.detail ? ` (${error.detail.replaceAll('\n', '; ')})` : ''
  return new EngineError(kindOf(error), `${prefix}${withoutVerifier(error.message + detail)} [${error.code}]`)
}

const withoutVerifier = (text: string): string => text.replace(/SCRAM-SHA-256\$[^\s'"]*/g, '[verifier]')

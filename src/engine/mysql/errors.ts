import { EngineError, type EngineErrorKind } from '../engine.ts'
import { isConnectionFault } from '../faults.ts'

/** Someone else's lock or load: what failed for many will fail for each of them. */
const WAITED_TOO_LONG = [1205, 1213, 1317, 1969, 3024]

/** What the server's error numbers mean for us; MySQL's and MariaDB's differ above 1900. */
const KINDS: readonly (readonly [readonly number[], EngineErrorKind])[] = [
  // Login refused, locked or expired; a right is missing; a user or its sessions are another's.
  [[1044, 1045, 1095, 1130, 1142, 1143, 1227, 1370, 1410, 1698, 1820, 1862, 3118, 4151], 'denied'],
  // No connection left, a node that is not ready, shutting down, killed, a lost conversation, a standby that took the
  // primary's place.
  [
    [
      1040, 1047, 1053, 1077, 1079, 1129, 1152, 1153, 1158, 1159, 1160, 1161, 1203, 1226, 1792, 1836, 1927,
      3169,
    ],
    'unreachable',
  ],
  // A lock or a statement took too long, or something holds the account.
  [[...WAITED_TOO_LONG, 3058, 4006], 'blocked'],
]

export const isWait = (error: unknown): boolean =>
  isServerError(error) && WAITED_TOO_LONG.includes(error.errno)

/** The session that was to be ended is gone. */
export const NO_SUCH_THREAD = 1094

type ServerError = Error & { errno: number; sqlState: string; sqlMessage: string }

/** An error that the server itself answered with; the driver's own have no SQL state. */
export const isServerError = (error: unknown): error is ServerError =>
  error instanceof Error && typeof (error as Partial<ServerError>).sqlState === 'string'

/** The credentials may have been changed. */
export const isLoginRefused = (error: unknown): boolean =>
  isServerError(error) && [1045, 1698].includes(error.errno)

/** The account may not log in as things are: a wrong password, or one that is locked. */
export const isNoEntry = (error: unknown): boolean =>
  isServerError(error) && [1045, 1698, 1862, 3118, 4151].includes(error.errno)

/** An option of the server's forbids it. Some forbid everything, as on a primary that has just become a standby. */
const OPTION_PREVENTS = 1290

const kindOf = ({ errno, sqlMessage }: ServerError): EngineErrorKind => {
  if (errno === OPTION_PREVENTS && /read[-_]only|skip-grant-tables/.test(sqlMessage)) return 'unreachable'
  return KINDS.find(([codes]) => codes.includes(errno))?.[1] ?? 'failed'
}

/** Whether a statement is at fault, and not the connection: only then is its batch worth another try. */
export const isStatementFault = (error: unknown): boolean =>
  error instanceof EngineError
    ? error.kind !== 'unreachable'
    : isServerError(error) && kindOf(error) !== 'unreachable'

/** Without a `cause`: the driver's error holds the statement, and that holds the password's hash. */
export function toEngineError(error: unknown, doing?: string): EngineError {
  if (error instanceof EngineError) return error
  const prefix = doing ? `${doing}: ` : ''
  if (isServerError(error)) {
    return new EngineError(kindOf(error), `${prefix}${withoutHash(error.sqlMessage)} [${error.errno}]`)
  }
  const message = error instanceof Error ? error.message : String(error)
  const kind = isConnectionFault(error, isDriverError) ? 'unreachable' : 'failed'
  return new EngineError(kind, `${prefix}${message || 'the connection failed'}`)
}

const isDriverError = (error: Error): boolean =>
  /^(PROTOCOL|HANDSHAKE)_/.test((error as NodeJS.ErrnoException).code ?? '')

const withoutHash = (text: string): string =>
  text.replace(/\*[0-9A-F]{8,40}|\$A\$[0-9a-fA-F]{3}\$[^\s'"]*/g, '[hash]')

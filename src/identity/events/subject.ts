import { isObject } from '../jwt/fields.ts'

/** Whom an event is about, as its issuer names them: by one of the formats of RFC 9493 that can be told here. */
export type EventSubject =
  | { format: 'iss_sub'; iss: string; sub: string }
  | { format: 'email'; email: string }
  /** Something that no person here can be told by. */
  | { format: 'unknown' }

/** As subjects of logins are bounded. */
const MAX_SUBJECT_BYTES = 1_024

const isText = (value: unknown): value is string =>
  typeof value === 'string' && value !== '' && Buffer.byteLength(value) <= MAX_SUBJECT_BYTES

const UNKNOWN: EventSubject = { format: 'unknown' }

/**
 * `iss_sub`, `opaque` as what the mount's issuer calls somebody, `email`, and of a `complex` subject whom it names as the
 * user. Drafts before the final framework wrote `subject_type` and a dash.
 */
export function readSubject(value: unknown, issuer: string): EventSubject {
  if (!isObject(value)) return UNKNOWN
  const { subject_type: drafted } = value
  const format = value.format ?? (typeof drafted === 'string' ? drafted.replaceAll('-', '_') : undefined)
  // A complex subject of a draft names no format.
  if ((format === 'complex' || format === undefined) && isObject(value.user)) {
    return value.user.format === 'complex' ? UNKNOWN : readSubject({ ...value.user, user: undefined }, issuer)
  }
  const { iss, sub, id, email } = value
  if (format === 'iss_sub' && isText(iss) && isText(sub)) return { format, iss, sub }
  if (format === 'opaque' && isText(id)) return { format: 'iss_sub', iss: issuer, sub: id }
  if (format === 'email' && isText(email)) return { format, email }
  return UNKNOWN
}

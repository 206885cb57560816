import { change, type Db } from './db.ts'

const DROPPED_AT_ONCE = 1_000

/** Takes away rows whose time is over, the oldest first and not all at once; says how many. */
export const dropExpired = (
  db: Db,
  table:
    | 'approle_secret'
    | 'console_session'
    | 'disabled_person'
    | 'oidc_state'
    | 'security_event'
    | 'signed_out_person'
    | 'webauthn_enrolment'
    | 'webauthn_spent'
    | 'wrapped',
): Promise<number> =>
  change(
    db,
    `delete from leasehold.${table} where id in (
       select id from leasehold.${table} where expires_at <= leasehold.ledger_now()
       order by expires_at limit ${DROPPED_AT_ONCE} for update skip locked)`,
    [],
  )

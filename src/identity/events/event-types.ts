/** What comes of an event for the person it is about. */
export type EventEffect =
  /** They may not come in until they are enabled again. */
  | 'disable'
  | 'enable'
  /** Whoever comes in by their logins up to now does not any more. */
  | 'sign_out'
  /** Access of theirs is suspended, until people have looked at it. */
  | 'suspend'

type Payload = Readonly<Record<string, unknown>>

const RISC = 'https://schemas.openid.net/secevent/risc/event-type/'
const CAEP = 'https://schemas.openid.net/secevent/caep/event-type/'

const always =
  (...effects: EventEffect[]): Comes =>
  () =>
    effects

type Comes = (payload: Payload) => readonly EventEffect[]

const NONE: readonly EventEffect[] = []

/**
 * The event types of OpenID RISC and CAEP 1.0 that come to something. A credential that was found elsewhere is no
 * account that was closed: no word would ever come that it is open again, and its owner logs in with a new one.
 */
const EFFECTS: ReadonlyMap<string, Comes> = new Map<string, Comes>([
  [`${RISC}account-disabled`, always('disable')],
  [`${RISC}account-purged`, always('disable')],
  [`${RISC}account-enabled`, always('enable')],
  [`${RISC}credential-compromise`, always('sign_out', 'suspend')],
  [`${RISC}sessions-revoked`, always('sign_out')],
  [`${CAEP}session-revoked`, always('sign_out')],
  [
    `${CAEP}device-compliance-change`,
    ({ current_status: status }) => (status === 'not-compliant' ? ['suspend'] : NONE),
  ],
  [`${CAEP}risk-level-change`, ({ current_level: level }) => (level === 'HIGH' ? ['suspend'] : NONE)],
])

/** Nothing comes of types that are not known. */
export const effectsOf = (type: string, payload: Payload): readonly EventEffect[] =>
  EFFECTS.get(type)?.(payload) ?? NONE

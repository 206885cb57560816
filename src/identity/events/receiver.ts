import type { Ledger } from '../../ledger/db.ts'
import { dropExpired } from '../../ledger/expired.ts'
import type { SomePerson } from '../../ledger/grant-reviews.ts'
import { personOfSubject } from '../../ledger/identity-events.ts'
import type { Reading } from '../../ledger/reading.ts'
import { BrokerError } from '../../lib/errors.ts'
import { personOf } from '../../policy/principal.ts'
import type { AuthMounts } from '../auth-mounts.ts'
import { issuerOf, type JwtConfig } from '../jwt/config.ts'
import { type KeySource, openEventKeys } from '../jwt/key-source.ts'
import { LoginRefused } from '../jwt/refusal.ts'
import type { AuthMount } from '../login.ts'
import { openedFor } from '../opened.ts'
import { type EventEffect, effectsOf } from './event-types.ts'
import { SetRefused } from './refusal.ts'
import { type EventSubject, readSubject } from './subject.ts'
import { type VerifiedSet, verifySet } from './verify.ts'

/** What an issuer says of one person, once everything about it is proved. */
type IdentityEvent = Pick<VerifiedSet, 'id' | 'jti' | 'issuer' | 'issuedAt' | 'forgetAt'> & {
  /** The path of the mount where it came in. */
  mount: string
  /** The types of the events, as they were sent. */
  types: string[]
  /** Whom it names, for the record. */
  subject: string
  /** Undefined: nobody whom this mount knows, or of whom its issuer may not speak. */
  whom: SomePerson | undefined
  effects: ReadonlySet<EventEffect>
}

/** Takes Security Event Tokens for the mounts whose configuration says whom they are for. */
export type SecurityEvents = {
  /** Throws `SetRefused`, or 503 when the keys of the issuer cannot be had. */
  read(ask: {
    mount: Pick<AuthMount, 'id' | 'path'>
    token: string
    reading: Reading
  }): Promise<IdentityEvent>
  /** Forgets what is too old to come again. */
  dropExpired(): Promise<void>
}

export function createSecurityEvents(ledger: Ledger, mounts: AuthMounts): SecurityEvents {
  const keysOf = openedFor<JwtConfig, KeySource>(openEventKeys)

  return {
    async read({ mount, token, reading }) {
      const config = (await mounts.loginConfig(reading.revision, mount.id)) as JwtConfig | undefined
      // A configuration of before there were events has none of their fields.
      if (!config?.event_audience?.length) throw new SetRefused('off')
      const keys = keysOf(mount.id, config)
      const set = await verifySet(token, { mountId: mount.id, config, keys, now: reading.now }).catch(
        throwUnavailable,
      )
      const subject = subjectOf(set, config)
      return {
        ...set,
        mount: mount.path,
        types: set.events.map(({ type }) => type),
        subject: shown(subject),
        whom: await whomOf(ledger, { mountId: mount.id, config, subject }),
        effects: new Set(set.events.flatMap(({ type, payload }) => effectsOf(type, payload))),
      }
    },
    async dropExpired() {
      await Promise.all([dropExpired(ledger, 'security_event'), dropExpired(ledger, 'disabled_person')])
    },
  }
}

/** A transmitter tries again later; what it was told with 400 it would never say again. */
function throwUnavailable(error: unknown): never {
  if (!(error instanceof LoginRefused) || error.reason !== 'issuer_unreachable') throw error
  throw new BrokerError('unavailable', 'the keys of the issuer could not be fetched', { cause: error })
}

/** One token is about one subject: where its events name several, it is about none. */
function subjectOf({ subject, events }: VerifiedSet, config: JwtConfig): EventSubject {
  const named = subject === undefined ? events.map(({ payload }) => payload.subject) : [subject]
  const [first, ...more] = named.map((one) => readSubject(one, peoplesIssuer(config)))
  if (!first || more.some((other) => JSON.stringify(other) !== JSON.stringify(first))) {
    return { format: 'unknown' }
  }
  return first
}

/** Whose people log in by the mount: nobody else's are its to speak of. */
const peoplesIssuer = (config: JwtConfig): string => issuerOf(config) || config.event_issuer

const shown = (subject: EventSubject): string => {
  if (subject.format === 'iss_sub') return `${subject.iss}#${subject.sub}`
  return subject.format === 'email' ? subject.email : ''
}

/** By an address only where the mount's roles go by it: elsewhere an address may be anybody's to choose. */
async function whomOf(
  ledger: Ledger,
  { mountId, config, subject }: { mountId: string; config: JwtConfig; subject: EventSubject },
): Promise<SomePerson | undefined> {
  if (subject.format === 'email') {
    const issuer = peoplesIssuer(config)
    return personOfSubject(ledger, { mountId, claim: '/email', subject: subject.email, issuer })
  }
  if (subject.format === 'unknown' || subject.iss !== peoplesIssuer(config)) return undefined
  return { id: '', person: personOf({ claims: subject }) }
}

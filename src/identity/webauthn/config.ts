import { X509Certificate } from 'node:crypto'
import type { Document } from '../../ledger/documents.ts'
import { flagField, listField, refused, secondsField, textField, type WireFields } from '../jwt/fields.ts'
import { checkTokenFields, type TokenFields } from '../token-fields.ts'

/** The configuration of a mount where people log in by security keys, as the wire names it and as it is stored. */
export type WebauthnConfig = TokenFields & {
  /** The domain that keys are for, and below which the console is. */
  rp_id: string
  rp_name: string
  /** Of pages that may ask for a key: as browsers write them, and nothing else matches. */
  origins: string[]
  /** Refuses keys that can be copied or are kept on several devices. */
  require_hardware_bound: boolean
  /** The models that may be enrolled; empty for any. */
  allowed_aaguids: string[]
  /** The authorities of makers whose word on a model is taken; empty for whatever a key says of itself. */
  attestation_ca_pem: string[]
  /** Seconds since the login at the provider. */
  enrolment_max_login_age: number
  /** The login at the provider has to have used one of these; empty for any. */
  enrolment_amr: string[]
  /** Seconds since a person's newest login at the provider: for longer, a key gives nothing. */
  max_identity_age: number
}

const HOUR_SECONDS = 3_600
const DAY_SECONDS = 24 * HOUR_SECONDS

const DEFAULT_NAME = 'Leasehold'
const DEFAULT_LOGIN_AGE_SECONDS = 300
const MAX_LOGIN_AGE_SECONDS = HOUR_SECONDS
const DEFAULT_IDENTITY_AGE_SECONDS = 30 * DAY_SECONDS
const MAX_IDENTITY_AGE_SECONDS = 90 * DAY_SECONDS
/** As break-glass takes them by default for a second factor. */
const DEFAULT_AMR = ['otp', 'hwk', 'mfa', 'swk', 'sms']

/** The document to store for what was sent; it replaces the whole configuration. Throws the dialect's refusal. */
export function checkWebauthnConfig(fields: WireFields): WebauthnConfig {
  const config: WebauthnConfig = {
    ...tokenTerms(fields),
    rp_id: (textField(fields, 'rp_id') ?? '').toLowerCase(),
    rp_name: textField(fields, 'rp_name') || DEFAULT_NAME,
    origins: listField(fields, 'origins') ?? [],
    require_hardware_bound: flagField(fields, 'require_hardware_bound') ?? true,
    allowed_aaguids: (listField(fields, 'allowed_aaguids') ?? []).map((aaguid) => aaguid.toLowerCase()),
    attestation_ca_pem: listField(fields, 'attestation_ca_pem') ?? [],
    enrolment_max_login_age: secondsField(fields, 'enrolment_max_login_age', 1) ?? DEFAULT_LOGIN_AGE_SECONDS,
    enrolment_amr: listField(fields, 'enrolment_amr') ?? DEFAULT_AMR,
    max_identity_age: secondsField(fields, 'max_identity_age', 1) ?? DEFAULT_IDENTITY_AGE_SECONDS,
  }
  checkPlace(config)
  checkModels(config)
  atMost(config, 'enrolment_max_login_age', MAX_LOGIN_AGE_SECONDS)
  atMost(config, 'max_identity_age', MAX_IDENTITY_AGE_SECONDS)
  return config
}

export const asWebauthnConfig = (stored: Document): WebauthnConfig => stored as unknown as WebauthnConfig

/** Nothing that a key gives may go on for ever: whether its person is still one of us is the provider's to say. */
function tokenTerms(fields: WireFields): TokenFields {
  const terms = { token_ttl: HOUR_SECONDS, token_max_ttl: 12 * HOUR_SECONDS }
  const given = Object.entries(fields).filter(([, value]) => (value ?? undefined) !== undefined)
  const token = checkTokenFields({ ...terms, ...Object.fromEntries(given) }, undefined)
  if (token.token_ttl === 0) throw refused("'token_ttl' must be set")
  if (token.token_max_ttl === 0) throw refused("'token_max_ttl' must be set")
  if (token.token_period > 0) throw refused("'token_period' cannot be set: such a token might never end")
  // Removing a key takes back what was done by it, and a batch token cannot be named.
  if (token.token_type === 'batch') throw refused("'token_type' cannot be 'batch'")
  return token
}

const DOMAIN =
  /^(?=.{1,253}$)[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?(?:\.[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?)*$/
const ADDRESS = /^[\d.]+$/

function checkPlace({ rp_id: rpId, origins }: WebauthnConfig): void {
  if (rpId === '') throw refused("'rp_id' must be set: the domain that the keys are for")
  if (!DOMAIN.test(rpId) || ADDRESS.test(rpId)) {
    throw refused(`'rp_id' must be a domain, such as example.com; browsers know no keys of an address`)
  }
  if (origins.length === 0)
    throw refused("'origins' must be set: where the console is, such as https://example.com")
  for (const origin of origins) checkOrigin(origin, rpId)
}

function checkOrigin(origin: string, rpId: string): void {
  const url = URL.canParse(origin) ? new URL(origin) : undefined
  if (url?.origin !== origin) {
    throw refused(`'origins': ${JSON.stringify(origin)} is no origin, such as https://example.com:8200`)
  }
  const { protocol, hostname } = url
  if (protocol !== 'https:' && !(protocol === 'http:' && hostname === 'localhost')) {
    throw refused(`'origins': ${JSON.stringify(origin)} has to be https, unless it is http://localhost`)
  }
  if (hostname !== rpId && !hostname.endsWith(`.${rpId}`)) {
    throw refused(`'origins': ${JSON.stringify(origin)} is not within the domain of 'rp_id'`)
  }
}

const AAGUID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/

function checkModels({ allowed_aaguids: aaguids, attestation_ca_pem: authorities }: WebauthnConfig): void {
  for (const aaguid of aaguids) {
    if (!AAGUID.test(aaguid)) throw refused(`'allowed_aaguids': ${JSON.stringify(aaguid)} is no AAGUID`)
  }
  for (const pem of authorities) {
    try {
      new X509Certificate(pem)
    } catch {
      throw refused("'attestation_ca_pem': one of them is no certificate in PEM")
    }
  }
}

function atMost(config: WebauthnConfig, name: 'enrolment_max_login_age' | 'max_identity_age', most: number) {
  if (config[name] > most) throw refused(`'${name}' cannot be over ${most} seconds`)
}

import { BrokerError } from '../../lib/errors.ts'
import { sensitive } from '../../lib/sensitive.ts'
import { EMBEDDED_PASSWORD_WARNING, isLocalHost } from '../connection-url.ts'
import type { Checked, Spec } from '../engine.ts'
import { given, secondsField, textField, wholeField } from '../fields.ts'
import {
  POLICY_UNUSED_WARNING,
  pemField,
  readSharedTarget,
  type SharedTarget,
  sharedTargetFields,
} from '../target-fields.ts'
import { liftPassword, type Place, parsePlace, refuseUnknown } from './connection-url.ts'

export const SSL_MODES = ['disable', 'allow', 'prefer', 'require', 'verify-ca', 'verify-full'] as const
export type SslMode = (typeof SSL_MODES)[number]

/** A target's spec, read: what the engine works with. */
export type Target = SharedTarget & {
  place: Place
  sslMode: SslMode
  tlsCertificate: string | undefined
  scramIterations: number
  expiryMarginMs: number
  owner: string | undefined
  creatorRoles: number
}

/** PostgreSQL's own default, which every driver accepts. */
const DEFAULT_ITERATIONS = 4_096
/** Each CREATE ROLE repeats the derivation on the server: a million takes it half a second. */
export const ITERATIONS_RANGE = { min: 1, max: 1_000_000 }
const DEFAULT_EXPIRY_MARGIN_S = 10
/** For about ten thousand live accounts; more of them cost more than they save. */
const DEFAULT_CREATOR_ROLES = 64
const MAX_CREATOR_ROLES = 1_000

export function checkTarget(fields: Spec): Checked {
  const url = textField(fields, 'connection_url')
  if (!url) throw new BrokerError('invalid_request', 'connection_url is required')
  const warnings: string[] = []
  const place = parsePlace(url)
  const lifted = liftPassword(url)
  if (lifted.password !== undefined) warnings.push(EMBEDDED_PASSWORD_WARNING)
  const spec = given({
    ...sharedTargetFields(fields),
    connection_url: lifted.url,
    username: textField(fields, 'username') ?? place.username,
    password_authentication: checkPasswordAuthentication(fields),
    sslmode: textField(fields, 'sslmode'),
    tls_certificate: pemField(fields, 'tls_certificate', 'CERTIFICATE'),
    scram_iterations: wholeField(fields, 'scram_iterations', ITERATIONS_RANGE) ?? DEFAULT_ITERATIONS,
    expiry_margin: secondsField(fields, 'expiry_margin') ?? DEFAULT_EXPIRY_MARGIN_S,
    owner: textField(fields, 'owner'),
    creator_roles:
      wholeField(fields, 'creator_roles', { min: 0, max: MAX_CREATOR_ROLES }) ?? DEFAULT_CREATOR_ROLES,
  })
  const target = readTarget(spec)
  refuseUnknown(target.place)
  checkTls(target)
  checkOwner(target)
  refuseWeakPolicy(spec)
  return {
    spec,
    warnings: [...warnings, ...warningsFor(target, spec)],
    ...(lifted.password === undefined ? {} : { password: sensitive(lifted.password) }),
  }
}

export function readTarget(spec: Spec): Target {
  const place = parsePlace(String(spec.connection_url))
  const whole = (name: string, otherwise: number): number => (spec[name] as number | undefined) ?? otherwise
  const text = (name: string): string | undefined => spec[name] as string | undefined
  return {
    ...readSharedTarget(spec),
    place,
    sslMode: sslModeOf(text('sslmode') ?? place.sslmode, text('tls_ca')),
    tlsCertificate: text('tls_certificate'),
    scramIterations: whole('scram_iterations', DEFAULT_ITERATIONS),
    expiryMarginMs: whole('expiry_margin', DEFAULT_EXPIRY_MARGIN_S) * 1_000,
    owner: text('owner'),
    creatorRoles: whole('creator_roles', DEFAULT_CREATOR_ROLES),
  }
}

/** As libpq: a plain `prefer`; and a CA that was given is there to be used. */
function sslModeOf(mode: string | undefined, ca: string | undefined): SslMode {
  if (mode === undefined) return ca ? 'verify-full' : 'prefer'
  const known = SSL_MODES.find((candidate) => candidate === mode)
  if (!known) throw new BrokerError('invalid_request', `sslmode must be one of ${SSL_MODES.join(', ')}`)
  return known
}

function checkTls({ sslMode, tlsCa, tlsCertificate }: Target): void {
  const verifies = sslMode === 'require' || sslMode === 'verify-ca' || sslMode === 'verify-full'
  if (tlsCa && !verifies) {
    throw new BrokerError(
      'invalid_request',
      `tls_ca cannot be used with sslmode ${sslMode}, which verifies nothing`,
    )
  }
  if (tlsCertificate && !verifies) {
    throw new BrokerError('invalid_request', `tls_certificate cannot be used with sslmode ${sslMode}`)
  }
}

function checkOwner({ owner, username }: Target): void {
  if (owner !== undefined && owner === username) {
    throw new BrokerError(
      'invalid_request',
      'owner must not be the admin account: what leases leave behind would gain its rights',
    )
  }
}

/** No password policy can be judged yet, and fewer iterations are safe only with a strong password. */
export function refuseWeakPolicy(spec: Spec): void {
  const iterations = spec.scram_iterations as number | undefined
  if (spec.password_policy !== undefined && iterations !== undefined && iterations < DEFAULT_ITERATIONS) {
    throw new BrokerError(
      'invalid_request',
      `scram_iterations under ${DEFAULT_ITERATIONS} needs passwords of at least 128 bits, which password_policy does not promise`,
    )
  }
}

function warningsFor(target: Target, spec: Spec): string[] {
  const warnings = target.place.ignored.map((name) => `the connection_url parameter "${name}" is not used`)
  if (spec.password_policy !== undefined) warnings.push(POLICY_UNUSED_WARNING)
  if (target.sslMode !== 'verify-full' && target.sslMode !== 'verify-ca' && !isLocalHost(target.place.host)) {
    warnings.push(
      `sslmode ${target.sslMode} does not check which server answers; use verify-full, with tls_ca where the server's CA is private`,
    )
  }
  return warnings
}

function checkPasswordAuthentication(fields: Spec): string | undefined {
  const way = textField(fields, 'password_authentication')
  if (way !== undefined && way !== 'password' && way !== 'scram-sha-256') {
    throw new BrokerError('invalid_request', 'password_authentication must be password or scram-sha-256')
  }
  return way
}

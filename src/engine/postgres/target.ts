import { BrokerError } from '../../lib/errors.ts'
import { sensitive } from '../../lib/sensitive.ts'
import type { Checked, Spec } from '../engine.ts'
import { booleanField, given, listField, mapField, textField, wholeField } from '../fields.ts'
import { compileNameTemplate } from '../username-template.ts'
import {
  EMBEDDED_PASSWORD_WARNING,
  liftPassword,
  type Place,
  parsePlace,
  refuseUnknown,
} from './connection-url.ts'

export const SSL_MODES = ['disable', 'allow', 'prefer', 'require', 'verify-ca', 'verify-full'] as const
export type SslMode = (typeof SSL_MODES)[number]

/** A target's spec, read: what the engine works with. */
export type Target = {
  place: Place
  username: string | undefined
  sslMode: SslMode
  tlsCa: string | undefined
  tlsCertificate: string | undefined
  maxOpenConnections: number
  maxIdleConnections: number
  maxConnectionLifetimeSeconds: number
  scramIterations: number
  connectionLimit: number
  expiryMarginMs: number
  owner: string | undefined
  usernameTemplate: string | undefined
}

/** PostgreSQL's own default, which every driver accepts. */
const DEFAULT_ITERATIONS = 4_096
/** Each CREATE ROLE repeats the derivation on the server: a million takes it half a second. */
export const ITERATIONS_RANGE = { min: 1, max: 1_000_000 }
export const CONNECTION_LIMIT_RANGE = { min: 1, max: 10_000 }
const DEFAULT_CONNECTION_LIMIT = 10
const DEFAULT_EXPIRY_MARGIN_S = 10
const DEFAULT_OPEN_CONNECTIONS = 4
const DEFAULT_STUCK_FREEZE = 50

const MAX_COUNT = 1_000_000

export function checkTarget(fields: Spec): Checked {
  const url = textField(fields, 'connection_url')
  if (!url) throw new BrokerError('invalid_request', 'connection_url is required')
  const warnings: string[] = []
  const place = parsePlace(url)
  const lifted = liftPassword(url)
  if (lifted.password !== undefined) warnings.push(EMBEDDED_PASSWORD_WARNING)
  const template = textField(fields, 'username_template')
  if (template) compileNameTemplate(template)
  const spec = given({
    connection_url: lifted.url,
    username: textField(fields, 'username') ?? place.username,
    max_open_connections: wholeField(fields, 'max_open_connections', { min: -1, max: MAX_COUNT }),
    max_idle_connections: wholeField(fields, 'max_idle_connections', { min: -1, max: MAX_COUNT }),
    max_connection_lifetime: secondsField(fields, 'max_connection_lifetime'),
    username_template: template,
    disable_escaping: booleanField(fields, 'disable_escaping'),
    password_authentication: checkPasswordAuthentication(fields),
    sslmode: textField(fields, 'sslmode'),
    tls_ca: pemField(fields, 'tls_ca', 'CERTIFICATE'),
    tls_certificate: pemField(fields, 'tls_certificate', 'CERTIFICATE'),
    scram_iterations: wholeField(fields, 'scram_iterations', ITERATIONS_RANGE) ?? DEFAULT_ITERATIONS,
    connection_limit:
      wholeField(fields, 'connection_limit', CONNECTION_LIMIT_RANGE) ?? DEFAULT_CONNECTION_LIMIT,
    expiry_margin: secondsField(fields, 'expiry_margin') ?? DEFAULT_EXPIRY_MARGIN_S,
    owner: textField(fields, 'owner'),
    environment: textField(fields, 'environment'),
    labels: mapField(fields, 'labels'),
    stuck_freeze: wholeField(fields, 'stuck_freeze', { min: 1, max: MAX_COUNT }) ?? DEFAULT_STUCK_FREEZE,
    root_rotation_statements: listField(fields, 'root_rotation_statements'),
    password_policy: textField(fields, 'password_policy'),
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
  const open = whole('max_open_connections', DEFAULT_OPEN_CONNECTIONS)
  return {
    place,
    username: text('username'),
    sslMode: sslModeOf(text('sslmode') ?? place.sslmode, text('tls_ca')),
    tlsCa: text('tls_ca'),
    tlsCertificate: text('tls_certificate'),
    maxOpenConnections: open > 0 ? open : DEFAULT_OPEN_CONNECTIONS,
    maxIdleConnections: Math.max(0, whole('max_idle_connections', 1)),
    maxConnectionLifetimeSeconds: whole('max_connection_lifetime', 0),
    scramIterations: whole('scram_iterations', DEFAULT_ITERATIONS),
    connectionLimit: whole('connection_limit', DEFAULT_CONNECTION_LIMIT),
    expiryMarginMs: whole('expiry_margin', DEFAULT_EXPIRY_MARGIN_S) * 1_000,
    owner: text('owner'),
    usernameTemplate: text('username_template'),
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
  if (target.sslMode !== 'verify-full' && target.sslMode !== 'verify-ca' && !isLocal(target.place.host)) {
    warnings.push(
      `sslmode ${target.sslMode} does not check which server answers; use verify-full, with tls_ca where the server's CA is private`,
    )
  }
  return warnings
}

export const POLICY_UNUSED_WARNING =
  'password_policy is stored but not used: leased passwords are 32 random base62 characters (190 bits)'

const isLocal = (host: string): boolean =>
  host.startsWith('/') || ['localhost', '127.0.0.1', '::1'].includes(host)

function secondsField(fields: Spec, name: string): number | undefined {
  return wholeField(fields, name, { min: 0, max: 100 * 365 * 86_400 })
}

function pemField(fields: Spec, name: string, label: string): string | undefined {
  const pem = textField(fields, name)
  if (pem !== undefined && !pem.includes(`-----BEGIN ${label}-----`)) {
    throw new BrokerError('invalid_request', `${name} must be in PEM form`)
  }
  return pem
}

function checkPasswordAuthentication(fields: Spec): string | undefined {
  const way = textField(fields, 'password_authentication')
  if (way !== undefined && way !== 'password' && way !== 'scram-sha-256') {
    throw new BrokerError('invalid_request', 'password_authentication must be password or scram-sha-256')
  }
  return way
}

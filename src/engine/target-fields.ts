import { BrokerError } from '../lib/errors.ts'
import type { Spec } from './engine.ts'
import { booleanField, listField, mapField, secondsField, textField, wholeField } from './fields.ts'
import { compileNameTemplate, type NameTemplate } from './username-template.ts'

/** What targets of every kind of database have in common. */

export const CONNECTION_LIMIT_RANGE = { min: 1, max: 10_000 }
const DEFAULT_CONNECTION_LIMIT = 10
const DEFAULT_OPEN_CONNECTIONS = 4
const DEFAULT_STUCK_FREEZE = 50
const MAX_COUNT = 1_000_000

export const POLICY_UNUSED_WARNING =
  'password_policy is stored but not used: leased passwords are 32 random base62 characters (190 bits)'

/** The length of a leased password, in base62 characters. */
export const PASSWORD_LENGTH = 32

export function sharedTargetFields(fields: Spec): Record<string, unknown> {
  const template = textField(fields, 'username_template')
  if (template) compileNameTemplate(template)
  return {
    max_open_connections: wholeField(fields, 'max_open_connections', { min: -1, max: MAX_COUNT }),
    max_idle_connections: wholeField(fields, 'max_idle_connections', { min: -1, max: MAX_COUNT }),
    max_connection_lifetime: secondsField(fields, 'max_connection_lifetime'),
    username_template: template,
    disable_escaping: booleanField(fields, 'disable_escaping'),
    tls_ca: pemField(fields, 'tls_ca', 'CERTIFICATE'),
    connection_limit:
      wholeField(fields, 'connection_limit', CONNECTION_LIMIT_RANGE) ?? DEFAULT_CONNECTION_LIMIT,
    environment: textField(fields, 'environment'),
    labels: mapField(fields, 'labels'),
    stuck_freeze: wholeField(fields, 'stuck_freeze', { min: 1, max: MAX_COUNT }) ?? DEFAULT_STUCK_FREEZE,
    root_rotation_statements: listField(fields, 'root_rotation_statements'),
    password_policy: textField(fields, 'password_policy'),
  }
}

export type PoolSizes = {
  maxOpenConnections: number
  maxIdleConnections: number
  maxConnectionLifetimeSeconds: number
}

export type SharedTarget = PoolSizes & {
  username: string | undefined
  tlsCa: string | undefined
  connectionLimit: number
}

export function readSharedTarget(spec: Spec): SharedTarget {
  const whole = (name: string, otherwise: number): number => (spec[name] as number | undefined) ?? otherwise
  const open = whole('max_open_connections', DEFAULT_OPEN_CONNECTIONS)
  return {
    username: spec.username as string | undefined,
    tlsCa: spec.tls_ca as string | undefined,
    maxOpenConnections: open > 0 ? open : DEFAULT_OPEN_CONNECTIONS,
    maxIdleConnections: Math.max(0, whole('max_idle_connections', 1)),
    maxConnectionLifetimeSeconds: whole('max_connection_lifetime', 0),
    connectionLimit: whole('connection_limit', DEFAULT_CONNECTION_LIMIT),
  }
}

export const templateOf = (target: Spec): NameTemplate | undefined => {
  const template = target.username_template as string | undefined
  return template === undefined ? undefined : compileNameTemplate(template)
}

export function pemField(fields: Spec, name: string, label: string): string | undefined {
  const pem = textField(fields, name)
  if (pem !== undefined && !pem.includes(`-----BEGIN ${label}-----`)) {
    throw new BrokerError('invalid_request', `${name} must be in PEM form`)
  }
  return pem
}

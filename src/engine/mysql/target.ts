import { BrokerError } from '../../lib/errors.ts'
import { sensitive } from '../../lib/sensitive.ts'
import { EMBEDDED_PASSWORD_WARNING, isLocalHost } from '../connection-url.ts'
import type { Checked, Spec } from '../engine.ts'
import { booleanField, given, textField } from '../fields.ts'
import {
  POLICY_UNUSED_WARNING,
  readSharedTarget,
  type SharedTarget,
  sharedTargetFields,
} from '../target-fields.ts'
import { liftPassword, type Place, parsePlace, refuseUnknown } from './connection-url.ts'
import { SHORT_NAMES_WARNING } from './name.ts'
import { checkStatements } from './statements.ts'

/** The values of the DSN's `tls`: none, if the server has it, without looking whose it is, and checked. */
export const TLS_MODES = ['false', 'preferred', 'skip-verify', 'true'] as const
export type TlsMode = (typeof TLS_MODES)[number]

/** A target's spec, read: what the engine works with. */
export type Target = SharedTarget & {
  place: Place
  tls: TlsMode
  tlsServerName: string | undefined
}

export function checkTarget(fields: Spec): Checked {
  const url = textField(fields, 'connection_url')
  if (!url) throw new BrokerError('invalid_request', 'connection_url is required')
  const place = parsePlace(url)
  const lifted = liftPassword(url)
  const spec = given({
    ...sharedTargetFields(fields),
    connection_url: lifted.url,
    username: textField(fields, 'username') ?? place.username,
    tls_server_name: textField(fields, 'tls_server_name'),
    tls_skip_verify: booleanField(fields, 'tls_skip_verify'),
  })
  const target = readTarget(spec)
  refuseUnknown(place)
  checkTls(target)
  checkStatements('root_rotation_statements', (spec.root_rotation_statements as string[] | undefined) ?? [])
  return {
    spec,
    warnings: [
      ...(lifted.password === undefined ? [] : [EMBEDDED_PASSWORD_WARNING]),
      ...warningsFor(target, spec),
    ],
    ...(lifted.password === undefined ? {} : { password: sensitive(lifted.password) }),
  }
}

export function readTarget(spec: Spec): Target {
  const place = parsePlace(String(spec.connection_url))
  return {
    ...readSharedTarget(spec),
    place,
    tls: tlsModeOf(place, spec),
    tlsServerName: spec.tls_server_name as string | undefined,
  }
}

/** A CA or a name that was given is there to be used; else encrypted where the server can. */
function tlsModeOf({ tls }: Place, spec: Spec): TlsMode {
  const said = TLS_MODES.find((mode) => mode === tls)
  if (tls !== undefined && said === undefined) {
    throw new BrokerError('invalid_request', `connection_url: tls must be one of ${TLS_MODES.join(', ')}`)
  }
  if (spec.tls_skip_verify === true && said !== 'false') return 'skip-verify'
  return said ?? (spec.tls_ca || spec.tls_server_name ? 'true' : 'preferred')
}

function checkTls({ tls, tlsCa, tlsServerName }: Target): void {
  if (tls === 'true') return
  const unused = tlsCa ? 'tls_ca' : tlsServerName ? 'tls_server_name' : undefined
  if (unused === undefined) return
  throw new BrokerError('invalid_request', `${unused} cannot be used with tls ${tls}, which verifies nothing`)
}

function warningsFor({ place, tls }: Target, spec: Spec): string[] {
  const warnings = place.ignored.map((name) => `the connection_url parameter "${name}" is not used`)
  if (spec.password_policy !== undefined) warnings.push(POLICY_UNUSED_WARNING)
  if (spec.username_template !== undefined) warnings.push(SHORT_NAMES_WARNING)
  if (tls !== 'true' && place.socketPath === undefined && !isLocalHost(place.host)) {
    warnings.push(
      `tls ${tls} does not check which server answers; use tls=true, with tls_ca where the server's CA is private`,
    )
  }
  return warnings
}

import { hostname } from 'node:os'
import { createShipping, type Shipping } from '../audit/sinks/shipping.ts'
import { type AuditSinks, createAuditSinks } from '../audit/sinks/sinks.ts'
import { showAuditGauges } from '../telemetry/gauges.ts'
import type { Base } from './base.ts'
import { processName } from './leases.ts'
import { methodSecrets } from './method-secrets.ts'

/** On the bare ledger: shipping what is on the log must not add to it. */
export function composeShipping({
  metrics,
  ...parts
}: Pick<Base, 'ledger' | 'secrets' | 'metrics' | 'log'>): Shipping {
  const shipping = createShipping({
    ...parts,
    secrets: methodSecrets(parts.secrets),
    host: hostname(),
    holder: processName(),
  })
  showAuditGauges(metrics, shipping)
  return shipping
}

export const composeAuditSinks = ({ ledger, secrets }: Pick<Base, 'ledger' | 'secrets'>): AuditSinks =>
  createAuditSinks({ ledger, secrets: methodSecrets(secrets), host: hostname() })

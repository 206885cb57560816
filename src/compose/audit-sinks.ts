import { hostname } from 'node:os'
import { createShipping, type Shipping } from '../audit/sinks/shipping.ts'
import { type AuditSinks, createAuditSinks } from '../audit/sinks/sinks.ts'
import type { Ledger } from '../ledger/db.ts'
import type { Logger } from '../lib/log.ts'
import type { SecretStore } from '../secrets/secret-store.ts'
import type { Base } from './base.ts'
import { processName } from './leases.ts'
import { methodSecrets } from './method-secrets.ts'

/** On the bare ledger: shipping what is on the log must not add to it. */
export const composeShipping = (parts: { ledger: Ledger; secrets: SecretStore; log: Logger }): Shipping =>
  createShipping({
    ...parts,
    secrets: methodSecrets(parts.secrets),
    host: hostname(),
    holder: processName(),
  })

export const composeAuditSinks = ({ ledger, secrets }: Pick<Base, 'ledger' | 'secrets'>): AuditSinks =>
  createAuditSinks({ ledger, secrets: methodSecrets(secrets), host: hostname() })

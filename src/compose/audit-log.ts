import { randomBytes } from 'node:crypto'
import type { StoredEvent } from '../audit/chain.ts'
import type { StoredCheckpoint } from '../audit/checkpoint.ts'
import { type Checkpoints, createCheckpoints } from '../audit/checkpoints.ts'
import { type AuditLog, createAuditLog } from '../audit/log.ts'
import { type AuditHash, auditHasher } from '../audit/parameters.ts'
import { type JwkSet, knownKeys, type Signer } from '../lease/signer.ts'
import { auditCheckpoints, auditEvents, auditTime, newestAuditTime } from '../ledger/audit.ts'
import { openLedger } from '../ledger/db.ts'
import { sealedSecrets } from '../ledger/sealed-secrets.ts'
import { type Sensitive, sensitive } from '../lib/sensitive.ts'
import { builtinSecretStore } from '../secrets/builtin/builtin-store.ts'
import { madeOnce } from '../secrets/made-once.ts'
import type { SecretStore } from '../secrets/secret-store.ts'
import type { Base } from './base.ts'

const HASH_KEY_BYTES = 32

/** Hashes sensitive values for the log with the installation's key, which is made at its first start. */
export async function openAuditHasher(secrets: SecretStore): Promise<AuditHash> {
  const newKey = async () => sensitive(randomBytes(HASH_KEY_BYTES).toString('base64'))
  const key = await madeOnce(secrets, 'audit-hash-key', newKey)
  return auditHasher(Buffer.from(key.reveal(), 'base64'))
}

/** What signs the audit log and answers questions about it. What writes to it is apart. */
export const composeAuditLog = (
  { ledger, log }: Pick<Base, 'ledger' | 'log'>,
  { issuer, sign }: Signer,
): { checkpoints: Checkpoints; auditLog: AuditLog } => ({
  checkpoints: createCheckpoints({ ledger, sign, issuer, log }),
  auditLog: createAuditLog(ledger),
})

/** The log of a ledger, for verifying and exporting: reads, and changes nothing. */
export type StoredLog = {
  checkpoints(): AsyncIterable<StoredCheckpoint>
  events(): AsyncIterable<StoredEvent>
  /** Those in the log when it is first asked; of younger ones, few or none. */
  eventsUntilNow(): AsyncIterable<StoredEvent>
  /** The ledger's time. */
  now(): Promise<string>
  /** What its checkpoints are signed with, from the secret store; throws a sentence without a master key or a key. */
  keys(): Promise<JwkSet>
  close(): Promise<void>
}

/** Connects when first asked something. */
export function openStoredLog(settings: {
  ledgerUrl: Sensitive
  masterKey: Sensitive | undefined
  previousMasterKey?: Sensitive | undefined
}): StoredLog {
  // A connection that is lost in between fails the next statement, which tells.
  const ledger = openLedger(settings.ledgerUrl.reveal(), () => {}, { connections: 1 })
  return {
    checkpoints: () => auditCheckpoints(ledger),
    events: () => auditEvents(ledger),
    async *eventsUntilNow() {
      const end = await newestAuditTime(ledger)
      for await (const event of auditEvents(ledger)) if (event.at <= end) yield event
    },
    now: () => auditTime(ledger),
    async keys() {
      const { masterKey, previousMasterKey } = settings
      if (!masterKey) {
        throw new Error('set LEASEHOLD_MASTER_KEY_FILE, or name the public keys with --jwks')
      }
      const secrets = builtinSecretStore(sealedSecrets(ledger), { masterKey, previousMasterKey })
      const keys = await knownKeys(secrets)
      if (!keys) throw new Error('the ledger has no signing key; name the public keys with --jwks')
      return keys
    },
    close: () => ledger.close(),
  }
}

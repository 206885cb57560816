import { BrokerError } from '../lib/errors.ts'
import { type Statement, usesSlot } from './sql-token.ts'

/** Statements in place of ours for setting a password; none at all means ours. Throws a `BrokerError` that names the field. */
export function checkRotation(field: string, statements: readonly Statement[]): void {
  if (statements.length === 0) return
  if (usesSlot(statements, ['expiration'])) {
    throw new BrokerError('invalid_request', `${field}: {{expiration}} has no meaning in a rotation`)
  }
  if (!usesSlot(statements, ['password'])) {
    throw new BrokerError(
      'invalid_request',
      `${field}: no statement has {{password}}, so nothing would be rotated`,
    )
  }
}

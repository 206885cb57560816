import { BrokerError } from '../lib/errors.ts'
import type { Decision } from './ports.ts'

class Denied extends BrokerError {
  readonly decision: Decision

  constructor(decision: Decision) {
    super('permission_denied', 'permission denied')
    this.decision = { ...decision, allowed: false }
  }
}

/**
 * A handler's own refusal, by what policy said when the handler asked it. That goes on record in place of the decision
 * that let the request in: a denial must not read as if it had been allowed.
 */
export const deniedBy = (decision: Decision): BrokerError => new Denied(decision)

/** What was decided last of a request that ended so: by its handler, or else on its way there. */
export const lastDecision = (error: unknown, onTheWay: Decision | undefined): Decision | undefined =>
  error instanceof Denied ? error.decision : onTheWay

import type { EngineType, Spec } from '../engine/engine.ts'
import { BrokerError } from '../lib/errors.ts'

/** A role, and the target that it is for. */
type OfRole = { engine: string; name: string; spec: Spec; targetSpec: Spec }

/** Throws `invalid_request` for what a role does not take with an ask for it, or does not do without. */
export type CheckRoleFields = (role: OfRole, fields: Spec) => void

/** As far as it can be told without the target. */
export const checkingRoleFields =
  (engineTypes: readonly EngineType[]): CheckRoleFields =>
  ({ engine, name, spec, targetSpec }, fields) => {
    const type = engineTypes.find((one) => one.name === engine)
    if (type?.checkAsk) type.checkAsk({ target: targetSpec, role: spec, roleName: name, fields })
    else if (Object.keys(fields).length > 0) {
      throw new BrokerError('invalid_request', `takes no ${Object.keys(fields).join(', ')}`)
    }
  }

import type { EngineType, EnrolmentAsk } from '../engine/engine.ts'
import type { Db } from '../ledger/db.ts'
import type { Mount } from '../ledger/mounts.ts'
import { rolesOnTarget } from '../ledger/roles.ts'
import { findTarget } from '../ledger/targets.ts'
import { BrokerError } from '../lib/errors.ts'
import { SYSTEM_MAX_TTL_SECONDS } from '../lib/ttl.ts'
import { mountTtls } from './mount-ttls.ts'

/**
 * What a superuser of a target installs so that its admin account needs no rights, by database: for the roles that lease
 * there as they are now. Undefined when there is no such target. Throws a `BrokerError` that names the field at fault.
 */
export type EnrolmentSql = (
  mount: Pick<Mount, 'id' | 'config'>,
  name: string,
  wishes: Pick<EnrolmentAsk, 'groups' | 'databases' | 'logins'>,
) => Promise<{ database: string; sql: string }[] | undefined>

export function createEnrolmentSql({
  ledger,
  engineTypes,
}: {
  ledger: Db
  engineTypes: readonly EngineType[]
}): EnrolmentSql {
  return async (mount, name, wishes) => {
    const target = await findTarget(ledger, mount.id, name)
    if (!target) return undefined
    const type = engineTypes.find(({ name: engine }) => engine === target.engine)
    if (!type?.enrolmentSql) {
      throw new BrokerError('invalid_request', `there is nothing to install on targets of "${target.plugin}"`)
    }
    const roles = await rolesOnTarget(ledger, mount.id, name)
    const mountMax = mountTtls(mount.config).maxSeconds || SYSTEM_MAX_TTL_SECONDS
    // Before there are roles, what any of them could have.
    const maxima = roles.map(({ maxTtlSeconds }) => Math.min(maxTtlSeconds || mountMax, mountMax))
    return type.enrolmentSql({
      ...wishes,
      target: target.spec,
      roles: roles.map(({ spec }) => spec),
      maxLeaseSeconds: maxima.length > 0 ? Math.max(...maxima) : mountMax,
    })
  }
}

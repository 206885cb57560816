import type { EngineType, Spec } from '../engine/engine.ts'
import { type Db, type Ledger, lockNamed } from '../ledger/db.ts'
import type { Mount } from '../ledger/mounts.ts'
import { findRole, listRoleNames, putRole, type Role, removeRole } from '../ledger/roles.ts'
import { findStaticRole } from '../ledger/rotation.ts'
import { findTarget } from '../ledger/targets.ts'
import { BrokerError } from '../lib/errors.ts'
import { newId } from '../lib/ids.ts'
import { ConditionError, compileCondition } from '../policy/condition.ts'

export type { Role } from '../ledger/roles.ts'

/** A role as its writer gives it. Absent fields keep what the live version says. */
export type RoleWrite = {
  dbName?: string | undefined
  defaultTtlSeconds?: number | undefined
  maxTtlSeconds?: number | undefined
  /** The engine's fields under their wire names. */
  fields: Spec
}

export type Roles = {
  /** Writes a new version and answers its warnings; leases already out keep theirs. */
  write(mount: Pick<Mount, 'id' | 'type'>, name: string, write: RoleWrite): Promise<string[]>
  find(mountId: string, name: string): Promise<Role | undefined>
  names(mountId: string): Promise<string[]>
  remove(mountId: string, name: string): Promise<void>
}

export function createRoles(parts: { ledger: Ledger; engineTypes: readonly EngineType[] }): Roles {
  const { ledger } = parts

  /** A role may be written before its target; then any engine that understands it will do. */
  const check = async (db: Db, mount: Pick<Mount, 'id' | 'type'>, targetName: string, fields: Spec) => {
    const target = await findTarget(db, mount.id, targetName)
    const candidates = parts.engineTypes.filter(
      ({ name, mountType }) => mountType === mount.type && (!target || name === target.engine),
    )
    let refusal: unknown = new BrokerError('invalid_request', `no engine in this version for "${targetName}"`)
    for (const type of candidates) {
      try {
        return await type.checkRole(fields)
      } catch (error) {
        refusal = error
      }
    }
    throw refusal
  }

  return {
    write: (mount, name, write) =>
      ledger.transaction(async (db) => {
        checkCondition(write.fields)
        await lockNamed(db, `role ${mount.id} ${name}`)
        if (await findStaticRole(db, mount.id, name)) {
          throw new BrokerError('invalid_request', 'Role and Static Role names must be unique')
        }
        const before = await findRole(db, mount.id, name)
        const targetName = write.dbName ?? before?.targetName ?? ''
        if (targetName === '') throw new BrokerError('invalid_request', 'database name is required')
        const { spec, warnings } = await check(db, mount, targetName, { ...before?.spec, ...write.fields })
        await putRole(db, {
          id: newId(),
          mountId: mount.id,
          name,
          targetName,
          spec,
          defaultTtlSeconds: write.defaultTtlSeconds ?? before?.defaultTtlSeconds ?? 0,
          maxTtlSeconds: write.maxTtlSeconds ?? before?.maxTtlSeconds ?? 0,
        })
        return warnings
      }),
    find: (mountId, name) => findRole(ledger, mountId, name),
    names: (mountId) => listRoleNames(ledger, mountId),
    async remove(mountId, name) {
      await removeRole(ledger, mountId, name)
    },
  }
}

function checkCondition({ condition }: Spec): void {
  if (typeof condition !== 'string' || condition === '') return
  try {
    compileCondition(condition)
  } catch (error) {
    if (!(error instanceof ConditionError)) throw error
    throw new BrokerError(
      'invalid_request',
      `condition: line ${error.line}, column ${error.column}: ${error.message}`,
    )
  }
}

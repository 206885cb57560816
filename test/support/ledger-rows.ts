import type { Ledger } from '../../src/ledger/db.ts'
import type { Intent } from '../../src/ledger/lease-issue.ts'
import { insertMount } from '../../src/ledger/mounts.ts'
import { putRole } from '../../src/ledger/roles.ts'
import { putTarget } from '../../src/ledger/targets.ts'
import { newId } from '../../src/lib/ids.ts'

/** What a lease needs to point at: a mount, a target on it, and a role there. No such target exists outside. */
export type Seeded = { mountId: string; targetId: string; roleId: string; path: string }

export async function seedRole(ledger: Ledger, { mount = 'database/', role = 'app' } = {}): Promise<Seeded> {
  const [mountId, targetId, roleId] = [newId(), newId(), newId()]
  await ledger.transaction(async (db) => {
    await insertMount(db, {
      id: mountId,
      path: mount,
      type: 'database',
      description: '',
      config: {},
      options: null,
    })
    await putTarget(db, {
      id: targetId,
      mountId,
      name: 'shop',
      engine: 'postgres',
      plugin: 'postgresql-database-plugin',
      spec: {},
      secretName: `target/${targetId}`,
      passwordReference: null,
      allowedRoles: ['*'],
      verified: true,
      capabilities: null,
    })
    await putRole(db, {
      id: roleId,
      mountId,
      name: role,
      targetName: 'shop',
      spec: {},
      defaultTtlSeconds: 0,
      maxTtlSeconds: 0,
    })
  })
  return { mountId, targetId, roleId, path: `${mount}creds/${role}` }
}

const LEASE_SECONDS = 3_600
const CREATE_SECONDS = 30

/** An intent for a lease of an hour under a token. */
export function anIntent(seeded: Seeded, tokenId: string, now: Date, changes: Partial<Intent> = {}): Intent {
  const id = newId()
  const after = (seconds: number) => new Date(now.getTime() + seconds * 1_000)
  return {
    id,
    path: seeded.path,
    mountId: seeded.mountId,
    roleId: seeded.roleId,
    targetId: seeded.targetId,
    tokenId,
    outlivesToken: false,
    account: `v_app_${id}`,
    asked: {},
    issuedAt: now,
    expiresAt: after(LEASE_SECONDS),
    hardExpiresAt: after(LEASE_SECONDS),
    limitedBy: null,
    hardLimitedBy: 'role_max',
    createDeadline: after(CREATE_SECONDS),
    stuckFreeze: 50,
    idempotencyKey: null,
    grantId: null,
    principalId: tokenId,
    allowedBy: { policy: 'root' },
    ...changes,
  }
}

/** Resolves once some statement on this database waits for a lock that another transaction holds. */
export async function untilSomeoneWaits(ledger: Ledger): Promise<void> {
  for (;;) {
    const { rowCount } = await ledger.query(
      `select from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'`,
    )
    if (rowCount) return
  }
}

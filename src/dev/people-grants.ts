import type { Broker } from '../compose.ts'
import { DEMO } from './demo-target.ts'

/** What the sample people ask for, past what they have every day. */
export const EMERGENCY = {
  role: 'demo-emergency',
  /** Two people approve and another reviews. */
  policy: 'shop-emergency',
  /** One person approves, so that two windows are enough. */
  standardPolicy: 'shop-change',
} as const

/** What the sample people read as on any day, and get once somebody has agreed: a control group, as Vault calls it. */
export const GUARDED = { role: 'demo-guarded', policy: 'shop-guarded' } as const

const HOUR_SECONDS = 3_600

/**
 * The roles to ask for, which may change everything in the demo database, and who lets whom have them. Nothing where the
 * demo database is not. What its owner changes or removes afterwards stays so: this is for a first start.
 */
export async function seedBreakGlass(broker: Broker): Promise<void> {
  await seedRole(broker, EMERGENCY.role, [EMERGENCY.policy, EMERGENCY.standardPolicy])
  await seedControlGroup(broker)
}

/** The part of it that has not always been there. */
export const seedControlGroup = (broker: Broker): Promise<void> =>
  seedRole(broker, GUARDED.role, [GUARDED.policy])

async function seedRole(broker: Broker, name: string, policies: (keyof typeof POLICIES)[]): Promise<void> {
  const mount = await broker.mounts.find(DEMO.mount)
  const like = mount && (await broker.roles.find(mount.id, DEMO.readwriteRole))
  if (!mount || !like || (await broker.roles.find(mount.id, name))) return
  await broker.roles.write(mount, name, {
    dbName: DEMO.connection,
    defaultTtlSeconds: HOUR_SECONDS,
    maxTtlSeconds: 4 * HOUR_SECONDS,
    fields: like.spec,
  })
  for (const policy of policies) await broker.policyBook.write(policy, POLICIES[policy])
}

const setOf = (group: string) => ({ groups: [group], subjects: [] })

const SHARED = {
  requesters: { groups: ['engineering'] },
  sets: {
    'security-oncall': setOf('security-oncall'),
    'service-owner': setOf('service-owner'),
    'security-officers': setOf('security-officers'),
    audit: setOf('audit'),
  },
  security_officers: ['security-officers'],
  target_owners: ['service-owner'],
  // Neither the one who asked nor one who approved may review.
  reviewers: ['audit'],
}

const pathOf = (role: string) => `${DEMO.mount}creds/${role}`

const ONE_OF_THEM = {
  ...SHARED,
  lane: 'standard',
  approvals: { any_of: [{ set: 'security-oncall' }, { set: 'service-owner' }] },
  review: true,
}

const POLICIES = {
  [EMERGENCY.policy]: {
    ...SHARED,
    roles: [pathOf(EMERGENCY.role)],
    description: 'emergencies of the shop: on-call and owner approve, an auditor reviews',
    approvals: { all_of: [{ set: 'security-oncall' }, { set: 'service-owner' }] },
    ticket_pattern: '^INC-[0-9]{1,6}$',
    sealed: true,
  },
  [EMERGENCY.standardPolicy]: {
    ...ONE_OF_THEM,
    roles: [pathOf(EMERGENCY.role)],
    description: 'planned changes of the shop: on-call or owner approves',
  },
  [GUARDED.policy]: {
    ...ONE_OF_THEM,
    roles: [pathOf(GUARDED.role)],
    description: 'a control group of the shop: reading the role asks for it, and on-call or owner approves',
    control_group: true,
  },
}

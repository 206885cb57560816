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

const HOUR_SECONDS = 3_600

/**
 * The role to ask for, which may change everything in the demo database, and who lets whom have it. Nothing where the
 * demo database is not. What its owner changes or removes afterwards stays so: this is for a first start.
 */
export async function seedBreakGlass(broker: Broker): Promise<void> {
  const mount = await broker.mounts.find(DEMO.mount)
  const like = mount && (await broker.roles.find(mount.id, DEMO.readwriteRole))
  if (!mount || !like) return
  await broker.roles.write(mount, EMERGENCY.role, {
    dbName: DEMO.connection,
    defaultTtlSeconds: HOUR_SECONDS,
    maxTtlSeconds: 4 * HOUR_SECONDS,
    fields: like.spec,
  })
  await broker.policyBook.write(EMERGENCY.policy, {
    ...SHARED,
    description: 'emergencies of the shop: on-call and owner approve, an auditor reviews',
    approvals: { all_of: [{ set: 'security-oncall' }, { set: 'service-owner' }] },
    ticket_pattern: '^INC-[0-9]{1,6}$',
    sealed: true,
  })
  await broker.policyBook.write(EMERGENCY.standardPolicy, {
    ...SHARED,
    lane: 'standard',
    description: 'planned changes of the shop: on-call or owner approves',
    approvals: { any_of: [{ set: 'security-oncall' }, { set: 'service-owner' }] },
    review: true,
  })
}

const setOf = (group: string) => ({ groups: [group], subjects: [] })

const SHARED = {
  roles: [`${DEMO.mount}creds/${EMERGENCY.role}`],
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

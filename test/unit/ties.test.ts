import { expect, test } from 'vitest'
import type { Engine, Follow } from '../../src/engine/engine.ts'
import { createTies } from '../../src/lease/ties.ts'
import type { TiedLease } from '../../src/ledger/lease-ties.ts'
import { createLogger } from '../../src/lib/log.ts'

const lease = (targetId: string): TiedLease => ({
  id: `lease-on-${targetId}`,
  account: 'shop/v-x',
  targetRef: 'uid',
  asked: {},
  targetId,
  targetVersion: 1,
})

/** Ties over leases that the test sets, on targets of which some cannot be opened and some never stop. */
function openTies() {
  let leases: TiedLease[] = []
  const followed: string[] = []
  const doomed: unknown[] = []
  const engineOf = (targetId: string) =>
    ({
      follow: ({ onGone }: Follow) => ({
        follow(tied) {
          followed.push(targetId)
          for (const { account } of tied) onGone(account.leaseId)
        },
        stop: () => (targetId === 'hanging' ? new Promise<void>(() => {}) : Promise.resolve()),
      }),
    }) as Partial<Engine> as Engine
  const engines = new Map<string, Engine>()
  const ties = createTies({
    ledger: { query: async () => ({ rows: leases }) } as never,
    targets: {
      async open(id: string) {
        if (id === 'broken') throw new Error('it cannot be opened')
        const engine = engines.get(id) ?? engineOf(id)
        engines.set(id, engine)
        return { engine }
      },
    } as never,
    ender: { doom: async (which: unknown) => void doomed.push(which) } as never,
    log: createLogger('silent', 'json'),
  })
  return { ties, followed, doomed, has: (...targetIds: string[]) => (leases = targetIds.map(lease)) }
}

test('a target that cannot be opened, or does not let go, keeps no other from being followed', async () => {
  const { ties, followed, doomed, has } = openTies()
  has('broken', 'hanging', 'well')
  await ties.refresh()
  expect(followed).toEqual(['hanging', 'well'])
  expect(doomed).toContainEqual({ ids: ['lease-on-well'] })
  has('broken', 'well')
  await ties.refresh()
  expect(followed).toEqual(['hanging', 'well', 'well'])
})

import { afterAll, beforeAll, expect, test } from 'vitest'
import { type ActName, attempt } from '../support/grant-acts.ts'
import { begin, type Real } from '../support/grant-commands.ts'
import { holdsTrue } from '../support/grant-invariants.ts'
import type { Name } from '../support/grant-people.ts'
import { type GrantRecord, recordOf } from '../support/grant-record.ts'
import { does, WALKS } from '../support/grant-walks.ts'
import { type Asked, type GrantWorld, openGrantWorld } from '../support/grant-world.ts'

let world: GrantWorld
beforeAll(async () => {
  world = await openGrantWorld()
})
afterAll(() => world.close())

const TIMES = 20

type Move = readonly [Name, ActName]
type Contest = readonly [what: string, from: string, one: Move, other: Move, ends: readonly [string, string]]

/** As many requests brought as far, each with what the ledger has of it. */
async function many(state: string, further: readonly (readonly [Name, ActName])[] = []): Promise<Real[]> {
  const made: Real[] = []
  for (let i = 0; i < TIMES; i += 1) {
    const { model, real } = await begin(world, 'break_glass')
    for (const step of WALKS[state]?.('break_glass') ?? []) await step.run(model, real)
    for (const [by, what] of further) await does(by, what).run(model, real)
    made.push(real)
  }
  return made
}

const tries = (asked: Asked, by: Name, what: ActName, at: 0 | 1): Promise<boolean> =>
  attempt(world, world.servers[at], asked, { does: what, by, login: 'key', seen: 'right' }).then((status) => {
    if (status !== undefined) expect([403, 409], `${by} ${what}`).toContain(status)
    return status === undefined
  })

/** Both at once for each of many, on two servers; and what it came to. */
async function race(
  made: readonly Real[],
  one: (asked: Asked) => Promise<boolean>,
  other: (asked: Asked) => Promise<boolean>,
): Promise<{ first: boolean; second: boolean; after: GrantRecord }[]> {
  const won = await Promise.all(made.map(({ asked }) => Promise.all([one(asked), other(asked)])))
  const outcomes: { first: boolean; second: boolean; after: GrantRecord }[] = []
  for (const [i, { asked, last }] of made.entries()) {
    const after = await recordOf(world, asked)
    holdsTrue(after, last, asked)
    const [first, second] = won[i] as [boolean, boolean]
    outcomes.push({ first, second, after })
  }
  return outcomes
}

const standing = ({ votes }: GrantRecord) =>
  votes.filter(({ ended }) => !ended).map(({ voter }) => voter.display_name)
const aSecond = async (): Promise<void> => {
  await world.advance(1)
}
/** The clock passes the deadline while somebody acts, and a timer of the other server looks. */
const timer =
  (stepped: Promise<void>) =>
  async ({ id }: Asked) => {
    await stepped
    await world.servers[1].requests.lookAtWaiting(id)
    return (await world.grant(id)).state === 'expired'
  }

test('the last yes and the deadline: one of them has it', async () => {
  const made = await many('pending', [['ann', 'approve']])
  // Each was asked at the same second, since the clock stands still.
  await world.advance(15 * 60 - 1)
  const stepped = aSecond()
  for (const { first, second, after } of await race(
    made,
    (asked) => tries(asked, 'olga', 'approve', 0),
    timer(stepped),
  )) {
    expect(first).not.toBe(second)
    expect(after.grant.state).toBe(first ? 'approved' : 'expired')
  }
}, 90_000)

test('activation and its deadline: one of them has it', async () => {
  const made = await many('approved')
  await world.advance(10 * 60 - 1)
  const stepped = aSecond()
  for (const { first, second, after } of await race(
    made,
    (asked) => tries(asked, 'rita', 'activate', 0),
    timer(stepped),
  )) {
    expect(first).not.toBe(second)
    expect(after.grant.state).toBe(first ? 'active' : 'expired')
    expect(after.accounts.length).toBe(first ? 1 : 0)
  }
}, 90_000)

test('the last two yeses at once: both are counted, and it is approved once', async () => {
  for (const { after } of await race(
    await many('pending'),
    (asked) => tries(asked, 'ann', 'approve', 0),
    (asked) => tries(asked, 'olga', 'approve', 1),
  )) {
    expect(after.grant.state).toBe('approved')
    expect(standing(after).sort()).toEqual(['ann', 'olga'])
    expect(after.events.filter(({ to }) => to === 'approved').length).toBe(1)
  }
}, 90_000)

test('a yes and a withdrawal at once: what is left is not enough', async () => {
  for (const { first, second, after } of await race(
    await many('pending', [['ann', 'approve']]),
    (asked) => tries(asked, 'olga', 'approve', 0),
    (asked) => tries(asked, 'ann', 'withdraw', 1),
  )) {
    expect([first, second]).toEqual([true, true])
    expect(after.grant.state).toBe('pending')
    expect(standing(after)).toEqual(['olga'])
  }
}, 90_000)

test.each<Contest>([
  ['the last yes and a no', 'pending', ['olga', 'approve'], ['sam', 'deny'], ['approved', 'denied']],
  [
    'activation and cancelling',
    'approved',
    ['rita', 'activate'],
    ['rita', 'cancel'],
    ['active', 'cancelled'],
  ],
])(
  '%s at once: one of them has it',
  async (_, from, one, other, [ifFirst, ifSecond]) => {
    const made = await many(from, from === 'pending' ? [['ann', 'approve']] : [])
    for (const { first, second, after } of await race(
      made,
      (asked) => tries(asked, ...one, 0),
      (asked) => tries(asked, ...other, 1),
    )) {
      expect(first).not.toBe(second)
      expect(after.grant.state).toBe(first ? ifFirst : ifSecond)
      expect(after.accounts.length).toBe(after.grant.state === 'active' ? 1 : 0)
    }
  },
  90_000,
)

test('two activations at once: one of them, with one account', async () => {
  for (const { first, second, after } of await race(
    await many('approved'),
    (asked) => tries(asked, 'rita', 'activate', 0),
    (asked) => tries(asked, 'rita', 'activate', 1),
  )) {
    expect(first).not.toBe(second)
    expect(after.grant.state).toBe('active')
    expect(after.accounts.length).toBe(1)
  }
}, 90_000)

test('the end and more time at once: the end moves with its row, or not at all', async () => {
  const made = await many('active')
  await world.advance(25 * 60)
  for (const { asked } of made) {
    expect(await tries(asked, 'rita', 'extend', 0)).toBe(true)
    expect(await tries(asked, 'both', 'approve-extension', 0)).toBe(true)
  }
  for (const { first, second, after } of await race(
    made,
    (asked) => tries(asked, 'olga', 'approve-extension', 0),
    (asked) => tries(asked, 'sam', 'end', 1),
  )) {
    expect(second).toBe(true)
    expect(['ending', 'review_due']).toContain(after.grant.state)
    expect(after.grant.extendedSeconds).toBe(first ? 300 : 0)
    expect(after.extensions).toMatchObject([{ state: first ? 'approved' : 'expired' }])
  }
}, 90_000)

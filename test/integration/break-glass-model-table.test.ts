import { afterAll, beforeAll, expect, test } from 'vitest'
import { GRANT_STATES, TERMINAL } from '../../src/breakglass/states.ts'
import { ACTS, attempt, type Try } from '../support/grant-acts.ts'
import { type Real, trying } from '../support/grant-commands.ts'
import { type Model, newModel, RULES } from '../support/grant-model.ts'
import { LOGINS, NAMES } from '../support/grant-people.ts'
import { recordOf } from '../support/grant-record.ts'
import { WALKS } from '../support/grant-walks.ts'
import { type GrantWorld, type LaneName, openGrantWorld } from '../support/grant-world.ts'

let world: GrantWorld
beforeAll(async () => {
  world = await openGrantWorld()
})
afterAll(() => world.close())

async function walk(state: string, lane: LaneName): Promise<{ model: Model; real: Real }> {
  const asked = await world.ask(lane)
  const model = newModel(lane)
  const real: Real = { world, asked, last: await recordOf(world, asked) }
  try {
    for (const step of WALKS[state]?.(lane) ?? []) await step.run(model, real)
  } finally {
    world.lease.target.faults.clear()
  }
  expect(model.state).toBe(state)
  return { model, real }
}

const AT_REST = GRANT_STATES.filter((state) => state !== 'activating' && state !== 'activation_failed')
/** One lane goes through every state; of the others, where other rules hold. */
const CASES = [
  ...AT_REST.map((state) => [state, 'break_glass'] as const),
  ...(['pending', 'approved', 'active'] as const).flatMap((state) =>
    (['standard', 'sealed'] as const).map((lane) => [state, lane] as const),
  ),
]
/** One of each kind. */
const KINDS = NAMES.filter((name) => name !== 'annAgain' && name !== 'olga')
const EVERY: Try[] = ACTS.flatMap((does) =>
  KINDS.flatMap((by) => [
    { does, by, login: 'key', seen: 'right' } as const,
    ...LOGINS.slice(1).map((login) => ({ does, by, login, seen: 'right' }) as const),
    { does, by, login: 'key', seen: 'stale' } as const,
  ]),
)
/** What its refusal does not depend on is tried by one kind of login alone. */
const telling = (model: Model): Try[] =>
  EVERY.filter(
    (ask) =>
      (ask.login === 'key' && ask.seen === 'right') ||
      RULES[ask.does](model, { ...ask, login: 'key', seen: 'right' }).kind !== 'refused',
  )

test.each(CASES)(
  'of a request that is %s (%s): whom no row names is refused, and nothing changes',
  async (state, lane) => {
    const { model, real } = await walk(state, lane)
    const refused = telling(model).filter((ask) => RULES[ask.does](model, ask).kind === 'refused')
    expect(refused.length).toBeGreaterThan(100)
    const wrong: string[] = []
    for (let at = 0; at < refused.length; at += 16) {
      await Promise.all(
        refused.slice(at, at + 16).map(async (ask, i) => {
          const server = world.servers[i % 2 === 0 ? 0 : 1]
          const status = await attempt(world, server, real.asked, ask)
          if (![400, 403, 404, 409].includes(status ?? 200))
            wrong.push(`${ask.by} ${ask.does} ${ask.login}: ${status}`)
        }),
      )
    }
    expect(wrong).toEqual([])
    expect((await world.grant(real.asked.id)).version).toBe(real.last?.grant.version)
  },
  60_000,
)

/** Each row that somebody makes happen: number, lane, from, who, what, where it leads. Of those of timers, see the model. */
const ROWS = [
  ['4', 'break_glass', 'pending', ['ann', 'olga', 'both', 'annAgain'], 'approve', 'pending'],
  ['5', 'standard', 'pending', ['ann', 'olga', 'both', 'annAgain'], 'approve', 'approved'],
  ['6', 'sealed', 'pending', ['ann', 'olga', 'both', 'sam', 'otto', 'vera'], 'witness', 'approved'],
  ['7', 'break_glass', 'pending', ['ann', 'olga', 'both'], 'narrow', 'pending'],
  ['7', 'standard', 'pending', ['ann', 'olga'], 'narrow', 'approved'],
  ['8', 'break_glass', 'pending', ['ann', 'olga', 'both', 'sam'], 'deny', 'denied'],
  ['9', 'break_glass', 'pending', ['rita'], 'cancel', 'cancelled'],
  ['11', 'break_glass', 'pending', ['sam'], 'incident-closed', 'voided'],
  ['11', 'break_glass', 'approved', ['bot'], 'incident-system', 'voided'],
  ['12', 'break_glass', 'approved', ['ann', 'olga', 'annAgain'], 'withdraw', 'pending'],
  ['13', 'break_glass', 'approved', ['rita'], 'cancel', 'cancelled'],
  ['15, 16', 'break_glass', 'approved', ['rita'], 'activate', 'active'],
  ['22', 'break_glass', 'active', ['sam', 'otto'], 'suspend', 'suspended'],
  ['24', 'break_glass', 'active', ['rita'], 'end', 'review_due'],
  ['25, 30', 'break_glass', 'active', ['ann', 'olga', 'both', 'sam', 'otto'], 'end', 'review_due'],
  ['25, 30', 'standard', 'active', ['sam', 'otto', 'ann'], 'end', 'closed_ok'],
  ['25', 'break_glass', 'suspended', ['ann', 'sam', 'otto'], 'end', 'review_due'],
  ['28', 'sealed', 'active', ['ann', 'olga'], 'refuse-ratification', 'review_due'],
  ['28a', 'sealed', 'active', ['ann', 'olga'], 'ratify', 'active'],
  ['28a', 'sealed', 'suspended', ['ann', 'both'], 'ratify', 'suspended'],
  ['28a', 'sealed', 'review_due', ['ann', 'olga'], 'refuse-ratification', 'review_due'],
  ['34', 'break_glass', 'review_due', ['vera', 'both'], 'review-ok', 'closed_ok'],
  ['34', 'break_glass', 'review_overdue', ['vera', 'both'], 'review-ok', 'closed_ok'],
  ['35', 'break_glass', 'review_due', ['vera', 'both'], 'review-flagged', 'closed_flagged'],
  ['37', 'break_glass', 'closed_ok', ['sam'], 'reopen', 'review_due'],
] as const

test.each(
  ROWS.flatMap(([row, lane, from, who, what, to]) =>
    who.map((by) => [row, lane, from, by, what, to] as const),
  ),
)('row %s (%s): from %s, %s may %s, and it is %s', async (_, lane, from, by, what, to) => {
  const { model, real } = await walk(from, lane)
  await trying({ does: what, by, login: 'key', seen: 'right' }, 1).run(model, real)
  expect(model.state).toBe(to)
})

test('every state is one that requests come to in these tests, or pass through', () => {
  expect(Object.keys(WALKS).sort()).toEqual([...AT_REST].sort())
  expect(AT_REST.filter((state) => TERMINAL.has(state)).length).toBe(6)
})

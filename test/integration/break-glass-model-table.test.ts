import { afterAll, beforeAll, expect, test } from 'vitest'
import { GRANT_STATES } from '../../src/breakglass/states.ts'
import { ACTS, attempt, type Try } from '../support/grant-acts.ts'
import { BESIDE } from '../support/grant-beside.ts'
import { begin, finish, type Real } from '../support/grant-commands.ts'
import { linesOfTable, linesWalked, walkedIn } from '../support/grant-coverage.ts'
import type { LaneName, Model } from '../support/grant-model.ts'
import { LOGINS, NAMES } from '../support/grant-people.ts'
import { recordOf, strayMoves, unchanged } from '../support/grant-record.ts'
import { ROWS } from '../support/grant-rows.ts'
import { RULES } from '../support/grant-rules.ts'
import { WALKS } from '../support/grant-walks.ts'
import { type GrantWorld, openGrantWorld } from '../support/grant-world.ts'

let world: GrantWorld
beforeAll(async () => {
  world = await openGrantWorld()
})
afterAll(() => world.close())

async function walk(
  state: string,
  lane: LaneName,
  then: (at: { model: Model; real: Real }) => Promise<void>,
): Promise<void> {
  const at = await begin(world, lane)
  try {
    for (const step of WALKS[state]?.(lane) ?? []) await step.run(at.model, at.real)
    expect(at.model.state).toBe(state)
    await then(at)
  } finally {
    await finish(at.real)
  }
}

/** One lane goes through every state; of the others, where other rules hold. */
const CASES = [
  ...GRANT_STATES.map((state) => [state, 'break_glass'] as const),
  ...(['pending', 'approved', 'active'] as const).flatMap((state) =>
    (['standard', 'sealed'] as const).map((lane) => [state, lane] as const),
  ),
  ...[['approved', 'auto'] as const, ['active', 'drill'] as const, ['review_due', 'sealed'] as const],
]
/** One of each kind. */
const KINDS = NAMES.filter((name) => !['annAgain', 'olga', 'sven'].includes(name))
const asks = (does: Try['does'], login: Try['login'] = 'key', seen: Try['seen'] = 'right'): Try[] =>
  KINDS.map((by) => ({ does, by, login, seen }))
const EVERY: Try[] = ACTS.flatMap((does) => [
  ...LOGINS.flatMap((login) => asks(does, login)),
  ...asks(does, 'key', 'stale'),
])
/** What its refusal does not depend on is tried by one kind of login alone. */
const telling = (model: Model): Try[] =>
  EVERY.filter(
    (ask) =>
      (ask.login === 'key' && ask.seen === 'right') ||
      RULES[ask.does](model, { ...ask, login: 'key', seen: 'right' }).kind !== 'refused',
  )

/** Whether anybody does it in that state: of the other lanes it is enough to try what is not refused to everybody. */
const isDone = (model: Model, { does }: Try): boolean =>
  NAMES.some((by) => RULES[does](model, { does, by, login: 'key', seen: 'right' }).kind !== 'refused')

test.each(CASES)(
  'of a request that is %s (%s): whom no row names is refused, and nothing changes',
  (state, lane) =>
    walk(state, lane, async ({ model, real }) => {
      const refused = telling(model).filter(
        (ask) =>
          RULES[ask.does](model, ask).kind === 'refused' && (lane === 'break_glass' || isDone(model, ask)),
      )
      expect(refused.length).toBeGreaterThan(lane === 'break_glass' ? 100 : 10)
      const wrong: string[] = []
      for (let at = 0; at < refused.length; at += 16) {
        await Promise.all(
          refused.slice(at, at + 16).map(async (ask, i) => {
            const server = world.servers[i % 2 === 0 ? 0 : 1]
            const status = await attempt(world, server, real.asked, ask, real.last.grant)
            if (![400, 403, 404, 409].includes(status ?? 200))
              wrong.push(`${ask.by} ${ask.does} ${ask.login}: ${status}`)
          }),
        )
      }
      expect(wrong).toEqual([])
      expect(unchanged(await recordOf(world, real.asked))).toEqual(unchanged(real.last))
    }),
  60_000,
)

const words = (what: (typeof ROWS)[number][3]) => what.map(String).join(', ')

test.each(
  [...ROWS, ...BESIDE].map(
    ([row, lane, from, what, to]) => [row, lane, from, words(what), to, what] as const,
  ),
)('row %s (%s): from %s, %s, and it is %s', (_, lane, from, __, to, what) =>
  walk(from, lane, async ({ model, real }) => {
    for (const step of what) await step.run(model, real)
    expect(model.state).toBe(to)
  }),
)

test('every state is one that requests come to in these tests', () => {
  expect(Object.keys(WALKS).sort()).toEqual([...GRANT_STATES].sort())
})

/** By policies of which these tests have none. */
const BY_OTHER_POLICIES = [
  '2: null submit approved in drill',
  '4: pending approve pending in standard',
  '7: pending narrow approved in break_glass',
  '7: pending narrow pending in standard',
  // The incident system’s vote: see break-glass-on-call.test.ts.
  ...['by incident', 'in break_glass', 'in standard'].flatMap((how) => [
    `4a: pending on_call_vote pending ${how}`,
    `5a: pending on_call_vote approved ${how}`,
  ]),
]

test('every row has been walked, from each of its states, by each of whom it names, in each lane it is for', async () => {
  const walked = linesWalked(await walkedIn(world))
  const missing = linesOfTable().filter((line) => !walked.has(line))
  expect(missing).toEqual(BY_OTHER_POLICIES.toSorted())
  expect(await strayMoves(world)).toBe(0)
})

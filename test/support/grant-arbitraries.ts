import fc from 'fast-check'
import { ACTS, type ActName, type Try } from './grant-acts.ts'
import {
  altering,
  beginning,
  blocking,
  breaking,
  type Command,
  changing,
  deciding,
  disabled,
  inTurn,
  leaving,
  mending,
  passing,
  released,
  round,
  told,
  trying,
  waiting,
} from './grant-commands.ts'
import { FINAL, type Model } from './grant-model.ts'
import { LOGINS, NAMES, type Name } from './grant-people.ts'
import { RULES } from './grant-rules.ts'

/** What happens at random to a grant: mostly what somebody may do then, and that with one thing wrong about it. */

/** After these there is little left to happen: they come less often. */
const LAST: readonly ActName[] = [
  ...(['cancel', 'deny', 'end', 'incident-closed', 'incident-system', 'refuse-ratification'] as const),
  ...(['review-ok', 'review-rotate', 'review-flagged', 'deny-extension'] as const),
]

type Option = { does: ActName; names: readonly Name[] }

/** Who may do what now, as the model has it. */
function optionsOf(model: Model): Option[] {
  return ACTS.flatMap((does) => {
    const names = NAMES.filter(
      (by) => RULES[does](model, { does, by, login: 'key', seen: 'right' }).kind !== 'refused',
    )
    return names.length === 0
      ? []
      : Array.from({ length: LAST.includes(does) ? 1 : 3 }, () => ({ does, names }))
  })
}

/** One thing that is otherwise: how they are logged in, what they have seen, or who it is. */
type Spoilt = Partial<Pick<Try, 'login' | 'seen' | 'by'>>
const spoilt: fc.Arbitrary<Spoilt> = fc.oneof(
  { weight: 6, arbitrary: fc.constant({}) },
  { weight: 2, arbitrary: fc.record({ login: fc.constantFrom(...LOGINS) }) },
  { weight: 2, arbitrary: fc.constant({ seen: 'stale' as const }) },
  { weight: 2, arbitrary: fc.record({ by: fc.constantFrom(...NAMES) }) },
)

const server = fc.constantFrom<0 | 1>(0, 1)

const wanted = fc.tuple(fc.nat(9_999), fc.nat(9_999), spoilt, server).map(([which, who, otherwise, at]) =>
  deciding(
    'whatever may be done',
    (model) => {
      const options = optionsOf(model)
      const option = options[which % Math.max(1, options.length)]
      const by = option?.names[who % option.names.length]
      return option && by && { does: option.does, by, login: 'key', seen: 'right', ...otherwise }
    },
    at,
  ),
)

const anybody = fc
  .tuple(
    fc.record({
      does: fc.constantFrom(...ACTS),
      by: fc.constantFrom(...NAMES),
      login: fc.constantFrom(...LOGINS),
      seen: fc.constantFrom('right' as const, 'stale' as const),
    }),
    server,
  )
  .map(([ask, at]) => trying(ask, at))

/** A deadline, or the moment before it; and mostly somebody looks then. */
const time = fc.oneof(
  {
    weight: 3,
    arbitrary: fc
      .tuple(fc.nat(3), fc.boolean(), server)
      .map(([which, before, at]) => inTurn(passing(which, before), round(at))),
  },
  {
    weight: 2,
    arbitrary: fc.tuple(fc.nat(3), fc.boolean()).map(([which, before]) => passing(which, before)),
  },
  { weight: 1, arbitrary: fc.constant(waiting(31)) },
)

const meddling = fc.oneof(
  fc.constantFrom<Name>('ann', 'annAgain', 'olga', 'both', 'sam').map(blocking),
  fc.constantFrom<Name>('ann', 'annAgain', 'olga', 'both', 'otto').map(leaving),
  fc.constantFrom('create' as const, 'remove' as const, 'begin' as const).map(breaking),
  fc.constant(mending),
  fc.constant(altering),
  fc
    .tuple(
      fc.constantFrom('suspend' as const, 'sign_out' as const, 'disable' as const),
      fc.constantFrom<Name>('rita', 'ann', 'olga', 'both', 'sam'),
      server,
    )
    .map(([word, of, at]) => told(word, of, at)),
  fc.constantFrom<Command>(
    disabled,
    blocking('rita'),
    ...(['policy', 'role', 'target'] as const).map(changing),
  ),
)

/** Where nothing can happen any more, that is seen once or twice. */
const whileAnything = (commands: fc.Arbitrary<Command>): fc.Arbitrary<Command> =>
  commands.map((one) => ({
    check: ({ state, over }: Model) => !FINAL.includes(state) || over < 2,
    run: async (model, real) => {
      if (FINAL.includes(model.state)) model.over += 1
      await one.run(model, real)
    },
    toString: () => one.toString(),
  }))

export const anyCommand: fc.Arbitrary<Command>[] = [
  ...[wanted, wanted, wanted, wanted, wanted, wanted, anybody, time, time, time],
  ...[server.map(round), meddling],
  fc.oneof(server.map(beginning), fc.constant(released)),
].map(whileAnything)

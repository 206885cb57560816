import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { matchesPattern, patternFault } from '../../src/breakglass/pattern.ts'
import { checkPolicy, type Policy } from '../../src/breakglass/policies.ts'
import {
  isMet,
  progressOf,
  type Quorum,
  quorumFault,
  quorumWords,
  type Voter,
} from '../../src/breakglass/quorum.ts'
import { quorumOf } from '../../src/breakglass/view.ts'
import type { GrantVote } from '../../src/ledger/grant-votes.ts'
import type { Grant } from '../../src/ledger/grants.ts'

const SETS = ['a', 'b', 'c'] as const

const leaf = fc.record({ set: fc.constantFrom(...SETS), count: fc.integer({ min: 1, max: 2 }) })
const tree: fc.Arbitrary<Quorum> = fc.letrec<{ tree: Quorum }>((tie) => ({
  tree: fc.oneof(
    { maxDepth: 2, withCrossShrink: true },
    leaf,
    fc.record({ all_of: fc.array(tie('tree'), { minLength: 1, maxLength: 2 }) }),
    fc.record({ any_of: fc.array(tie('tree'), { minLength: 1, maxLength: 2 }) }),
  ),
})).tree
const people: fc.Arbitrary<Voter[]> = fc
  .array(fc.subarray([...SETS]), { maxLength: 5 })
  .map((sets) => sets.map((of, i) => ({ person: `p${i}`, sets: of })))

/** By trying every way to give each seat to somebody else: slow, and plain to see. */
function isMetSlowly(quorum: Quorum, voters: readonly Voter[]): boolean {
  const leftOver = (part: Quorum, free: readonly Voter[]): (readonly Voter[])[] => {
    if ('any_of' in part) return part.any_of.flatMap((one) => leftOver(one, free))
    if ('all_of' in part) {
      return part.all_of.reduce<(readonly Voter[])[]>(
        (frees, one) => frees.flatMap((still) => leftOver(one, still)),
        [free],
      )
    }
    if (part.count === 0) return [free]
    return free
      .filter(({ sets }) => sets.includes(part.set))
      .flatMap((taken) =>
        leftOver(
          { set: part.set, count: part.count - 1 },
          free.filter((one) => one !== taken),
        ),
      )
  }
  return leftOver(quorum, voters).length > 0
}

describe('a quorum', () => {
  test('is met when everybody it takes can be somebody else', () => {
    fc.assert(
      fc.property(tree, people, (quorum, voters) => {
        expect(isMet(quorum, 0, voters)).toBe(isMetSlowly(quorum, voters))
      }),
      { numRuns: 500 },
    )
  })

  test('is never less met by one more yes, nor by the same person coming again', () => {
    fc.assert(
      fc.property(tree, people, fc.subarray([...SETS]), (quorum, voters, sets) => {
        const before = isMet(quorum, 2, voters)
        if (before) expect(isMet(quorum, 2, [...voters, { person: 'new', sets }])).toBe(true)
        const again = [...voters, ...voters]
        expect(isMet(quorum, 2, again)).toBe(before)
      }),
    )
  })

  test('says how far it is, of the way that lacks the fewest people', () => {
    fc.assert(
      fc.property(tree, people, (quorum, voters) => {
        const { needed, have, met } = progressOf(quorum, voters)
        expect(met).toBe(isMet(quorum, 0, voters))
        expect(have).toBeLessThanOrEqual(Math.min(needed, voters.length))
        // So many people of every set would do, and one fewer would not.
        const more = (count: number) =>
          Array.from({ length: count }, (_, i) => ({ person: `more-${i}`, sets: [...SETS] }))
        expect(isMet(quorum, 0, [...voters, ...more(needed - have)])).toBe(true)
        if (!met) expect(isMet(quorum, 0, [...voters, ...more(needed - have - 1)])).toBe(false)
      }),
      { numRuns: 500 },
    )
    const either: Quorum = {
      any_of: [
        { set: 'a', count: 1 },
        { set: 'b', count: 2 },
      ],
    }
    expect(progressOf(either, [])).toEqual({ needed: 1, have: 0, met: false })
    const both: Quorum = {
      all_of: [
        { set: 'a', count: 1 },
        { set: 'b', count: 1 },
      ],
    }
    expect(progressOf(both, [{ person: 'ann', sets: ['a', 'b'] }])).toEqual({
      needed: 2,
      have: 1,
      met: false,
    })
  })

  test('is shown in its own shape, so that it can be seen which part has no use for more', () => {
    const one = (set: string) => ({ set, count: 1 })
    const { spec } = checkPolicy({
      roles: ['database/creds/*'],
      sets: { a: { groups: ['ga'] }, b: { groups: ['gb'] }, c: { groups: ['gc'], subjects: ['cyd', 'dan'] } },
      approvals: { all_of: [{ any_of: [one('a'), { set: 'b', count: 2 }] }, one('c')] },
      security_officers: ['a'],
    })
    const voteOf = (name: string, ...sets: string[]) =>
      ({
        ...{ round: 0, decision: 'approve', planHash: 'h', endedAt: null, sets },
        voter: {
          id: name,
          kind: 'human',
          subject: name,
          display_name: name,
          mount: 'auth/oidc/',
          person: '',
        },
      }) as unknown as GrantVote
    const seen = (...votes: GrantVote[]) =>
      quorumOf({ grant: { lane: 'break_glass', planHash: 'h' } as Grant, policy: { spec } as Policy, votes })
    const leaf = (set: string, needed: number, voters: string[], may: string[]) => ({
      ...{ set, needed, have: voters.length, met: voters.length >= needed },
      ...{ voters, may_still_vote: may },
    })
    expect(seen(voteOf('ann', 'a'))).toMatchObject({
      met: false,
      approvers: 1,
      tree: {
        ...{ needed: 2, have: 1, met: false },
        all_of: [
          {
            ...{ needed: 1, have: 1, met: true },
            any_of: [leaf('a', 1, ['ann'], ['ga']), leaf('b', 2, [], ['gb'])],
          },
          leaf('c', 1, [], ['gc', 'cyd', 'dan']),
        ],
      },
    })
    const both = seen(voteOf('cyd', 'a', 'c'))
    expect(both).toMatchObject({ met: false, tree: { needed: 2, have: 1, met: false } })
    expect(seen(voteOf('cyd', 'c'), voteOf('ann', 'a')).tree).toMatchObject({ needed: 2, have: 2, met: true })
  })

  test('takes so many people in all, and counts none who are in no set of it', () => {
    const quorum = { set: 'a', count: 1 }
    const [ann, bob] = [
      { person: 'ann', sets: ['a'] },
      { person: 'bob', sets: ['a', 'b'] },
    ]
    expect(isMet(quorum, 2, [ann])).toBe(false)
    expect(isMet(quorum, 2, [ann, ann])).toBe(false)
    expect(isMet(quorum, 2, [ann, { person: 'cyd', sets: ['b'] }])).toBe(false)
    expect(isMet(quorum, 2, [ann, bob])).toBe(true)
    expect(isMet(null, 0, [])).toBe(true)
    expect(isMet(null, 1, [ann])).toBe(false)
  })

  test('is refused when it names what there is not, or nobody could read it', () => {
    const known = new Set<string>(SETS)
    const wide: Quorum = {
      all_of: new Array(4).fill({ any_of: new Array(3).fill({ set: 'a', count: 1 }) }),
    }
    expect(quorumFault({ set: 'z', count: 1 }, known)).toBe('names the set "z", which is not in sets')
    expect(quorumFault(wide, known)).toBe('can be met in more than 64 ways')
    expect(quorumFault({ all_of: new Array(5).fill({ set: 'a', count: 10 }) }, known)).toBe(
      'takes more than 20 people',
    )
    expect(quorumFault({ all_of: new Array(50).fill({ set: 'a', count: 1 }) }, known)).toBe('is too large')
  })

  test('says itself in words', () => {
    const one = (set: string) => ({ set, count: 1 })
    expect(quorumWords({ all_of: [one('oncall'), { any_of: [one('b'), one('c')] }] }, 2)).toBe(
      '1 of oncall and (1 of b or 1 of c), 2 people',
    )
    expect(quorumWords(one('a'), 1)).toBe('1 of a, 1 person')
    expect(quorumWords(null, 0)).toBe('no approval')
  })
})

describe('a ticket pattern', () => {
  test.each(['INC-\\d{4,10}', '(?:INC|CHG|PRB)-\\d+', '[A-Z]{2,5}-[0-9]+', '(ab)+', 'a?', '^x$', ''])(
    '%s is taken',
    (pattern) => {
      expect(patternFault(pattern)).toBeUndefined()
    },
  )

  test.each([
    '(a+)+$',
    '(a|a)*b',
    '(a|aa)+',
    '(.*)*x',
    '.*.*.*x',
    'a*a*a*a*b',
    '(a?){50}a',
    '((a{0,9}){0,9}){0,9}',
    `${'(a|a)'.repeat(30)}b`,
  ])('%s could take too long', (pattern) => {
    expect(patternFault(pattern)).toBe('could take too long to match: use fewer or narrower repetitions')
  })

  test.each(['(?=a)', '(?<!a)b', '(a)\\1', '(?<n>a)', '\\u0041', '\\k<n>', '[a', 'a\\'])(
    '%s is not understood',
    (pattern) => {
      expect(patternFault(pattern)).toMatch(/parts that are not taken/)
    },
  )

  test.each([
    ['(a', 'has a parenthesis that is not closed'],
    ['a)', 'has a parenthesis too many'],
    ['*', 'is no regular expression'],
    ['a{2}{3}', 'is no regular expression'],
    ['a{3,1}', 'is no regular expression'],
    ['a'.repeat(201), 'is longer than 200 characters'],
  ])('%s: %s', (pattern, fault) => {
    expect(patternFault(pattern)).toBe(fault)
  })

  test('whatever is taken compiles, and is over soon for the longest ticket', () => {
    const piece = fc.constantFrom(
      'a',
      'b',
      '.',
      '\\d',
      '[ab]',
      '(',
      '(?:',
      ')',
      '|',
      '*',
      '+',
      '?',
      '{1,9}',
      '{3}',
    )
    fc.assert(
      fc.property(fc.array(piece, { maxLength: 12 }), (pieces) => {
        const pattern = pieces.join('')
        if (patternFault(pattern) !== undefined) return
        expect(matchesPattern(pattern, `${'a'.repeat(127)}!`)).toBeTypeOf('boolean')
      }),
      { numRuns: 2_000 },
    )
  })

  test('has to match all of a ticket', () => {
    expect(matchesPattern('INC-\\d+', 'INC-12')).toBe(true)
    expect(matchesPattern('INC-\\d+', 'xINC-12')).toBe(false)
    expect(matchesPattern('a|b', 'ac')).toBe(false)
    expect(matchesPattern('.*', 'a'.repeat(129))).toBe(false)
  })
})

import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { link, type StoredEvent, startChain } from '../../src/audit/chain.ts'
import { checkpointHash, type StoredCheckpoint } from '../../src/audit/checkpoint.ts'
import { type Claim, claimBook } from '../../src/audit/claims.ts'
import {
  at,
  FORGED,
  indexOf,
  type Log,
  logBook,
  rewritten,
  swapped,
  verify,
  wrong,
} from './audit-log-book.ts'

describe('any log', () => {
  const move = fc.oneof(
    { weight: 4, arbitrary: fc.record({ writer: fc.constantFrom('a', 'b', 'c'), seconds: fc.nat(3) }) },
    { weight: 1, arbitrary: fc.constant('checkpoint' as const) },
  )
  const moves = fc.array(move, { minLength: 4, maxLength: 40 })

  async function written(
    script: (typeof move extends fc.Arbitrary<infer M> ? M : never)[],
    last: boolean,
  ): Promise<Log> {
    const book = logBook()
    let second = 0
    book.append('a', second)
    for (const step of script) {
      if (step === 'checkpoint') await book.checkpoint(second)
      else {
        second += step.seconds
        book.append(step.writer, second)
      }
    }
    if (last) await book.checkpoint(second)
    return book.log
  }

  test('as it was written has no problems', async () => {
    await fc.assert(
      fc.asyncProperty(moves, fc.boolean(), async (script, last) => {
        expect(await wrong(await written(script, last))).toEqual([])
      }),
      { numRuns: 50 },
    )
  })

  type Mutation = (log: Log, i: number, j: number) => Log
  const pick = (log: Log, i: number): StoredEvent => log.events[i % log.events.length] as StoredEvent
  const put = (log: Log, i: number, change: Partial<StoredEvent>): Log => ({
    ...log,
    events: log.events.toSpliced(i % log.events.length, 1, { ...pick(log, i), ...change }),
  })
  const flip = (text: string, i: number): string => {
    const k = i % text.length
    return `${text.slice(0, k)}${text[k] === '0' ? '1' : '0'}${text.slice(k + 1)}`
  }
  const putCheckpoint = (
    log: Log,
    i: number,
    change: (checkpoint: StoredCheckpoint) => StoredCheckpoint[],
  ): Log => {
    const k = i % log.checkpoints.length
    return {
      ...log,
      checkpoints: log.checkpoints.toSpliced(k, 1, ...change(log.checkpoints[k] as StoredCheckpoint)),
    }
  }

  const MUTATIONS: Record<string, Mutation> = {
    'a changed text': (log, i, j) => put(log, i, { body: flip(pick(log, i).body, j) }),
    'a changed time': (log, i, j) => put(log, i, { at: flip(pick(log, i).at, j) }),
    'a changed hash': (log, i, j) => put(log, i, { hash: flip(pick(log, i).hash, j) }),
    'a changed number': (log, i, j) => put(log, i, { seq: pick(log, i).seq + 1 + (j % 3) }),
    'another writer': (log, i) => put(log, i, { writer: `${pick(log, i).writer}x` }),
    'text moved from one field to the next': (log, i) =>
      put(log, i, {
        at: `${pick(log, i).at}\n${pick(log, i).body.slice(0, 1)}`,
        body: pick(log, i).body.slice(1),
      }),
    'a dropped event': (log, i) => ({ ...log, events: log.events.toSpliced(i % log.events.length, 1) }),
    'a dropped writer': (log, i) => ({
      ...log,
      events: log.events.filter(({ writer }) => writer !== pick(log, i).writer),
    }),
    'dropped tails': (log, i) => ({ ...log, events: log.events.slice(0, i % log.events.length) }),
    'a doubled event': (log, i, j) => ({
      ...log,
      events: log.events.toSpliced(j % (log.events.length + 1), 0, pick(log, i)),
    }),
    'swapped events': (log, i, j) => {
      const first = pick(log, i)
      const others = log.events.filter(({ writer, seq }) => writer === first.writer && seq !== first.seq)
      const second = others[j % others.length]
      if (!second) return { ...log, events: [] }
      return { ...log, events: swapped(log.events, log.events.indexOf(first), log.events.indexOf(second)) }
    },
    'swapped contents': (log, i, j) => {
      const [first, second] = [pick(log, i), pick(log, j)]
      if (first === second) return { ...log, events: [] }
      return put(put(log, i, { body: second.body }), j, { body: first.body })
    },
    'an inserted event': (log, i) => {
      const { writer, seq, at } = pick(log, i)
      const before = log.events[indexOf(log, writer, seq - 1)] ?? startChain(writer)
      const { event } = link(before, { at, body: FORGED })
      return { ...log, events: log.events.toSpliced(i % log.events.length, 0, event) }
    },
    'a rewritten chain': (log, i) => rewritten(log, pick(log, i).writer, pick(log, i).seq, { body: FORGED }),
    'a dropped checkpoint': (log, i) => putCheckpoint(log, i, () => []),
    'a changed checkpoint': (log, i, j) =>
      putCheckpoint(log, i, ({ number, jws }) => [{ number, jws: flip(jws, j) }]),
    'a renumbered checkpoint': (log, i, j) =>
      putCheckpoint(log, i, ({ number, jws }) => [{ number: number + 1 + (j % 3), jws }]),
    'a doubled checkpoint': (log, i) => putCheckpoint(log, i, (checkpoint) => [checkpoint, checkpoint]),
  }

  test.each(Object.entries(MUTATIONS))('with %s has a problem', async (_name, mutate) => {
    await fc.assert(
      fc.asyncProperty(moves, fc.nat(), fc.nat(), async (script, i, j) => {
        const log = await written(script, true)
        const last = log.checkpoints.at(-1) as StoredCheckpoint
        const known = [{ number: last.number, hash: checkpointHash(last) }]
        expect(await verify(log, { known })).toMatchObject({ problemsTotal: 0, uncheckpointed: 0 })
        expect((await verify(mutate(log, i, j), { known })).problemsTotal).toBeGreaterThan(0)
      }),
      { numRuns: 40 },
    )
  })

  test('with a changed text names exactly that event', async () => {
    await fc.assert(
      fc.asyncProperty(moves, fc.boolean(), fc.nat(), async (script, last, i) => {
        const log = await written(script, last)
        const { writer, seq } = pick(log, i)
        expect(await wrong(put(log, i, { body: FORGED }))).toEqual([`edited ${writer}/${seq}`])
      }),
      { numRuns: 50 },
    )
  })
})

describe('claims, when there are more than fit', () => {
  test('keep the last of each writer, and never bound an event more tightly', () => {
    const heads = fc.array(fc.constantFrom('a', 'b', 'c'), { maxLength: 60 })
    fc.assert(
      fc.property(heads, fc.integer({ min: 1, max: 8 }), (script, max) => {
        const all = new Map<string, Claim[]>()
        const book = claimBook(max)
        script.forEach((writer, i) => {
          const claims = all.get(writer) ?? []
          const notBefore = i === 0 ? undefined : at(i - 1)
          claims.push({
            seq: claims.length + 1,
            hash: `${writer}${i}`,
            checkpoint: i + 1,
            at: at(i),
            notBefore,
          })
          all.set(writer, claims)
          expect(book.add(writer, { ...(claims.at(-1) as Claim) })).toBe(true)
        })
        expect([...book.writers()].sort()).toEqual([...all.keys()].sort())
        for (const [writer, claims] of all) {
          const kept = book.of(writer)
          expect(kept.at(-1)?.hash).toBe(claims.at(-1)?.hash)
          for (const claim of claims) {
            const covering = kept.find(({ seq }) => seq >= claim.seq)
            expect(covering && covering.at >= claim.at).toBe(true)
            expect((covering?.notBefore ?? '') <= (claim.notBefore ?? '')).toBe(true)
          }
        }
      }),
    )
  })

  test('stay within bounds', () => {
    const book = claimBook(100)
    for (let i = 1; i <= 10_000; i++) {
      book.add('a', { seq: i, hash: `${i}`, checkpoint: i, at: at(i), notBefore: undefined })
      expect(book.of('a').length).toBeLessThanOrEqual(100)
    }
  })
})

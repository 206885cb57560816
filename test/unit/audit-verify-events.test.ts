import { describe, expect, test } from 'vitest'
import { link, type StoredEvent } from '../../src/audit/chain.ts'
import { checkpointHash, type StoredCheckpoint } from '../../src/audit/checkpoint.ts'
import { CLOSING, canonical } from '../../src/audit/event.ts'
import {
  at,
  bodyOf,
  edited,
  FORGED,
  indexOf,
  logBook,
  rewritten,
  sample,
  swapped,
  verify,
  without,
  wrong,
} from './audit-log-book.ts'

describe('a sound log', () => {
  test('has no problems, and says what it holds', async () => {
    const log = await sample()
    const last = log.checkpoints[2] as StoredCheckpoint
    expect(await verify(log)).toEqual({
      events: 19,
      writers: 3,
      checkpoints: 3,
      uncheckpointed: 1,
      lastCheckpoint: { number: 3, at: at(6), hash: checkpointHash(last) },
      problems: [],
      problemsTotal: 0,
    })
  })

  test('may be read writer by writer', async () => {
    const log = await sample()
    const events = log.events.toSorted((a, b) => a.writer.localeCompare(b.writer) || a.seq - b.seq)
    expect(await wrong({ ...log, events })).toEqual([])
  })

  test('may be empty, and may have no checkpoint yet', async () => {
    expect(await wrong({ events: [], checkpoints: [] })).toEqual([])
    const { events } = await sample()
    expect(await verify({ events, checkpoints: [] })).toMatchObject({ uncheckpointed: 19, problemsTotal: 0 })
  })

  test('checkpoints may name every writer each time, and a clock set back harms neither chain', async () => {
    const book = logBook()
    book.append('a', 10)
    await book.checkpoint(11)
    book.append('a', 5)
    await book.checkpoint(
      6,
      Object.fromEntries([...book.heads].map(([w, { seq, hash }]) => [w, { seq, hash }])),
    )
    await book.checkpoint(
      7,
      Object.fromEntries([...book.heads].map(([w, { seq, hash }]) => [w, { seq, hash }])),
    )
    expect(await wrong(book.log)).toEqual([])
  })
})

describe('tampering with events is found and named', () => {
  test('an edited text, with its request', async () => {
    const log = edited(await sample(), 'b', 3, { body: bodyOf('r8', 'elsewhere') })
    expect(await wrong(log)).toEqual(['edited b/3'])
    expect((await verify(log)).problems[0]).toMatchObject({
      requestId: 'r8',
      message: expect.stringMatching(/^event 3 of writer b \(request r8\) does not match its hash/),
    })
  })

  test.each([1, 4, 6, 7])('an edited text at %i, which a checkpoint may name or none cover', async (seq) => {
    expect(await wrong(edited(await sample(), 'a', seq, { body: FORGED }))).toEqual([`edited a/${seq}`])
  })

  test.each([1, 3, 4, 6])('an edited hash at %i', async (seq) => {
    expect(await wrong(edited(await sample(), 'b', seq, { hash: 'f'.repeat(64) }))).toEqual([
      `edited b/${seq}`,
    ])
  })

  test('a time moved on, and a time set back', async () => {
    const log = await sample()
    expect(await wrong(edited(log, 'b', 3, { at: at(30) }))).toEqual(['edited b/3'])
    expect(await wrong(edited(log, 'b', 3, { at: at(1) }))).toEqual(['back_dated b/3'])
  })

  test.each([{ at: 'yesterday' }, { at: '2026-99-01T00:00:00.000000Z' }, { hash: 'X' }])(
    'nonsense: %j',
    async (change) => {
      const log = await sample()
      expect(await wrong(edited(log, 'b', 3, change))).toEqual(['malformed b/3'])
      expect(await wrong(edited(log, 'a', 7, change))).toEqual(['malformed a/7'])
    },
  )

  test.each([{ seq: 0 }, { seq: 1.5 }, { writer: 'B\u001b[2J' }])(
    'a place that is none: %j',
    async (change) => {
      const { problems } = await verify(edited(await sample(), 'b', 6, change))
      expect(problems.map(({ kind }) => kind)).toEqual(['malformed', 'missing'])
      expect(problems[0]?.message).toMatch(/^[\x20-\x7e]+$/)
    },
  )

  test('an event dropped from the middle, from the start, from the end', async () => {
    const log = await sample()
    expect(await wrong(without(log, ['b', 3], ['b', 4]))).toEqual(['missing b/3-4'])
    expect(await wrong(without(log, ['b', 1]))).toEqual(['missing b/1'])
    expect(await wrong(without(log, ['b', 5], ['b', 6]))).toEqual(['missing b/5-6'])
    expect((await verify(without(log, ['b', 6]))).problems[0]).toMatchObject({ checkpoint: 3 })
  })

  test('a dropped writer', async () => {
    const log = await sample()
    const events = log.events.filter(({ writer }) => writer !== 'b')
    expect(await wrong({ ...log, events })).toEqual(['missing_writer b/1-6'])
  })

  test('an event dropped and the rest renumbered', async () => {
    const log = await sample()
    const events = without(log, ['b', 3]).events.map((event) =>
      event.writer === 'b' && event.seq > 3 ? { ...event, seq: event.seq - 1 } : event,
    )
    expect(await wrong({ ...log, events })).toContain('edited b/3')
    expect(await wrong({ ...log, events })).toContain('missing b/6')
  })

  test('two events that changed places, as lines and as numbers', async () => {
    const log = await sample()
    const [i, j] = [indexOf(log, 'b', 3), indexOf(log, 'b', 4)]
    expect(await wrong({ ...log, events: swapped(log.events, i, j) })).toEqual(['out_of_order b/3'])
    const [third, fourth] = [log.events[i] as StoredEvent, log.events[j] as StoredEvent]
    const renumbered = edited(edited(log, 'b', 3, { ...fourth, seq: 3 }), 'b', 4, { ...third, seq: 4 })
    expect((await wrong(renumbered))[0]).toBe('edited b/3')
  })

  test('a doubled event', async () => {
    const log = await sample()
    const index = indexOf(log, 'b', 3)
    expect(
      await wrong({ ...log, events: log.events.toSpliced(index, 0, log.events[index] as StoredEvent) }),
    ).toEqual(['duplicated b/3'])
  })

  test('an event put in between, with a hash that follows', async () => {
    const log = await sample()
    const before = log.events[indexOf(log, 'b', 2)] as StoredEvent
    const forged = link(before, { at: at(3), body: FORGED }).event
    const events = log.events
      .map((event) => (event.writer === 'b' && event.seq > 2 ? { ...event, seq: event.seq + 1 } : event))
      .toSpliced(indexOf(log, 'b', 3), 0, forged)
    const found = await wrong({ ...log, events })
    expect(found[0]).toBe('edited b/4')
    expect(found).toContain('rewritten b/3-4')
  })

  test('an event replaced by one whose hash fits, and by one after which all hashes fit', async () => {
    const log = await sample()
    const before = log.events[indexOf(log, 'b', 2)] as StoredEvent
    const forged = link(before, { at: at(3), body: FORGED }).event
    expect(await wrong(edited(log, 'b', 3, forged))).toEqual(['edited b/4'])
    expect((await verify(edited(log, 'b', 3, forged))).problems[0]?.message).toContain(
      'or event 3 was replaced',
    )
    expect(await wrong(rewritten(log, 'b', 3, { body: FORGED }))).toEqual(['rewritten b/3-4'])
    expect(await wrong(rewritten(log, 'b', 6, { body: FORGED }))).toEqual(['rewritten b/5-6'])
  })

  test('a time set back with all hashes made anew', async () => {
    const found = await wrong(rewritten(await sample(), 'b', 3, { at: at(1) }))
    expect(found).toEqual(['back_dated b/3', 'rewritten b/3-4'])
  })

  test('a chain passed off as another writer’s', async () => {
    const log = await sample()
    const events = log.events.map((event) => (event.writer === 'b' ? { ...event, writer: 'd' } : event))
    const found = await wrong({ ...log, events })
    expect(found[0]).toBe('edited d/1')
    expect(found).toContain('missing_writer b/1-6')
  })

  test('an event appended behind a checkpoint with an old date, before and after the next checkpoint', async () => {
    const book = logBook()
    book.append('a', 1)
    await book.checkpoint(2)
    book.append('a', 1000)
    await book.checkpoint(1001)
    book.append('forger', 100)
    expect(await wrong(book.log)).toContain('back_dated forger/1')
    await book.checkpoint(1002)
    expect(await wrong(book.log)).toEqual(['back_dated forger/1'])
    expect(await wrong(book.log, { slackSeconds: 901 })).toEqual([])
  })

  test('an event dated after the checkpoint that holds it', async () => {
    const book = logBook()
    book.append('a', 1000)
    await book.checkpoint(2)
    expect(await wrong(book.log)).toEqual(['post_dated a/1'])
    expect(await wrong(book.log, { slackSeconds: 998 })).toEqual([])
  })

  test('an event behind its writer’s last', async () => {
    const book = logBook()
    book.append('a', 1)
    book.append('a', 2, canonical(CLOSING))
    expect(await wrong(book.log)).toEqual([])
    book.append('a', 3)
    await book.checkpoint(4)
    expect(await wrong(book.log)).toEqual(['after_close a/3'])
  })

  test('edits in a row are each named, and blame nobody behind them', async () => {
    let log = await sample()
    for (const seq of [2, 3, 4]) log = edited(log, 'b', seq, { body: FORGED })
    expect(await wrong(log)).toEqual(['edited b/2', 'edited b/3', 'edited b/4'])
  })

  test('of very many problems the first are listed and all are counted', async () => {
    const book = logBook()
    for (let second = 1; second <= 500; second++) book.append('a', second)
    const log = { ...book.log, events: book.log.events.filter(({ seq }) => seq % 2 === 0) }
    const report = await verify(log, { maxProblems: 10 })
    expect(report.problems).toHaveLength(10)
    expect(report.problemsTotal).toBe(250)
  })
})

import { createHash } from 'node:crypto'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { type ChainHead, link, type StoredEvent, startChain } from '../../src/audit/chain.ts'
import { isClosing } from '../../src/audit/event.ts'
import { type Append, openWriters } from '../../src/audit/writers.ts'

const at = (second: number): string =>
  new Date(Date.UTC(2026, 0, 1, 0, 0, second)).toISOString().replace('Z', '000Z')
const said = (body: string, second = 0) => ({ at: at(second), body })
const sha256 = (text: string) => createHash('sha256').update(text).digest('hex')

const pool = (count: number, options?: Parameters<typeof openWriters>[2]) => {
  let named = 0
  return openWriters(count, () => `w${++named}`, options)
}

/** A transaction that commits. */
const commits =
  (...bodies: string[]) =>
  async (begin: () => Append): Promise<StoredEvent[]> =>
    begin()(bodies.map((body) => said(body)))

/** Where an event stands. */
const places = (events: StoredEvent[]) => events.map(({ writer, seq }) => `${writer}/${seq}`)

describe('a chain', () => {
  test('is hashed as documented, so that others can follow it', () => {
    const { event, head } = link(startChain('w1'), said('{"type":"system"}'))
    const genesis = sha256('leasehold audit chain v1\nw1')
    expect(event).toEqual({
      writer: 'w1',
      seq: 1,
      at: '2026-01-01T00:00:00.000000Z',
      body: '{"type":"system"}',
      hash: sha256(
        `leasehold audit event v1\n${genesis}\nw1\n1\n2026-01-01T00:00:00.000000Z\n{"type":"system"}`,
      ),
    })
    expect(head).toEqual({ writer: 'w1', seq: 1, at: event.at, hash: event.hash })
  })

  test('two chains that say the same have no hash in common', () => {
    expect(link(startChain('w1'), said('x')).event.hash).not.toBe(
      link(startChain('w2'), said('x')).event.hash,
    )
  })

  test('numbers run from 1 and times never go back', () => {
    fc.assert(
      fc.property(fc.array(fc.nat(50), { minLength: 1 }), (seconds) => {
        const events: StoredEvent[] = []
        let head: ChainHead = startChain('w1')
        for (const second of seconds) {
          const next = link(head, said('x', second))
          events.push(next.event)
          head = next.head
        }
        expect(events.map(({ seq }) => seq)).toEqual(seconds.map((_, i) => i + 1))
        const times = events.map((event) => event.at)
        expect(times).toEqual([...times].sort())
        expect(times.at(-1)).toBe(at(Math.max(...seconds)))
      }),
    )
  })

  test.each(['', '2026-01-01T00:00:00Z', '2026-01-01T00:00:00.000000+01:00', '2026-99-01T00:00:00.000000Z'])(
    'the time %j is refused',
    (time) => {
      expect(() => link(startChain('w1'), { at: time, body: 'x' })).toThrow('dated')
    },
  )

  test.each(['', 'W1', 'a\nb', '-a', 'a'.repeat(65)])('the writer %j is refused', (writer) => {
    expect(() => startChain(writer)).toThrow('writer')
  })
})

describe('a pool of writers', () => {
  test('one after the other use one chain', async () => {
    const writers = pool(3)
    expect(places(await writers.use(commits('a', 'b')))).toEqual(['w3/1', 'w3/2'])
    expect(places(await writers.use(commits('c')))).toEqual(['w3/3'])
  })

  test('at the same time they use one each, and no chain is lent twice', async () => {
    const writers = pool(2)
    const lent = new Set<string>()
    const seen: string[] = []
    const use = (body: string) =>
      writers.use(async (begin) => {
        const [event] = begin()([said(body)])
        const writer = event?.writer ?? ''
        expect(lent.has(writer)).toBe(false)
        lent.add(writer)
        await new Promise(setImmediate)
        lent.delete(writer)
        seen.push(`${writer}/${event?.seq}`)
      })
    await Promise.all(Array.from({ length: 20 }, (_, i) => use(`event ${i}`)))
    expect(new Set(seen).size).toBe(20)
    expect(seen.map((place) => place.slice(0, 2)).sort()).toEqual([
      ...Array(10).fill('w1'),
      ...Array(10).fill('w2'),
    ])
    expect(seen).toContain('w1/10')
    expect(seen).toContain('w2/10')
  })

  test('waiters are served in the order they asked', async () => {
    const writers = pool(1)
    const served: number[] = []
    await Promise.all(
      [0, 1, 2, 3, 4].map((i) =>
        writers
          .use(async (begin) => {
            begin()([said('x')])
            await new Promise(setImmediate)
            served.push(i)
            if (i === 2) throw new Error('this one fails')
          })
          .catch(() => {}),
      ),
    )
    expect(served).toEqual([0, 1, 2, 3, 4])
  })

  test('a chain whose outcome is unknown is never written again', async () => {
    const writers = pool(1)
    await writers.use(commits('a'))
    const failing = writers.use(async (begin) => {
      begin()([said('b')])
      throw new Error('connection lost')
    })
    await expect(failing).rejects.toThrow('connection lost')
    expect(places(await writers.use(commits('c')))).toEqual(['w2/1'])
  })

  test('whoever waits for a chain that failed gets the fresh one', async () => {
    const writers = pool(1)
    const failing = writers.use(async (begin) => {
      begin()([said('a')])
      await new Promise(setImmediate)
      throw new Error('connection lost')
    })
    const waiting = writers.use(commits('b'))
    await expect(failing).rejects.toThrow()
    expect(places(await waiting)).toEqual(['w2/1'])
  })

  test('a failure that surely left nothing, or wrote nothing, keeps the chain where it was', async () => {
    const writers = pool(1, { rolledBack: (error) => (error as Error).message === 'refused' })
    await writers.use(commits('a'))
    const refused = writers.use(async (begin) => {
      begin()([said('b')])
      throw new Error('refused')
    })
    await expect(refused).rejects.toThrow()
    await expect(writers.use(() => Promise.reject(new Error('early')))).rejects.toThrow()
    expect(places(await writers.use(commits('c')))).toEqual(['w1/2'])
  })

  test('a transaction that is run again starts from the same head', async () => {
    const writers = pool(1)
    const events = await writers.use(async (begin) => {
      begin()([said('a'), said('b')])
      const append = begin()
      return [...append([said('a')]), ...append([said('c')])]
    })
    expect(places(events)).toEqual(['w1/1', 'w1/2'])
    const [third] = await writers.use(commits('d'))
    expect(third).toEqual(link({ ...(events[1] as StoredEvent) }, said('d')).event)
  })

  test('an append kept for later cannot fork the chain', async () => {
    const writers = pool(1)
    let kept: Append = () => []
    await writers.use(async (begin) => {
      kept = begin()
      const append = begin()
      expect(() => kept([said('x')])).toThrow('is over')
      kept = append
    })
    expect(() => kept([said('x')])).toThrow('is over')
  })

  test('closing waits for the others, and ends every chain that was written', async () => {
    const writers = pool(3)
    const order: string[] = []
    const slow = Promise.all(
      ['a', 'b'].map((body) =>
        writers.use(async (begin) => {
          begin()([said(body)])
          await new Promise(setImmediate)
          order.push(body)
        }),
      ),
    )
    const closing = writers.close(async (closings) => {
      order.push('close')
      const events = closings(at(9))
      expect(places(events)).toEqual(['w3/2', 'w2/2'])
      expect(events.every(({ body }) => isClosing(body))).toBe(true)
    })
    await expect(writers.use(commits('c'))).rejects.toMatchObject({ code: 'unavailable' })
    await Promise.all([slow, closing])
    expect(order).toEqual(['a', 'b', 'close'])
  })

  test('closing a pool that wrote nothing writes nothing, and closing twice is closing once', async () => {
    const writers = pool(2)
    await writers.close(() => Promise.reject(new Error('not called')))
    await writers.close(() => Promise.reject(new Error('not called')))
  })
})

import { BrokerError } from '../lib/errors.ts'
import { type ChainHead, link, type StoredEvent, startChain } from './chain.ts'
import { CLOSING, canonical } from './event.ts'

/** Links events to the lent chain, in order. Its answer is what the transaction must insert. */
export type Append = (events: readonly { at: string; body: string }[]) => StoredEvent[]

/** The chains one process writes, each lent to one transaction at a time. */
export type AuditWriters = {
  /**
   * Lends a chain to `work`, in order of asking. `begin` is called at the start of each attempt of the transaction:
   * it forgets what an earlier attempt appended. `work` resolves only when everything appended since the last `begin`
   * is committed, and then the chain goes on from there. When it rejects, the events may be in the ledger or not: the
   * chain is never written again, and a new one takes its place. A chain nothing was appended to is kept.
   */
  use<T>(work: (begin: () => Append) => Promise<T>): Promise<T>
  /**
   * Waits for everyone who asked before, then hands `work` the last events of the chains that were written, dated
   * `at`. Whoever asks later is refused as `unavailable`. When `work` rejects, the chains stay open, which is no fault.
   */
  close(work: (closings: (at: string) => StoredEvent[]) => Promise<void>): Promise<void>
}

/**
 * `count` chains under names of `newWriterId`, which never gives a name twice, in this process or any other.
 * `rolledBack` tells errors of `use` after which the ledger surely holds nothing of the transaction; their chain is
 * kept, so that refused requests do not leave a chain each. It must be false for a violation of the ledger's unique
 * (writer, seq): that is the guard against its having been wrong before, and the chain has to end then.
 */
export function openWriters(
  count: number,
  newWriterId: () => string,
  { rolledBack = (_error: unknown): boolean => false } = {},
): AuditWriters {
  const free = Array.from({ length: count }, () => startChain(newWriterId()))
  const waiting: ((head: ChainHead) => void)[] = []
  let closed = false

  const borrow = (): Promise<ChainHead> => {
    // The last one back goes out first: a quiet process moves one chain, and checkpoints stay small.
    const head = free.pop()
    return head ? Promise.resolve(head) : new Promise((resolve) => waiting.push(resolve))
  }

  const giveBack = (head: ChainHead): void => {
    const next = waiting.shift()
    if (next) next(head)
    else free.push(head)
  }

  return {
    async use(work) {
      if (closed) throw new BrokerError('unavailable', 'the audit log of this process is closed')
      const lent = await borrow()
      const attempts = attemptsOn(lent)
      try {
        const result = await work(attempts.begin)
        giveBack(attempts.end())
        return result
      } catch (error) {
        attempts.end()
        giveBack(attempts.untouched() || rolledBack(error) ? lent : startChain(newWriterId()))
        throw error
      }
    },

    async close(work) {
      if (closed) return
      closed = true
      const heads = await Promise.all(Array.from({ length: count }, borrow))
      const written = heads.filter(({ seq }) => seq > 0)
      if (written.length === 0) return
      const body = canonical(CLOSING)
      await work((at) => written.map((head) => link(head, { at, body }).event))
    },
  }
}

/** One lending. An `append` that outlives its attempt would fork the chain, so it throws. */
function attemptsOn(lent: ChainHead) {
  let head = lent
  let current: Append | undefined
  let untouched = true
  let over = false

  const begin = (): Append => {
    const append: Append = (events) => {
      if (over || append !== current) throw new Error('this attempt to write audit events is over')
      return events.map((event) => {
        untouched = false
        const next = link(head, event)
        head = next.head
        return next.event
      })
    }
    head = lent
    current = append
    return append
  }

  return {
    begin,
    untouched: () => untouched,
    /** The end of the chain after the last attempt. */
    end(): ChainHead {
      over = true
      return head
    },
  }
}

import type { Ledger } from '../ledger/db.ts'
import { type RateAsk, type RateTaken, takeRates } from '../ledger/rate-counts.ts'
import type { Reading } from '../ledger/reading.ts'
import { batcher } from '../lib/batcher.ts'
import { BrokerError } from '../lib/errors.ts'
import { ok } from '../lib/result.ts'

/** How often something may be done by whoever the key stands for. */
export type Rate = Omit<RateAsk, 'times'>

/** Undefined: there was room. */
export type TakeRate = (rate: Rate, reading: Reading) => Promise<Full | undefined>

export type Full = {
  /** When there is room again, from now. */
  waitSeconds: number
  /** Nobody was refused before since the count began, on any server. */
  first: boolean
}

/** So many refusals are remembered; callers choose the keys, so there has to be an end. */
const REMEMBERED = 10_000

/**
 * Counts in the ledger, so that all servers count together; what arrives together is one statement. Who was refused is
 * refused until the count starts anew without asking the ledger again, so that refusing costs less than letting through.
 */
export function createRateLimits(ledger: Ledger): TakeRate {
  const take = batcher<Rate, RateTaken & { place: number }>((rates) => takeAll(ledger, rates))
  let refused = { revision: Number.NaN, until: new Map<string, Date>() }

  return async (rate, { revision, now }) => {
    if (refused.revision !== revision || refused.until.size >= REMEMBERED) {
      refused = { revision, until: new Map() }
    }
    const { until } = refused
    const name = nameOf(rate)
    const known = until.get(name)
    if (known && known > now) {
      return { waitSeconds: (known.getTime() - now.getTime()) / 1_000, first: false }
    }
    const { place, freeAt, freeInSeconds } = await take(rate)
    if (place <= rate.max) return undefined
    until.set(name, freeAt)
    return { waitSeconds: freeInSeconds, first: place === rate.max + 1 }
  }
}

const nameOf = ({ counter, key }: Pick<Rate, 'counter' | 'key'>): string => `${counter} ${key}`

/** Of several who take the same, the first to arrive come first. */
async function takeAll(ledger: Ledger, rates: Rate[]) {
  const asks = new Map<string, RateAsk>()
  for (const rate of rates) {
    const times = (asks.get(nameOf(rate))?.times ?? 0) + 1
    asks.set(nameOf(rate), { ...rate, times })
  }
  const taken = new Map((await takeRates(ledger, [...asks.values()])).map((row) => [nameOf(row), row]))
  const places = new Map([...taken].map(([name, row]) => [name, row.taken - (asks.get(name)?.times ?? 0)]))
  return rates.map((rate) => {
    const name = nameOf(rate)
    const row = taken.get(name)
    if (!row) throw new Error('the ledger has not counted what it was asked to')
    const place = (places.get(name) ?? 0) + 1
    places.set(name, place)
    return ok({ ...row, place })
  })
}

/** Which limit was reached, for the record. */
export type LimitReached = {
  /** A kind of quota, or the name of a limit that is always there. */
  limit: string
  /** The quota's name. */
  quota?: string
  countedBy: string
  max: number
  windowSeconds: number
  /** The first refusal of its window: the rest of them is not on record. */
  first: boolean
}

class LimitError extends BrokerError {
  readonly reached: LimitReached

  constructor(text: string, retryAfterSeconds: number, reached: LimitReached) {
    super('too_many_requests', text, { retryAfterSeconds })
    this.reached = reached
  }
}

/** The refusal, with the time after which it is worth trying again; of a limit that counts by time, also which. */
export function tooMany(text: string, waitSeconds: number, reached?: LimitReached): BrokerError {
  const retryAfterSeconds = Math.max(1, Math.ceil(waitSeconds))
  return reached
    ? new LimitError(text, retryAfterSeconds, reached)
    : new BrokerError('too_many_requests', text, { retryAfterSeconds })
}

export const limitReached = (error: unknown): LimitReached | undefined =>
  error instanceof LimitError ? error.reached : undefined

/**
 * Whom a source address stands for. One host has any number of IPv6 addresses, but all of one network: those count as
 * one.
 */
export function sourceKey(address: string): string {
  if (!address.includes(':')) return address
  const [plain = ''] = address.split('%')
  const [head = '', tail] = plain.toLowerCase().split('::')
  const start = head === '' ? [] : head.split(':')
  const end = tail === undefined || tail === '' ? [] : tail.split(':')
  const gap = tail === undefined ? [] : Array<string>(Math.max(0, 8 - start.length - end.length)).fill('0')
  const network = [...start, ...gap, ...end].slice(0, 4).map((group) => group.replace(/^0+(?=.)/, ''))
  return `${network.join(':')}::/64`
}

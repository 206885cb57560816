import type { Ledger } from '../ledger/db.ts'
import { type RateAsk, type RateTaken, takeRates } from '../ledger/rate-counts.ts'
import type { Reading } from '../ledger/reading.ts'
import { batcher } from '../lib/batcher.ts'
import { BrokerError } from '../lib/errors.ts'
import { ok } from '../lib/result.ts'

/** How often something may be done by whoever the key stands for. */
export type Rate = Omit<RateAsk, 'times'>

/** Undefined: there was room. Otherwise when there is again, in seconds from now. */
export type TakeRate = (rate: Rate, reading: Reading) => Promise<number | undefined>

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
    if (known && known > now) return (known.getTime() - now.getTime()) / 1_000
    const { place, freeAt, freeInSeconds } = await take(rate)
    if (place <= rate.max) return undefined
    until.set(name, freeAt)
    return freeInSeconds
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

/** The refusal, with the time after which it is worth trying again. */
export const tooMany = (text: string, retryAfterSeconds: number): BrokerError =>
  new BrokerError('too_many_requests', text, { retryAfterSeconds: Math.max(1, Math.ceil(retryAfterSeconds)) })

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

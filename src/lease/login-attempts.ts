import { createHash } from 'node:crypto'
import type { Ledger } from '../ledger/db.ts'
import { fullRates, type RateQuestion } from '../ledger/rate-counts.ts'
import type { Reading } from '../ledger/reading.ts'
import { batcher } from '../lib/batcher.ts'
import { ok } from '../lib/result.ts'
import { createRateLimits, sourceKey, tooMany } from './rate-limits.ts'

export type LoginAttempt = {
  source: string
  mountId: string
  /** Undefined where nobody names it, and whoever does not know a secret cannot. */
  roleName: string | undefined
  reading: Reading
  /** Whether it is its caller's doing that it failed, and not that of a ledger, an issuer or a cluster. */
  isCallersFault(error: unknown): boolean
}

/** Runs a login unless too many have failed lately, and counts it if it fails. */
export type LoginAttempts = <T>(attempt: LoginAttempt, logIn: () => Promise<T>) => Promise<T>

/** So many logins may fail in each window, from one source and for one role, on all servers together. */
export const FAILED_LOGINS = { windowSeconds: 60, perSource: 300, perRole: 1_000 }

const SOURCE = 'failed-logins-by-source'
const ROLE = 'failed-logins-by-role'

/**
 * A login that succeeds costs one look, shared with those that arrive with it, and changes no count. The refusal is the
 * same whichever count was full, so that it tells nobody what others do. Throws when the ledger cannot count.
 */
export function createLoginAttempts(ledger: Ledger, limits = FAILED_LOGINS): LoginAttempts {
  const take = createRateLimits(ledger)
  const lookUp = batcher<RateQuestion[], number | undefined>((asked) => lookUpAll(ledger, asked), {
    inFlight: 2,
  })

  return async (attempt, logIn) => {
    const counts = countsOf(attempt, limits)
    const fullFor = await lookUp(counts)
    if (fullFor !== undefined) throw tooMany('too many failed logins; try again later', fullFor)
    try {
      return await logIn()
    } catch (error) {
      if (attempt.isCallersFault(error)) {
        const { windowSeconds } = limits
        await Promise.all(
          counts.map((count) => take({ ...count, windowSeconds, blockSeconds: 0 }, attempt.reading)),
        )
      }
      throw error
    }
  }
}

const countsOf = (
  { source, mountId, roleName }: LoginAttempt,
  { perSource, perRole }: typeof FAILED_LOGINS,
): RateQuestion[] => [
  { counter: SOURCE, key: sourceKey(source), max: perSource },
  ...(roleName === undefined ? [] : [{ counter: ROLE, key: roleKey(mountId, roleName), max: perRole }]),
]

/** A role is one of its mount, in whatever case. Hashed: anybody may send any name, of any length. */
const roleKey = (mountId: string, roleName: string): string =>
  createHash('sha256')
    .update(JSON.stringify([mountId, roleName.toLowerCase()]))
    .digest('base64url')

/** How long the fuller of each attempt's counts stays full, in seconds. */
async function lookUpAll(ledger: Ledger, asked: RateQuestion[][]) {
  const nameOf = ({ counter, key }: Pick<RateQuestion, 'counter' | 'key'>) => `${counter} ${key}`
  const questions = new Map(asked.flat().map((question) => [nameOf(question), question]))
  const full = await fullRates(ledger, [...questions.values()])
  const seconds = new Map(full.map((row) => [nameOf(row), row.freeInSeconds]))
  return asked.map((counts) => {
    const waits = counts.map((count) => seconds.get(nameOf(count)) ?? 0)
    return ok(waits.some((wait) => wait > 0) ? Math.max(...waits) : undefined)
  })
}

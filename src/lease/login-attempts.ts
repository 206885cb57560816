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

/**
 * So many logins may fail in each window, on all servers together: of one source for one role, of one source, and for
 * one role.
 */
export const FAILED_LOGINS = { windowSeconds: 60, perSourceAndRole: 300, perSource: 3_000, perRole: 1_000 }

const SOURCE_AND_ROLE = 'failed-logins-by-source-and-role'
const SOURCE = 'failed-logins-by-source'
const ROLE = 'failed-logins-by-role'
const COUNTED_BY = { [SOURCE_AND_ROLE]: 'ip and role', [SOURCE]: 'ip', [ROLE]: 'role' } as const

type Count = RateQuestion & { counter: keyof typeof COUNTED_BY }

/**
 * A login that succeeds costs one look, shared with those that arrive with it, and changes no count. A source whose
 * counts are full is refused unheard. Anybody, from anywhere, can fill the count of a role: then a login for it is heard
 * all the same, and where it fails it is refused as if it had not been, so that guessing teaches nothing and nobody is
 * kept out. The text is the same whichever count was full. Throws when the ledger cannot count.
 */
export function createLoginAttempts(ledger: Ledger, limits = FAILED_LOGINS): LoginAttempts {
  const take = createRateLimits(ledger)
  /** What is refused unheard counts by itself, or nobody could tell which was the first. */
  const refusal = async ({ counter, key, max, waitSeconds }: FullCount, reading: Reading) => {
    const refused = {
      counter: `refused-${counter}`,
      key,
      max: 0,
      windowSeconds: waitSeconds,
      blockSeconds: 0,
    }
    const { first = false } = (await take(refused, reading)) ?? {}
    const { windowSeconds } = limits
    return tooMany('too many failed logins; try again later', waitSeconds, {
      limit: counter,
      countedBy: COUNTED_BY[counter],
      max,
      windowSeconds,
      first,
    })
  }
  const lookUp = batcher<RateQuestion[], Waits>((asked) => lookUpAll(ledger, asked), { inFlight: 2 })

  return async (attempt, logIn) => {
    const { ofSource, ofRole } = countsOf(attempt, limits)
    const counts = [...ofSource, ...ofRole]
    const waits = await lookUp(counts)
    const refuseWhereFull = async (asked: Count[]): Promise<void> => {
      const full = longestFull(waits, asked)
      if (full) throw await refusal(full, attempt.reading)
    }
    await refuseWhereFull(ofSource)
    try {
      return await logIn()
    } catch (error) {
      if (!attempt.isCallersFault(error)) throw error
      const { windowSeconds } = limits
      await Promise.all(
        counts.map((count) => take({ ...count, windowSeconds, blockSeconds: 0 }, attempt.reading)),
      )
      await refuseWhereFull(ofRole)
      throw error
    }
  }
}

type FullCount = Count & { waitSeconds: number }

const longestFull = (waits: Waits, counts: Count[]): FullCount | undefined =>
  counts
    .map((count) => ({ ...count, waitSeconds: waits.get(nameOf(count)) ?? 0 }))
    .filter(({ waitSeconds }) => waitSeconds > 0)
    .sort((a, b) => b.waitSeconds - a.waitSeconds)[0]

function countsOf(
  { source, mountId, roleName }: LoginAttempt,
  { perSourceAndRole, perSource, perRole }: typeof FAILED_LOGINS,
): { ofSource: Count[]; ofRole: Count[] } {
  const from = sourceKey(source)
  // Counted without white space around it and without case, whatever the method makes of them: a name written in
  // another way is no new name to try.
  const name = roleName?.trim().toLowerCase()
  return {
    ofSource: [
      { counter: SOURCE_AND_ROLE, key: hashOf([from, mountId, name ?? null]), max: perSourceAndRole },
      { counter: SOURCE, key: from, max: perSource },
    ],
    ofRole: name === undefined ? [] : [{ counter: ROLE, key: hashOf([mountId, name]), max: perRole }],
  }
}

/** Anybody may send any name, of any length. */
const hashOf = (parts: (string | null)[]): string =>
  createHash('sha256').update(JSON.stringify(parts)).digest('base64url')

/** How long counts stay full, in seconds, for those that are full. */
type Waits = ReadonlyMap<string, number>

const nameOf = ({ counter, key }: Pick<RateQuestion, 'counter' | 'key'>): string => `${counter} ${key}`

async function lookUpAll(ledger: Ledger, asked: RateQuestion[][]) {
  const questions = new Map(asked.flat().map((question) => [nameOf(question), question]))
  const full = await fullRates(ledger, [...questions.values()])
  const waits: Waits = new Map(full.map((row) => [nameOf(row), row.freeInSeconds]))
  return asked.map(() => ok(waits))
}

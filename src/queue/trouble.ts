import { messageOf } from '../lib/errors.ts'
import type { Logger } from '../lib/log.ts'

const QUIET_MS = 30_000

export type Trouble = { report(error: unknown): void; over(): void }

/**
 * One line when the queue fails and then at most one every 30 s, with how many errors it stands for: a lost
 * connection is told by every part that used it. Only the message is logged; drivers hang commands on their errors.
 */
export function troubleLog(log: Logger, now: () => number = () => performance.now()): Trouble {
  let saidAt = Number.NEGATIVE_INFINITY
  let unsaid = 0
  let troubled = false
  return {
    report(error) {
      unsaid += 1
      if (now() - saidAt < QUIET_MS) return
      const { code } = error as { code?: unknown }
      log.warn(
        { error: messageOf(error) || code, errors: unsaid },
        'the wake-up queue is in trouble; leases still end, by the sweep',
      )
      troubled = true
      saidAt = now()
      unsaid = 0
    },
    over() {
      if (!troubled) return
      troubled = false
      log.info('the wake-up queue works again')
    },
  }
}

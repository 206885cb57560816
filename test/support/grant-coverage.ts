import { type Capacity, type Lane, TRANSITIONS } from '../../src/breakglass/states.ts'
import type { GrantWorld } from './grant-world.ts'

/** Which rows of the machine a world's grants have gone through, as the ledger tells it. */

export type Walked = { event: string; from: string | null; to: string; who: Capacity; lane: Lane }

export async function walkedIn({ lease }: Pick<GrantWorld, 'lease'>): Promise<Walked[]> {
  const { rows } = await lease.test.ledger.query<Walked>(
    `select distinct e.event, e.from_state as "from", e.to_state as "to", coalesce(e.detail ->> 'who', 'requester') as who,
       g.lane
     from leasehold.grant_event e join leasehold.access_grant g on g.id = e.grant_id`,
  )
  return rows
}

/** Each row from each state by each of whom it names, and each row in each lane it is for alone, as a line. */
export function linesOfTable(): string[] {
  const lines = TRANSITIONS.flatMap(({ row, event, from, to, who, lanes }) =>
    from.flatMap((state) => [
      ...who.map((one) => `${row}: ${state} ${event} ${to === 'same' ? state : to} by ${one}`),
      ...(lanes ?? []).map((lane) => `${row}: ${state} ${event} ${to === 'same' ? state : to} in ${lane}`),
    ]),
  )
  return [...new Set(lines)].sort()
}

/** Of those, the ones that have been walked. */
export function linesWalked(walked: readonly Walked[]): Set<string> {
  const moves = new Set(
    walked.flatMap(({ event, from, to, who, lane }) => [
      `${from} ${event} ${to} by ${who}`,
      `${from} ${event} ${to} in ${lane}`,
    ]),
  )
  return new Set(linesOfTable().filter((line) => moves.has(line.slice(line.indexOf(': ') + 2))))
}

import { durationWords } from '../../clock.ts'

/** A drill as the API lists it: how long each part took, in seconds; null for what has not happened. */
export type Drill = {
  id: string
  policy: string
  state: string
  requested_at: string
  seconds_to_first_vote: number | null
  seconds_to_approval: number | null
  seconds_to_access: number | null
  seconds_to_proved_gone: number | null
  seconds_to_review: number | null
}

/** A policy for emergencies that has not been drilled for too long; null for never. */
export type Gap = { policy: string; last_drill_at: string | null }

export type DrillsReport = { drills: Drill[]; gaps: Gap[] }

type Part = {
  name: string
  /** What it is counted from, where that is not the ask. */
  since?: string
  seconds: (drill: Drill) => number | null
}

const PARTS: readonly Part[] = [
  { name: 'First vote', seconds: (drill) => drill.seconds_to_first_vote },
  { name: 'Approved', seconds: (drill) => drill.seconds_to_approval },
  { name: 'Activated', seconds: (drill) => drill.seconds_to_access },
  { name: 'Proved gone', since: 'after its end', seconds: (drill) => drill.seconds_to_proved_gone },
  { name: 'Reviewed', since: 'after that', seconds: (drill) => drill.seconds_to_review },
]

/** The parts of a drill in order, as headings: all but the last two are counted from the ask. */
export const PART_NAMES: readonly string[] = PARTS.map(({ name, since }) =>
  since === undefined ? name : `${name}, ${since}`,
)

/** How long each part took; a dash for what did not happen, which while it goes on may still come. */
export const timesOf = (drill: Drill): string[] => PARTS.map(({ seconds }) => tookWords(seconds(drill)))

const tookWords = (seconds: number | null): string => {
  if (seconds === null) return '–'
  return seconds < 1 ? 'at once' : durationWords(seconds)
}

/** "last drilled", with the time left to the page; "never drilled". */
export const gapWords = ({ last_drill_at }: Gap): string =>
  last_drill_at === null ? 'was never drilled' : 'was last drilled'

/** Where a drill under a policy begins; of any without a name. */
export const drillAddress = (policy?: string): string =>
  `/access/ask?${new URLSearchParams({ ...(policy !== undefined && { policy }), lane: 'drill' })}`

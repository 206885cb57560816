import type { Db } from '../ledger/db.ts'
import { type DrillReport, lastDrills, listDrills } from '../ledger/grant-drills.ts'

/** What drills have shown, and where none has been for too long. */
export type DrillsReport = {
  drills: DrillReport[]
  gaps: { policy: string; lastDrillAt: Date | null }[]
}

/** Each quarter, with a few days to spare. */
const DRILLED_WITHIN_DAYS = 95
const SHOWN = 100
const DAY_MS = 86_400_000

export async function reportDrills(db: Db): Promise<DrillsReport> {
  const [drills, last] = [await listDrills(db, SHOWN), await lastDrills(db)]
  const isGap = ({ lastDrillAt, now }: (typeof last)[number]) =>
    lastDrillAt === null || now.getTime() - lastDrillAt.getTime() > DRILLED_WITHIN_DAYS * DAY_MS
  return { drills, gaps: last.filter(isGap).map(({ policy, lastDrillAt }) => ({ policy, lastDrillAt })) }
}

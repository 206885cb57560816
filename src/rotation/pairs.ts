import type { Rotation } from '../ledger/rotation.ts'
import { intervalSeconds } from './schedule.ts'

/** What has to be known of a member of a group. */
export type Member = Pick<
  Rotation,
  | 'id'
  | 'name'
  | 'periodSeconds'
  | 'schedule'
  | 'windowSeconds'
  | 'phase'
  | 'rotations'
  | 'lastRotatedAt'
  | 'dueAt'
  | 'attempts'
>

/** Between two members that wait for each other: how soon to look again. */
const LOOK_AGAIN_S = 5

/**
 * Until when `me` has to wait for the others of its group; undefined: not at all. Who reads both halves of a pair must
 * find one of them unchanged, so two members never rotate in the same window: between them lies an even share of the
 * shortest interval of the group, and at least the longest window. While one is half done the others wait.
 */
export function waitsUntil(
  me: Member,
  group: readonly Member[],
  now: Date,
): { at: Date; for: string } | undefined {
  const others = group.filter(({ id }) => id !== me.id)
  const underWay = others.find(({ phase }) => phase !== null)
  if (underWay) return { at: seconds(now, LOOK_AGAIN_S), for: underWay.name ?? '' }
  const gap = gapSeconds(group, now)
  const recent = others
    // What was never rotated by us had nobody who read it here.
    .filter(({ lastRotatedAt, rotations }) => lastRotatedAt !== null && rotations > 0)
    .map(({ lastRotatedAt, name }) => ({ at: seconds(lastRotatedAt as Date, gap), for: name ?? '' }))
    .filter(({ at }) => at > now)
    .sort((a, b) => b.at.getTime() - a.at.getTime())[0]
  if (recent) return recent
  const first = others.find((other) => isDue(other, now) && other.attempts === 0 && isBefore(other, me))
  return first && { at: seconds(now, LOOK_AGAIN_S), for: first.name ?? '' }
}

/** How far apart rotations of different members are. */
export function gapSeconds(group: readonly Member[], now: Date): number {
  const intervals = group.flatMap((member) => intervalSeconds(member, now) ?? [])
  const windows = group.flatMap(({ windowSeconds }) => windowSeconds ?? [])
  const share = intervals.length === 0 ? 0 : Math.min(...intervals) / group.length
  return Math.max(share, ...windows, 0)
}

const isDue = ({ dueAt }: Member, now: Date): boolean => dueAt !== null && dueAt <= now

/** Of two that are due, the one that has waited longer; by id where that does not tell, so that all agree. */
function isBefore(a: Member, b: Member): boolean {
  const [lastA, lastB] = [a.lastRotatedAt?.getTime() ?? 0, b.lastRotatedAt?.getTime() ?? 0]
  return lastA === lastB ? a.id < b.id : lastA < lastB
}

const seconds = (from: Date, count: number): Date => new Date(from.getTime() + count * 1_000)

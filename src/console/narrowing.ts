import type { Plan } from './grant-types.ts'

export type Narrowing = { roles: readonly string[]; minutes: number | string }

/** The narrowing that changes nothing. */
export const wholePlan = (plan: Plan): Narrowing => ({
  roles: plan.roles.map(({ path }) => path),
  minutes: Math.ceil(plan.duration_seconds / 60),
})

/** What is wrong with it: an approver may take away and never add. Undefined for a narrowing that may be sent. */
export function narrowingProblem(plan: Plan, { roles, minutes }: Narrowing): string | undefined {
  if (roles.length === 0) return 'At least one role has to stay. To allow none of it, deny the request.'
  const whole = Number(minutes)
  if (!Number.isInteger(whole) || whole < 1) return 'At least one minute, in whole minutes'
  if (whole > Math.ceil(plan.duration_seconds / 60)) return 'Not longer than was asked for'
  return undefined
}

/** The `narrow` of a vote: only what is less than the plan; undefined when nothing is. */
export function narrowOf(
  plan: Plan,
  { roles, minutes }: Narrowing,
): { roles?: string[]; duration?: number } | undefined {
  const seconds = Number(minutes) * 60
  const fewer = roles.length < plan.roles.length
  const shorter = seconds < plan.duration_seconds
  if (!fewer && !shorter) return undefined
  return {
    ...(fewer && { roles: plan.roles.map(({ path }) => path).filter((path) => roles.includes(path)) }),
    ...(shorter && { duration: seconds }),
  }
}

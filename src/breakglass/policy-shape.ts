import { z } from 'zod'
import { parseDuration } from '../lib/duration.ts'
import { urlFault } from './notify/destinations.ts'
import type { Quorum } from './quorum.ts'
import { GRANT_EVENTS } from './states.ts'

/** The parts of a policy document that are more than one value: what they look like. */

const MAX_ITEMS = 100
const name = z.string().regex(/^[\w.-]{1,64}$/, 'is no name: letters, digits, "_", "-" and "."')
const word = z.string().min(1).max(256)
export const words = z.array(word).max(MAX_ITEMS)
export const names = z.array(name).max(MAX_ITEMS)

const selection = z.strictObject({ groups: words.default([]), subjects: words.default([]) })
export type Selection = z.infer<typeof selection>

export const sets = z
  .record(name, selection)
  .refine((all) => Object.keys(all).length <= 50, 'has too many sets')

export const requesters = z.strictObject({
  groups: words.default([]),
  subjects: words.default([]),
  kinds: z.array(z.enum(['human', 'workload'])).default(['human']),
})

const leaf = z.strictObject({ set: name, count: z.int().min(1).max(10).default(1) })
/** Whose one seat the incident system may fill, for which roles. */
export const onCall = z.strictObject({ set: name, roles: words.min(1, 'must name at least one') })

/** Too deep a tree is refused before it comes here, with the body it is in. */
export const quorum: z.ZodType<Quorum> = z.lazy(() =>
  z.union([
    leaf,
    z.strictObject({ all_of: z.array(quorum).min(1).max(10) }),
    z.strictObject({ any_of: z.array(quorum).min(1).max(10) }),
  ]),
)

export const webUrl = z
  .string()
  .max(2_048)
  .refine((text) => !urlFault(text), 'must be a URL that begins with https://, with no login in it')

export const notify = z
  .array(
    z.strictObject({
      name,
      type: z.enum(['webhook', 'slack']),
      url: webUrl,
      /** Never kept with the document. */
      secret: z.string().max(1_024).optional(),
      events: z.array(z.enum(GRANT_EVENTS)).max(MAX_ITEMS).optional(),
      /** Asked to decide no sooner than these. */
      sets: names.min(1, 'must name at least one').optional(),
    }),
  )
  .max(20)
  .refine((all) => new Set(all.map((one) => one.name)).size === all.length, 'has two of one name')

/** Whole seconds between bounds, from any form of the dialect's durations. */
export const seconds = (min: number, max: number) =>
  z.union([z.number(), z.string()]).transform((value, ctx): number => {
    const parsed = parseDuration(value)
    if (parsed !== undefined && parsed >= min && parsed <= max) return parsed
    ctx.addIssue(`must be a duration from ${min} to ${max} seconds`)
    return z.NEVER
  })

import { type Sensitive, sensitive } from '../lib/sensitive.ts'
import type { AdminRotations } from '../rotation/admins.ts'
import { shownProgress, shownSchedule } from './database-static-roles.ts'
import { bool, type Decoded, duration, text } from './fields.ts'
import { handle, type Route } from './route.ts'

/** Rotating the password that we log in with ourselves. */
export const databaseRotationRoutes = ({ adminRotations }: { adminRotations: AdminRotations }): Route[] => [
  {
    path: 'rotate-root/:name',
    on: {
      update: handle({}, async ({ mount, capture }) => {
        await adminRotations.rotate(mount.id, capture('name'))
        return undefined
      }),
    },
  },
]

/** Fields of a connection that say when its admin password is rotated, and who the second admin is. */
export const ADMIN_ROTATION_FIELDS = {
  rotation_period: duration,
  rotation_schedule: text,
  rotation_window: duration,
  disable_automated_rotation: bool,
  alternate_username: text,
  alternate_password: text,
}

/** What is written to the connection beside. */
type TargetPart = {
  plugin?: string | undefined
  verify: boolean
  password?: Sensitive | undefined
  fields: Readonly<Record<string, unknown>>
}

/** Writes a connection with what is said of its rotation: everything is checked before anything is written. */
export async function writeWithRotation(
  adminRotations: AdminRotations,
  at: { mountId: string; name: string },
  fields: Decoded<typeof ADMIN_ROTATION_FIELDS>,
  target: TargetPart,
  writeTarget: () => Promise<string[]>,
): Promise<string[]> {
  const settle = await adminRotations.prepare(at.mountId, at.name, {
    schedule: {
      periodSeconds: fields.rotation_period,
      schedule: fields.rotation_schedule,
      windowSeconds: fields.rotation_window,
    },
    disabled: fields.disable_automated_rotation,
    alternateUsername: fields.alternate_username,
    alternatePassword:
      fields.alternate_password === undefined ? undefined : sensitive(fields.alternate_password),
    ...target,
  })
  const warnings = await writeTarget()
  return [...warnings, ...(await settle())]
}

/** What a connection says of its rotation; nothing where it was never asked for. */
export async function shownRotation(
  adminRotations: AdminRotations,
  targetId: string,
): Promise<Record<string, unknown>> {
  const rotation = await adminRotations.find(targetId)
  if (!rotation) return {}
  return {
    ...shownSchedule(rotation),
    disable_automated_rotation: !rotation.automated,
    ...(rotation.alternateUsername !== null && { alternate_username: rotation.alternateUsername }),
    ...shownProgress(rotation),
  }
}

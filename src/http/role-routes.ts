import type { Role, Roles } from '../lease/roles.ts'
import type { Decoded, Fields } from './fields.ts'
import { type Answer, handle, type Route } from './route.ts'

type Shape<F extends Fields> = {
  fields: F
  write(fields: Decoded<F>): Parameters<Roles['write']>[2]
  shown(role: Role): Answer
  /** As `Route` has it. */
  caseless?: true
}

/** The roles of a secrets mount, relative to it. */
export function roleRoutes<F extends Fields>(roles: Roles, shape: Shape<F>): Route[] {
  const { caseless } = shape
  return [
    {
      path: 'roles',
      on: { list: handle({}, async ({ mount }) => ({ data: { keys: await roles.names(mount.id) } })) },
    },
    {
      path: 'roles/:name',
      ...(caseless && { caseless }),
      on: {
        read: handle({}, async ({ mount, capture }) => {
          const role = await roles.find(mount.id, capture('name'))
          return role && shape.shown(role)
        }),
        update: handle(
          shape.fields,
          async ({ mount, capture, fields }) =>
            withWarnings(await roles.write(mount, capture('name'), shape.write(fields))),
          {
            exists: async ({ mount, capture }) => (await roles.find(mount.id, capture('name'))) !== undefined,
          },
        ),
        delete: handle({}, async ({ mount, capture }) => {
          await roles.remove(mount.id, capture('name'))
          return undefined
        }),
      },
    },
  ]
}

export const withWarnings = (warnings: string[]): Answer => (warnings.length > 0 ? { warnings } : undefined)

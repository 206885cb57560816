import type { Access } from '../breakglass/access.ts'
import { handle, type Route } from './route.ts'

/** People whom their issuer has disabled, on every mount; relative to `break-glass/`. */
export const disabledPeopleRoutes = ({
  grantAccess: { identityEvents },
}: {
  grantAccess: Pick<Access, 'identityEvents'>
}): Route[] => [
  {
    path: 'disabled-people',
    on: {
      list: handle(
        {},
        async () => {
          const people = await identityEvents.disabled()
          return {
            data: {
              keys: people.map(({ id }) => id),
              people: people.map(({ id, person, event, jti, mount, since }) => ({
                ...{ id, person, event, jti, mount },
                since: since.toISOString(),
              })),
            },
          }
        },
        { sudo: true },
      ),
    },
  },
  {
    path: 'disabled-people/:id',
    on: {
      delete: handle(
        {},
        async (call) => {
          await identityEvents.lift(call.capture('id'))
          return undefined
        },
        { sudo: true },
      ),
    },
  },
]

import { sensitive } from '../lib/sensitive.ts'
import type { StaticCredential, StaticRole, StaticRoles } from '../rotation/static-roles.ts'
import { bool, type Decoded, defaulted, duration, map, stringList, text } from './fields.ts'
import { type Answer, handle, type Route } from './route.ts'

/** Accounts that are not ours to make: their passwords are kept here, handed out without a lease, and rotated. */
export function databaseStaticRoutes({ staticRoles }: { staticRoles: StaticRoles }): Route[] {
  return [
    {
      path: 'static-roles',
      on: {
        list: handle({}, async ({ mount }) => ({ data: { keys: await staticRoles.names(mount.id) } })),
      },
    },
    {
      path: 'static-roles/:name',
      on: {
        read: handle({}, async ({ mount, capture }) =>
          shownRole(await staticRoles.find(mount.id, capture('name'))),
        ),
        update: handle(
          STATIC_ROLE_FIELDS,
          async ({ mount, capture, fields }) => {
            const warnings = await staticRoles.write(mount, capture('name'), staticWrite(fields))
            return warnings.length > 0 ? { warnings } : undefined
          },
          {
            exists: async ({ mount, capture }) =>
              (await staticRoles.find(mount.id, capture('name'))) !== undefined,
          },
        ),
        delete: handle({}, async ({ mount, capture }) => {
          await staticRoles.remove(mount.id, capture('name'))
          return undefined
        }),
      },
    },
    {
      path: 'static-creds/:name',
      on: {
        read: handle(
          {},
          async ({ mount, capture }) =>
            shownCredential(await staticRoles.credential(mount.id, capture('name'))),
          // Who may log in as somebody is given access, as with a lease.
          { grants: true },
        ),
      },
    },
    {
      path: 'rotate-role/:name',
      on: {
        update: handle({ force: defaulted(bool, false) }, async ({ mount, capture, fields }) => {
          await staticRoles.rotate(mount.id, capture('name'), { forced: fields.force })
          return undefined
        }),
      },
    },
  ]
}

const STATIC_ROLE_FIELDS = {
  db_name: text,
  username: text,
  rotation_period: duration,
  rotation_schedule: text,
  rotation_window: duration,
  rotation_statements: stringList,
  rotation_group: text,
  credential_type: text,
  credential_config: map,
  password: text,
  skip_import_rotation: bool,
}

const staticWrite = (fields: Decoded<typeof STATIC_ROLE_FIELDS>) => ({
  dbName: fields.db_name,
  username: fields.username,
  schedule: {
    periodSeconds: fields.rotation_period,
    schedule: fields.rotation_schedule,
    windowSeconds: fields.rotation_window,
  },
  statements: fields.rotation_statements,
  group: fields.rotation_group,
  credentialType: fields.credential_type,
  password: fields.password === undefined ? undefined : sensitive(fields.password),
  skipImportRotation: fields.skip_import_rotation,
})

type Planned = Pick<StaticRole, 'periodSeconds' | 'schedule' | 'windowSeconds'>

/** A period, or a schedule with its window: whichever there is. */
export const shownSchedule = ({
  periodSeconds,
  schedule,
  windowSeconds,
}: Planned): Record<string, unknown> => ({
  ...(periodSeconds !== null && { rotation_period: periodSeconds }),
  ...(schedule !== null && { rotation_schedule: schedule }),
  ...(windowSeconds !== null && { rotation_window: windowSeconds }),
})

/** When it was and will be rotated, and what stops it. */
export const shownProgress = ({
  lastRotatedAt,
  dueAt,
  lastError,
}: Pick<StaticRole, 'lastRotatedAt' | 'dueAt' | 'lastError'>): Record<string, unknown> => ({
  last_vault_rotation: lastRotatedAt?.toISOString() ?? null,
  next_vault_rotation: dueAt?.toISOString() ?? null,
  ...(lastError !== null && { rotation_error: lastError }),
})

function shownRole(role: StaticRole | undefined): Answer {
  if (!role) return undefined
  return {
    data: {
      db_name: role.targetName,
      username: role.username,
      credential_type: 'password',
      rotation_statements: role.statements,
      ...shownSchedule(role),
      ...(role.pairGroup !== null && { rotation_group: role.pairGroup }),
      ...shownProgress(role),
    },
  }
}

function shownCredential(credential: StaticCredential | undefined): Answer {
  if (!credential) return undefined
  const { role, password, ttlSeconds } = credential
  return {
    data: {
      username: role.username,
      password: password.reveal(),
      ttl: ttlSeconds,
      ...shownSchedule(role),
      last_vault_rotation: role.lastRotatedAt?.toISOString() ?? null,
    },
  }
}

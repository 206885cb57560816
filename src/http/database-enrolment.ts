import type { EnrolmentSql } from '../lease/enrolment-sql.ts'
import { commaList } from './fields.ts'
import { handle, type Route } from './route.ts'

/** What a superuser installs on a server so that the connection's admin account needs no rights there. */
export function databaseEnrolmentRoutes({ enrolmentSql }: { enrolmentSql: EnrolmentSql }): Route[] {
  return [
    {
      path: 'config/:name/enrolment-sql',
      on: {
        read: handle(
          { groups: commaList, databases: commaList, logins: commaList },
          async ({ mount, capture, fields }) => {
            const scripts = await enrolmentSql(mount, capture('name'), fields)
            return scripts && { data: { scripts } }
          },
        ),
      },
    },
  ]
}

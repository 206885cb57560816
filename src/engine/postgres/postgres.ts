import type { Engine, EngineType } from '../engine.ts'
import { templateOf } from '../target-fields.ts'
import { listAccounts } from './accounts.ts'
import { openConnections } from './connections.ts'
import { createAccounts } from './create.ts'
import { endAccounts } from './end.ts'
import { enrolmentSql } from './enrolment-sql.ts'
import { extendAccounts } from './extend.ts'
import { accountName } from './name.ts'
import { passwordsOf } from './passwords.ts'
import { probeTarget } from './probe.ts'
import { checkRole } from './role.ts'
import { sharingWith } from './sharing.ts'
import { surveyOf } from './survey.ts'
import { checkTarget, readTarget } from './target.ts'

/** Accounts are login roles of a PostgreSQL server, 13 to 18. */
export const postgres = {
  name: 'postgres',
  plugins: ['postgresql-database-plugin'],
  mountType: 'database',
  checkTarget,
  checkRole,
  enrolmentSql,
  canaryRole: { connection_limit: 1, scram_iterations: 1 },
  accountName: ({ target, roleName, leaseId, displayName }) =>
    accountName({ template: templateOf(target), roleName, leaseId, displayName }, new Date()),
  open(spec, admin): Engine {
    const target = readTarget(spec)
    const connections = openConnections(target, admin)
    return {
      create: (tickets) => createAccounts(connections, target, tickets),
      extend: (terms) => extendAccounts(connections, target, terms),
      end: (step, endings) => endAccounts(connections, target, step, endings),
      accounts: () => listAccounts(connections),
      survey: surveyOf(connections, target),
      passwords: passwordsOf(connections, target, admin),
      probe: () => probeTarget(connections, target),
      sharing: (other) => sharingWith(connections, other),
      // On the connection that ending keeps, so that keeping in touch keeps it open.
      ping: () => connections.useActing('ending', async (session) => void (await session.query('SELECT 1'))),
      connections: () => connections.inUse(),
      close: () => connections.close(),
    }
  },
} satisfies EngineType

import type { Engine, EngineType } from '../engine.ts'
import { templateOf } from '../target-fields.ts'
import { listAccounts } from './accounts.ts'
import { openConnections } from './connections.ts'
import { createAccounts } from './create.ts'
import { endAccounts } from './end.ts'
import { extendAccounts } from './extend.ts'
import { accountName } from './name.ts'
import { passwordsOn } from './passwords.ts'
import { probeTarget } from './probe.ts'
import { checkRole } from './role.ts'
import { surveyOf } from './survey.ts'
import { checkTarget, readTarget } from './target.ts'

/** Accounts are users of a server of MySQL, 8.0 to 9, or MariaDB, 10.6 to 11. */
export const mysql: EngineType = {
  name: 'mysql',
  plugins: [
    'mysql-database-plugin',
    'mysql-aurora-database-plugin',
    'mysql-rds-database-plugin',
    'mysql-legacy-database-plugin',
  ],
  mountType: 'database',
  checkTarget,
  checkRole,
  // Names no group: an account that may log in and no more.
  canaryRole: { connection_limit: 1 },
  accountName: ({ target, role, roleName, leaseId, displayName }) =>
    accountName(
      {
        template: templateOf(target),
        roleName,
        leaseId,
        displayName,
        host: role.host as string | undefined,
      },
      new Date(),
    ),
  open(spec, admin): Engine {
    const target = readTarget(spec)
    const connections = openConnections(target, admin)
    return {
      create: (tickets) => createAccounts(connections, target, tickets),
      extend: (terms) => extendAccounts(connections, target, terms),
      end: (step, endings) => endAccounts(connections, target, step, endings),
      passwords: passwordsOn(connections),
      accounts: () => listAccounts(connections),
      survey: surveyOf(connections, target),
      probe: () => probeTarget(connections),
      // On the connection that ending keeps, so that keeping in touch keeps it open.
      ping: () => connections.use('ending', async (session) => void (await session.run('SELECT 1'))),
      connections: () => connections.inUse(),
      close: () => connections.close(),
    }
  },
}

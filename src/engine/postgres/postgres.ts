import type { Engine, EngineType, Spec } from '../engine.ts'
import { compileNameTemplate } from '../username-template.ts'
import { listAccounts } from './accounts.ts'
import { openConnections } from './connections.ts'
import { createAccounts } from './create.ts'
import { endAccounts } from './end.ts'
import { extendAccounts } from './extend.ts'
import { accountName } from './name.ts'
import { probeTarget } from './probe.ts'
import { checkRole } from './role.ts'
import { checkTarget, readTarget } from './target.ts'

/** Accounts are login roles of a PostgreSQL server, 13 to 18. */
export const postgres: EngineType = {
  name: 'postgres',
  plugins: ['postgresql-database-plugin'],
  mountType: 'database',
  checkTarget,
  checkRole,
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
      probe: () => probeTarget(connections, target),
      // On the connection that ending keeps, so that keeping in touch keeps it open.
      ping: () => connections.use('ending', async (session) => void (await session.query('SELECT 1'))),
      connections: () => connections.inUse(),
      close: () => connections.close(),
    }
  },
}

const templateOf = (target: Spec) => {
  const template = target.username_template as string | undefined
  return template === undefined ? undefined : compileNameTemplate(template)
}

import { mysql } from '../../src/engine/mysql/mysql.ts'
import { checkRole } from '../../src/engine/mysql/role.ts'
import { sensitive } from '../../src/lib/sensitive.ts'
import type { NamedRig, Rig } from './engines.ts'
import { startTestMariadb } from './mariadb.ts'
import { MYSQL_ADMIN_KINDS, type MysqlAdminKind, openMysqlTarget } from './mysql-target.ts'
import { givenPart } from './provision.ts'

type Server = { url: string; remove(): Promise<void> }

const given = (url: string): Server => ({ url, remove: async () => {} })

/** MariaDB always; MySQL where the user has one, since no package of it can be had. */
const SERVERS: readonly { name: string; start(): Promise<Server> }[] = [
  {
    name: 'MariaDB',
    async start() {
      const url = givenPart('mariadb')
      return url ? given(url) : startTestMariadb()
    },
  },
  ...(process.env.TEST_MYSQL_URL
    ? [{ name: 'MySQL', start: async () => given(process.env.TEST_MYSQL_URL ?? '') }]
    : []),
]

export const MYSQL_RIGS: readonly NamedRig[] = SERVERS.flatMap(({ name, start }) =>
  MYSQL_ADMIN_KINDS.map((kind) => ({
    name: `${name}, admin with ${kind}`,
    start: async () => rigOn(await start(), kind),
  })),
)

async function rigOn(server: Server, kind: MysqlAdminKind): Promise<Rig> {
  const target = await openMysqlTarget(server.url, kind)
  return {
    type: mysql,
    target: target.spec,
    admin: { username: target.admin.username, password: sensitive(target.admin.password) },
    role: target.role,
    brokenRole: checkRole({ member_of: ['no such group'] }).spec,
    deadTarget: mysql.checkTarget({ connection_url: 'u:{{password}}@tcp(127.0.0.1:1)/' }).spec,
    async logIn(secret) {
      const client = await target.logIn(secret as Parameters<typeof target.logIn>[0])
      return {
        work: async () => void (await client.query('SELECT note FROM orders')),
        leave: async () => client.destroy(),
      }
    },
    nameIn: ({ username }) => `${username}@%`,
    accountNames: async () =>
      (await target.sql("SELECT User, Host FROM mysql.user WHERE User LIKE 'v\\_%'")).map(
        ({ User, Host }) => `${User}@${Host}`,
      ),
    expiryOf: async () => null,
    async stop() {
      await target.close()
      await server.remove()
    },
  }
}

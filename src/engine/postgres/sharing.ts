import type { Connections, Facts, Session } from './connections.ts'
import { hasFunctions } from './definer.ts'
import { literal } from './sql.ts'

type Maker = {
  name: string
  isSuperuser: boolean
  hasFunctions: boolean
  /** Whether it has the rights of the one it is asked about with. */
  hasOther: boolean
}

/** What keeps this admin account and `other` from acting on each other's accounts; nothing where both can. */
export const sharingWith = (connections: Connections, other: string): Promise<string[]> =>
  connections.use('ending', async (session, facts) => {
    const makers = await readMakers(session, facts, [facts.admin, other])
    const [me, them] = [facts.admin, other].map((name) => makers.find((maker) => maker.name === name))
    if (!me || !them) return [`the target has no account "${other}"`]
    return [whyNot(facts, me, them), whyNot(facts, them, me)].filter((why) => why !== undefined)
  })

/** By the catalog alone: nothing has to be made to know it. */
async function readMakers(session: Session, { version }: Facts, names: readonly string[]): Promise<Maker[]> {
  // As the other it becomes the other's creators.
  const becomes = version >= 160_000 ? "AND pg_has_role(m.oid, t.oid, 'SET')" : ''
  const listed = names.map(literal).join(', ')
  const { rows } = await session.query(
    `SELECT m.rolname::text AS name, m.rolsuper AS "isSuperuser", ${hasFunctions('m.oid')} AS "hasFunctions",
            EXISTS (SELECT FROM pg_roles t WHERE t.rolname IN (${listed}) AND t.oid <> m.oid
                    AND pg_has_role(m.oid, t.oid, 'USAGE') ${becomes}) AS "hasOther"
     FROM pg_roles m WHERE m.rolname IN (${listed})`,
  )
  return rows as Maker[]
}

/** From 16 on a role is its maker's, of those that are no superuser, and of whoever has the maker's rights. */
function whyNot({ version }: Facts, ender: Maker, maker: Maker): string | undefined {
  if (ender.isSuperuser) return undefined
  if (ender.hasFunctions) {
    if (maker.hasFunctions && !maker.isSuperuser) return undefined
    return `"${ender.name}" works by functions and "${maker.name}" without them, so the one could not renew what the other makes`
  }
  if (version < 160_000) return undefined
  const makesItsOwn = !maker.isSuperuser && !maker.hasFunctions
  if (makesItsOwn && ender.hasOther) return undefined
  return `"${ender.name}" could neither renew nor end what "${maker.name}" makes: from PostgreSQL 16 on a role is its maker's alone`
}

import type { Account, Limit, Survey } from '../engine.ts'
import { remembered, slotsLimit } from '../survey.ts'
import type { Connections, Facts } from './connections.ts'
import { judge, type Rights, type Seen } from './judge.ts'
import { readPlan } from './role.ts'
import type { Row, Session } from './session.ts'
import { fullName, leaseIdInUser, type UserAtHost, userAtHost } from './sql.ts'
import { rightsIn, SETTINGS, type SurveyQueries, surveyQueries } from './survey-sql.ts'
import type { Target } from './target.ts'

export function surveyOf(connections: Connections, target: Target): Survey {
  const planOf = remembered((role) => readPlan(role, target))
  return {
    look: (leases) => connections.use('ending', (session, facts) => look(session, facts, leases)),
    judge: (sighting, plan) => judge(sighting as Seen, plan, planOf(plan.role)),
    limits: () => connections.use('ending', (session, facts) => readLimits(session, facts)),
  }
}

async function look(
  session: Session,
  { dialect }: Facts,
  leases: readonly { account: Account }[],
): Promise<(Seen | null)[]> {
  const queries = surveyQueries(
    dialect.server,
    leases.map(({ account }) => userAtHost(account.name)),
  )
  const names = Object.keys(queries) as (keyof SurveyQueries)[]
  const answers = await session.many(names.map((name) => queries[name] ?? ''))
  const rows = Object.fromEntries(names.map((name, i) => [name, answers[i] ?? []])) as Record<
    keyof SurveyQueries,
    Row[] | undefined
  >
  const rights = rightsOf(rows)
  const seen = new Map((rows.accounts ?? []).map((row) => [nameIn(row), asSeen(row, rights)]))
  return leases.map(({ account }) => seen.get(account.name) ?? null)
}

const nameIn = ({ user, host }: Row): string => fullName({ user: String(user), host: String(host) })

type RightsOf = (name: string) => Rights

function rightsOf({
  groups,
  databases,
  objects,
  named,
}: Record<keyof SurveyQueries, Row[] | undefined>): RightsOf {
  const known = new Map<string, Rights>()
  const of = (name: string): Rights => {
    const rights = known.get(name) ?? { groups: [], grants: {}, objectCount: 0 }
    known.set(name, rights)
    return rights
  }
  for (const row of groups ?? []) {
    of(nameIn(row)).groups.push(`${row.name}${Number(row.may_give) ? ' (and may give it)' : ''}`)
  }
  for (const { Host: host, User: user, Db: database, ...columns } of databases ?? []) {
    of(nameIn({ user, host })).grants[`${database}.*`] = Object.keys(columns).flatMap((column) =>
      columns[column] === 'Y' ? [wordOf(column.replace(/_priv$/, ''))] : [],
    )
  }
  for (const row of objects ?? []) {
    const rights = of(nameIn(row))
    rights.grants[String(row.object)] = String(row.rights).split(',').map(wordOf)
    rights.objectCount = Number(row.total)
  }
  for (const row of named ?? []) {
    const rights = of(nameIn(row))
    rights.grants['*.*'] = [...(rights.grants['*.*'] ?? []), wordOf(String(row.name))]
  }
  return of
}

/** Servers write the same right in several ways. */
const wordOf = (right: string): string => right.toUpperCase().replaceAll(' ', '_')

function asSeen(row: Row, rightsOf: RightsOf): Seen {
  const at: UserAtHost = { user: String(row.user), host: String(row.host) }
  const rights = rightsOf(fullName(at))
  const onAll = [...globalRights(row.rights), ...(rights.grants['*.*'] ?? [])]
  return {
    account: { leaseId: leaseIdInUser(at.user) ?? '', name: fullName(at), targetRef: at.user },
    enabled: Number(row.locked) !== 1,
    traits: {
      groups: rights.groups.sort(),
      grants: { ...rights.grants, ...(onAll.length > 0 && { '*.*': onAll }) },
      objectCount: rights.objectCount,
      settings: Object.fromEntries(SETTINGS.map((name) => [name, settingOf(row[name])])),
      login: String(row.login),
      password: String(row.password),
    },
  }
}

/** A number with a bit for each, or the words. */
const globalRights = (rights: unknown): string[] =>
  /^\d+$/.test(String(rights))
    ? rightsIn(Number(rights))
    : String(rights ?? '')
        .split(',')
        .filter(Boolean)
        .map(wordOf)

/** What was never set is nowhere on MariaDB, and 0 or nothing on MySQL. */
const settingOf = (value: unknown): string => (value == null || Number(value) === 0 ? '' : String(value))

/** Above this each statement that makes or drops an account takes MariaDB more than 10 ms. */
const MANY_ACCOUNTS = 20_000

/** How far the target is from what it can bear: accounts, connections. */
async function readLimits(session: Session, { dialect }: Facts): Promise<Limit[]> {
  const [accounts, open, slots] = await session.many([
    `SELECT COUNT(*) AS n FROM mysql.${dialect.server.flavour === 'MariaDB' ? 'global_priv' : 'user'}`,
    "SHOW GLOBAL STATUS LIKE 'Threads_connected'",
    'SELECT @@GLOBAL.max_connections AS n',
  ])
  return [
    accountsLimit(Number(accounts?.[0]?.n)),
    slotsLimit({ used: Number(open?.[0]?.Value), max: Number(slots?.[0]?.n) }),
  ]
}

function accountsLimit(used: number): Limit {
  if (used <= MANY_ACCOUNTS) return { name: 'accounts', used }
  return {
    name: 'accounts',
    used,
    warning: `there are ${used} accounts, and making or dropping one costs by their number; end leases sooner, or lower their number by quotas`,
  }
}

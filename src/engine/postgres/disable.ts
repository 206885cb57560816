import type { Ending, EngineError, Evidence } from '../engine.ts'
import type { Connections, Facts } from './connections.ts'
import { call } from './definer.ts'
import { many, runIsolated } from './isolate.ts'
import { type Cut, type Item, lockOut, writersQuery } from './lock-out.ts'
import { type FoundRow, foundQuery, matchFound, theirOids } from './lookup.ts'
import { actAsOneFromHere, underMakers } from './makers.ts'
import { identifier, identifiers } from './sql.ts'

type Membership = { member: string; group: string; grantor: string | null }

/**
 * NOLOGIN first, in a transaction of its own, since it is what counts: a leased user can set itself a new password,
 * so nothing less keeps it out. Then its memberships and attributes are taken, which open sessions feel at once. One
 * that somebody else gave may not be ours to take; that is noted, and must not keep the sessions from being cut.
 */
export async function disable(
  connections: Connections,
  endings: readonly Ending[],
): Promise<Map<Ending, Evidence | EngineError>> {
  return connections.useActing('ending', async (session, facts) => {
    const results = await many(
      session,
      `BEGIN; ${foundQuery(endings, facts)}; ${membershipsQuery(endings)}; ${writersQuery(endings)}`,
    )
    const found = matchFound(endings, (results[1]?.rows ?? []) as FoundRow[])
    const memberships = groupByMember((results[2]?.rows ?? []) as Membership[])
    const items = endings.flatMap((ending) =>
      (found.get(ending) ?? []).map((account) => ({ ending, found: account })),
    )
    await actAsOneFromHere(
      session,
      facts,
      items.map((item) => item.found.maker),
    )
    const failures = new Map<Item, EngineError>()
    const untaken = new Map<Item, EngineError>()

    const open = items.filter((item) => item.found.canLogin)
    const writers = new Set((results[3]?.rows ?? []).map((row) => row.oid as string))
    const cut = await lockOut({ connections, session, facts }, open, writers, failures)

    const rich = items.filter((item) => item.found.toStrip.length > 0 || memberships.has(item.found.oid))
    await runIsolated(session, rich, (batch) => stripText(batch, memberships, facts), untaken)
    return new Map(
      endings.map((ending) => [
        ending,
        outcome(ending, items, memberships, { failures, untaken, cut, version: facts.version }),
      ]),
    )
  })
}

const membershipsQuery = (endings: readonly Ending[]): string => `
  SELECT m.member::text, g.rolname AS "group", b.rolname AS grantor
  FROM pg_auth_members m JOIN pg_roles g ON g.oid = m.roleid LEFT JOIN pg_roles b ON b.oid = m.grantor
  WHERE m.member IN ${theirOids(endings)}`

function groupByMember(rows: readonly Membership[]): Map<string, Membership[]> {
  const byMember = new Map<string, Membership[]>()
  for (const row of rows) byMember.set(row.member, [...(byMember.get(row.member) ?? []), row])
  return byMember
}

/** From 16 on a membership is taken back in the name of whoever gave it, or it stays with no more than a warning. */
function stripText(batch: readonly Item[], memberships: Map<string, Membership[]>, facts: Facts): string {
  if (facts.functions) return call.strip(batch.map(({ found }) => found))
  const strips = batch.flatMap(({ found }) =>
    found.toStrip.length > 0
      ? [{ role: found.maker, text: `ALTER ROLE ${identifier(found.name)} ${found.toStrip.join(' ')}` }]
      : [],
  )
  return underMakers(
    [...strips, ...revokes(batch, memberships, facts)],
    ({ role }) => role,
    facts,
    (theirs) => theirs.map(({ text }) => text).join('; '),
  )
}

function revokes(
  batch: readonly Item[],
  memberships: Map<string, Membership[]>,
  { version, admin }: Facts,
): { role: string | null; text: string }[] {
  const members = new Map<string, string[]>()
  for (const { found } of batch) {
    for (const { group, grantor } of memberships.get(found.oid) ?? []) {
      const by = version >= 160_000 && grantor !== null ? ` GRANTED BY ${identifier(grantor)} CASCADE` : ''
      // What the admin account gave itself, to an account that a creator made, the creator may not take.
      const key = JSON.stringify([group, by, grantor === admin ? null : found.maker])
      members.set(key, [...(members.get(key) ?? []), found.name])
    }
  }
  return [...members]
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([key, names]) => {
      const [group, by, role] = JSON.parse(key) as [string, string, string | null]
      return { role, text: `REVOKE ${identifier(group)} FROM ${identifiers(names)}${by}` }
    })
}

const endedFirst = (ending: Ending, { pids, prepared }: Cut): Evidence => ({
  ...(pids.has(ending) ? { sessions_ended_first: pids.get(ending)?.size ?? 0 } : {}),
  ...(prepared.has(ending) ? { prepared_transactions_rolled_back: prepared.get(ending) ?? 0 } : {}),
})

type Seen = { failures: Map<Item, EngineError>; untaken: Map<Item, EngineError>; cut: Cut; version: number }

function outcome(
  ending: Ending,
  items: readonly Item[],
  memberships: Map<string, Membership[]>,
  { failures, untaken, cut, version }: Seen,
): Evidence | EngineError {
  const mine = items.filter((item) => item.ending === ending)
  const first = (problems: Map<Item, EngineError>) =>
    mine.map((item) => problems.get(item)).find((problem) => problem !== undefined)
  const failure = first(failures)
  if (failure) return failure
  const groups = mine.flatMap(({ found }) => (memberships.get(found.oid) ?? []).map(({ group }) => group))
  const kept = first(untaken)
  const residual = [
    ...(kept ? [`some of what it was given could not be taken before it was dropped: ${kept.message}`] : []),
    ...madeAsGroup(ending, groups, version),
  ]
  const left = residual.length > 0 ? { residual } : {}
  if (mine.length === 0) return { account: 'absent', ...left }
  return {
    account: 'login disabled',
    was_disabled_before: mine.every(({ found }) => !found.canLogin),
    ...endedFirst(ending, cut),
    ...(kept ? { not_taken: kept.message } : { memberships_revoked: [...new Set(groups)] }),
    ...left,
  }
}

/**
 * What an account makes as its group belongs to the group, and no catalog says who made it. From 16 on our grants keep
 * it from becoming the group. Also by what the role says, since an earlier try may have taken the memberships.
 */
function madeAsGroup({ account, role }: Ending, groups: readonly string[], version: number): string[] {
  if (version >= 160_000 || (account.targetRef === null && groups.length === 0)) return []
  const names = new Set([...groups, ...((role.member_of as string[] | undefined) ?? [])])
  if (names.size === 0) return []
  return [`whatever it made by SET ROLE as ${[...names].join(', ')} remains and works on`]
}

import type pg from 'pg'
import type { HttpClient } from './http-client.ts'
import { emptySample, join, loop, type Sample } from './load.ts'
import { newVerifier, rawDropAll, rawEnd, rawIssue, rawRenew } from './raw.ts'
import { type Figure, rateFigure } from './report.ts'
import type { Installation, World } from './world.ts'

/** How often and how long each side has its turn. */
export type Turns = { rounds: number; warmUpMs: number; issueMs: number; renewMs: number; endMs: number }

type Side = { issue: Sample; renew: Sample; end: Sample; targetTimeMs: number }
const newSide = (): Side => ({
  issue: emptySample(),
  renew: emptySample(),
  end: emptySample(),
  targetTimeMs: 0,
})

/** Issue, renew and end, ours and raw in turns, so that whatever else the machine does falls on both. */
export async function rates(
  world: World,
  installation: Installation,
  { clients, iterations, turns }: { clients: number; iterations: number; turns: Turns },
): Promise<Figure[]> {
  const api = await installation.clients(clients)
  const sql = await Promise.all(Array.from({ length: clients }, () => world.targetClient()))
  const ours = newSide()
  const raw = newSide()
  const derived = emptySample()
  const verifier = await newVerifier(iterations)

  // A server that runs for longer than a minute has its code compiled.
  await ourTurn(api, newSide(), iterations, { ...turns, issueMs: turns.warmUpMs }, async () => 0)
  for (let round = 0; round < turns.rounds; round += 1) {
    await ourTurn(api, ours, iterations, turns, world.targetTimeMs)
    await rawTurn(sql, raw, verifier, turns, world.targetTimeMs)
    await derivingTurn(sql, derived, iterations, turns)
  }

  for (const client of api) client.close()
  await Promise.all(sql.map((client) => client.end()))
  return toFigures(
    `${iterations} iteration${iterations === 1 ? '' : 's'}, ${clients} client${clients === 1 ? '' : 's'}`,
    {
      ours,
      raw,
      derived,
      aims: clients === 32,
      costly: iterations > 1,
    },
  )
}

async function ourTurn(
  api: HttpClient[],
  side: Side,
  iterations: number,
  turns: Turns,
  targetTimeMs: () => Promise<number>,
): Promise<void> {
  const role = `database/creds/issue-${iterations}`
  const clientAt = (i: number) => api[i] as HttpClient
  const leases: string[] = []
  const before = await targetTimeMs()
  join(
    side.issue,
    await loop(api.length, { forMs: turns.issueMs }, async (i) => {
      const answer = (await clientAt(i).call('GET', role)) as { lease_id: string }
      leases.push(answer.lease_id)
    }),
  )
  side.targetTimeMs += (await targetTimeMs()) - before
  let next = 0
  join(
    side.renew,
    await loop(api.length, { forMs: turns.renewMs }, (i) =>
      clientAt(i).call('POST', 'sys/leases/renew', {
        lease_id: leases[next++ % leases.length],
        increment: 600,
      }),
    ),
  )
  join(
    side.end,
    await loop(api.length, { forMs: turns.endMs, calls: leases.length }, (i) =>
      clientAt(i).call('POST', 'sys/leases/revoke', { lease_id: leases.pop() }),
    ),
  )
  await clientAt(0).call('POST', `sys/leases/revoke-prefix/${role}`)
}

async function rawTurn(
  sql: pg.Client[],
  side: Side,
  verifier: string,
  turns: Turns,
  targetTimeMs: () => Promise<number>,
): Promise<void> {
  const clientAt = (i: number) => sql[i] as pg.Client
  const names: string[] = []
  const before = await targetTimeMs()
  join(
    side.issue,
    await loop(sql.length, { forMs: turns.issueMs }, async (i) => {
      names.push(await rawIssue(clientAt(i), verifier))
    }),
  )
  side.targetTimeMs += (await targetTimeMs()) - before
  // Each client has names of its own: PostgreSQL fails one of two statements that alter a role at once.
  const next = sql.map((_, i) => i)
  join(
    side.renew,
    await loop(sql.length, { forMs: turns.renewMs }, (i) => {
      const at = next[i] as number
      next[i] = at + sql.length < names.length ? at + sql.length : i
      return rawRenew(clientAt(i), names[at] as string)
    }),
  )
  join(
    side.end,
    await loop(sql.length, { forMs: turns.endMs, calls: names.length }, (i) =>
      rawEnd(clientAt(i), names.pop() as string),
    ),
  )
  await rawDropAll(clientAt(0), names)
}

/** Raw issuing in which every account has a verifier of its own: what no broker can do without. */
async function derivingTurn(
  sql: pg.Client[],
  sample: Sample,
  iterations: number,
  turns: Turns,
): Promise<void> {
  const names: string[] = []
  join(
    sample,
    await loop(sql.length, { forMs: turns.issueMs }, async (i) => {
      names.push(await rawIssue(sql[i] as pg.Client, await newVerifier(iterations)))
    }),
  )
  await rawDropAll(sql[0] as pg.Client, names)
}

function toFigures(
  name: string,
  sides: { ours: Side; raw: Side; derived: Sample; aims: boolean; costly: boolean },
): Figure[] {
  const { ours, raw, derived, aims, costly } = sides
  const least = costly ? 0.9 : 1
  const issue = rateFigure(`issue, ${name}`, ours.issue, 'raw SQL, one verifier for all', raw.issue)
  const aim = { text: `at least ${least}`, met: (issue.ratio ?? 0) >= least }
  return [
    aims ? { ...issue, aim } : issue,
    rateFigure(`issue, ${name}`, ours.issue, 'raw SQL, a verifier each', derived),
    ...(raw.targetTimeMs > 0 ? [targetTime(name, ours, raw)] : []),
    rateFigure(`renew, ${name}`, ours.renew, 'raw ALTER ROLE', raw.renew),
    rateFigure(`end, ${name}`, ours.end, 'raw NOLOGIN, terminate, DROP', raw.end),
  ]
}

/** On one machine everything shares the processors; with a target of its own this is what that target has to give. */
function targetTime(name: string, ours: Side, raw: Side): Figure {
  const each = ({ targetTimeMs, issue }: Side) => targetTimeMs / issue.latenciesMs.length
  return {
    name: `target's processor time per account, ${name}`,
    value: each(ours),
    unit: 'ms',
    limit: { name: 'raw SQL', value: each(raw) },
    ratio: each(ours) / each(raw),
  }
}

import { expect } from 'vitest'
import { type ApiAnswer, openTestBroker, type TestBroker } from '../support/broker.ts'
import { openPeople, type People, type Person } from '../support/glass-people.ts'
import { until } from '../support/processes.ts'

/** A whole broker with a policy for emergencies, and the people of it. */
export type AccessWorld = TestBroker & {
  people: People
  rita: Person
  /** Of `oncall` and of `owners`: the two whose yes it takes. */
  ann: Person
  olga: Person
  /** Officers. */
  sam: Person
  sven: Person
  /** Who reviews. */
  vera: Person
  ask(as?: Person, changes?: Record<string, unknown>): Promise<GlassRequest>
  approved(changes?: Record<string, unknown>): Promise<GlassRequest>
  active(changes?: Record<string, unknown>): Promise<{ request: GlassRequest; credentials: Credential[] }>
  act(as: Person, id: string, action: string, body?: Record<string, unknown>): Promise<ApiAnswer>
  look(id: string): Promise<GlassRequest>
  /** Waits for the state, with workers as the test has them. */
  comesTo(id: string, ...states: string[]): Promise<GlassRequest>
  /** The requester and those who approve, with logins of just now. */
  logInAgain(): Promise<Record<'rita' | 'ann' | 'olga', Person>>
  /** All that happens by itself by now, in this process. */
  sweep(): Promise<void>
  leases(
    id: string,
  ): Promise<
    { state: string; account: string; end_reason: string | null; expires_at: Date; hard_expires_at: Date }[]
  >
}

// biome-ignore lint/suspicious/noExplicitAny: what a test expects of it is the test's to say
export type GlassRequest = any
export type Credential = {
  path: string
  lease_id: string
  lease_duration: number
  data: { username: string; password: string }
  connect: { host: string; port: number; database: string }
  engine: string
  leasehold: Record<string, unknown>
}

const POLICY = {
  roles: ['database/creds/*'],
  sets: {
    oncall: { groups: ['oncall'] },
    owners: { groups: ['owners'] },
    officers: { groups: ['security'] },
    reviewers: { groups: ['audit'] },
  },
  approvals: { all_of: [{ set: 'oncall' }, { set: 'owners' }] },
  security_officers: ['officers'],
  target_owners: ['owners'],
  reviewers: ['reviewers'],
  ticket_required: false,
}

export async function openAccessWorld(
  policy: Record<string, unknown> = {},
  options: Parameters<typeof openTestBroker>[0] = {},
): Promise<AccessWorld> {
  const at = await openTestBroker(options)
  const people = await openPeople(at)
  const written = await at.api('POST', 'break-glass/policies/db', { ...POLICY, ...policy })
  expect(written.text).toBe('')
  await at.api('POST', 'database/roles/app', {
    db_name: 'db',
    member_of: at.target.readers,
    default_ttl: '1m',
    max_ttl: '10h',
  })
  const person = (name: string, ...groups: string[]) => people.person(name, { groups })
  const [rita, ann, olga] = [
    await person('rita'),
    await person('ann', 'oncall'),
    await person('olga', 'owners'),
  ]
  const [sam, sven] = [await person('sam', 'security'), await person('sven', 'security')]
  const vera = await person('vera', 'audit')

  const ok = (answer: ApiAnswer): GlassRequest => {
    expect(answer, answer.text).toMatchObject({ status: 200 })
    return answer.json.data
  }
  const act: AccessWorld['act'] = (as, id, action, body = {}) =>
    as.api('POST', `break-glass/requests/${id}/${action}`, body)
  const who = { rita, ann, olga, sam, sven, vera }
  const ask: AccessWorld['ask'] = async (as = who.rita, changes = {}) =>
    ok(
      await as.api('POST', 'break-glass/requests', {
        policy: 'db',
        roles: ['database/creds/app'],
        reason: 'orders are stuck in the queue since 02:40',
        duration: '30m',
        ...changes,
      }),
    )
  const look: AccessWorld['look'] = async (id) => ok(await at.api('GET', `break-glass/requests/${id}`))
  const approved: AccessWorld['approved'] = async (changes) => {
    const { id, plan_hash } = await ask(who.rita, changes)
    ok(await act(who.ann, id, 'approve', { plan_hash }))
    return ok(await act(who.olga, id, 'approve', { plan_hash }))
  }

  return {
    ...at,
    ...{ people, ...who, ask, approved, act, look },
    async logInAgain() {
      Object.assign(who, {
        rita: await person('rita'),
        ann: await person('ann', 'oncall'),
        olga: await person('olga', 'owners'),
      })
      return who
    },
    async active(changes) {
      const { id } = await approved(changes)
      return ok(await act(who.rita, id, 'activate'))
    },
    async comesTo(id, ...states) {
      await until(
        `the request is ${states.join(' or ')}`,
        async () => {
          if (!options.worker) await at.broker.sweep.once()
          return states.includes((await look(id)).state)
        },
        () => look(id),
      )
      return look(id)
    },
    async sweep() {
      await at.broker.sweep.once()
    },
    async leases(id) {
      const { rows } = await at.ledger.ledger.query<Awaited<ReturnType<AccessWorld['leases']>>[number]>(
        `select state, account, end_reason, expires_at, hard_expires_at from leasehold.lease
         where grant_id = $1 order by issued_at, id`,
        [id],
      )
      return rows
    },
  }
}

/** What a request's events of one kind say, in order. */
export const detailsOf = ({ events }: GlassRequest, event: string): Record<string, unknown>[] =>
  events.filter((one: { event: string }) => one.event === event).map(({ detail }: GlassRequest) => detail)

/** Every event of a grant is on the audit log, each once, and the states go from one to the next. */
export async function expectOnRecord(at: Pick<TestBroker, 'ledger'>, id: string): Promise<void> {
  const { ledger } = at.ledger
  const { rows: events } = await ledger.query<{
    number: number
    event: string
    from_state: string
    to_state: string
  }>(
    `select number, event, from_state, to_state from leasehold.grant_event where grant_id = $1 order by number`,
    [id],
  )
  const { rows: audited } = await ledger.query<{ body: string }>(
    `select body::text as body from leasehold.audit_event where body::text like '%' || $1 || '%'`,
    [id],
  )
  type Audited = { outcome: { error?: string }; details?: Record<string, unknown> }
  const moves = audited
    .map(({ body }) => JSON.parse(body) as Audited)
    // A request that failed after its move has another one for that.
    .filter(({ outcome }) => outcome.error === undefined)
    .map(({ details }) => details)
    .filter((details) => details?.grant_id === id && details.event !== undefined)
  expect(moves.map((details) => details?.event).sort()).toEqual(events.map(({ event }) => event).sort())
  events.forEach(({ from_state }, i) => {
    expect(from_state).toBe(i === 0 ? null : events[i - 1]?.to_state)
  })
}

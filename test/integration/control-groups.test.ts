import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { putBlock } from '../../src/ledger/grant-reviews.ts'
import { type ApiAnswer, openTestBroker, type TestBroker } from '../support/broker.ts'
import { openPeople, type People, type Person } from '../support/glass-people.ts'
import { insertLiveGrant, setGrantState } from '../support/live-grant.ts'

let at: TestBroker
let people: People
let ada: Person
let ben: Person

const PATH = 'database/creds/guarded'
const READS = `path "${PATH}" { capabilities = ["read"] }`
const STANDARD = {
  roles: [PATH],
  lane: 'standard',
  control_group: true,
  sets: { approvers: { groups: ['approvers'] } },
  approvals: { set: 'approvers', count: 1 },
  security_officers: ['approvers'],
  requesters: { kinds: ['human', 'workload'] },
  max_live: 2,
}

beforeAll(async () => {
  at = await openTestBroker()
  people = await openPeople(at)
  await at.api('PUT', 'sys/policies/acl/reads', { policy: READS })
  await at.api('POST', 'database/roles/guarded', { db_name: 'db', member_of: at.target.readers })
  const written = await at.api('POST', 'break-glass/policies/guarded', STANDARD)
  expect([written.status, written.text]).toEqual([expect.toBeOneOf([200, 204]), expect.anything()])
  ada = await people.person('ada', { policies: ['reads'] })
  ben = await people.person('ben', { groups: ['approvers'] })
})
afterAll(() => at.close())

let asked = 0
/** Somebody new each time: how many requests one may have open is bounded. */
const requester = (login = {}): Promise<Person> => {
  asked += 1
  return people.person(`asker-${asked}`, { policies: ['reads'], ...login })
}
const read = ({ api }: Person, query = '') => api('GET', `${PATH}${query}`)
const status = (accessor: string, { api } = ben) => api('POST', 'sys/control-group/request', { accessor })
const statusData = async (accessor: string) => (await status(accessor)).json.data
const authorize = (accessor: string, { api } = ben, more = {}) =>
  api('POST', 'sys/control-group/authorize', { accessor, ...more })
const unwrap = ({ api }: Person, token: string) => api('POST', 'sys/wrapping/unwrap', { token })
const unwrapAlone = (token: string) => at.api('POST', 'sys/wrapping/unwrap', {}, { 'X-Vault-Token': token })
const wrapOf = ({ json }: ApiAnswer): { token: string; accessor: string; ttl: number } => json.wrap_info
const accounts = () => at.target.sql(`select rolname from pg_roles where rolname like 'v_guarded_%'`)

describe('a read that people have to agree to', () => {
  test('answers with a token, makes nothing, and gives what the read would have given once they have', async () => {
    const before = (await accounts()).length
    const answer = await read(ada)
    expect(answer.status).toBe(200)
    expect(answer.json).toMatchObject({ data: null, lease_id: '', wrap_info: { creation_path: PATH } })
    const { token, accessor } = wrapOf(answer)

    expect((await status(accessor)).json.data).toMatchObject({
      approved: false,
      request_path: PATH,
      request_entity: { name: expect.stringContaining('ada') },
      authorizations: [],
      reason: `asked for by reading ${PATH}`,
    })
    const early = await unwrap(ada, token)
    expect([early.status, early.json.errors]).toEqual([400, ['request needs further approval']])
    expect(await accounts()).toHaveLength(before)

    expect((await authorize(accessor)).json.data).toEqual({ approved: true })
    expect((await status(accessor)).json.data).toMatchObject({
      approved: true,
      authorizations: [{ entity_name: expect.stringContaining('ben') }],
    })
    expect(await accounts()).toHaveLength(before)

    const given = await unwrap(ada, token)
    expect(given.status).toBe(200)
    expect(given.json).toMatchObject({
      lease_id: expect.stringMatching(`^${PATH}/`),
      data: { username: expect.stringMatching(/^v_guarded_/), password: expect.any(String) },
      leasehold: { limited_by: expect.toBeOneOf(['grant', null]) },
    })
    await (await at.target.logIn(given.json.data)).end()
    const { json } = await at.api('POST', 'sys/leases/lookup', { lease_id: given.json.lease_id })
    expect(json.data.grant_id).toBe((await status(accessor)).json.data.request_id)

    const again = await unwrap(ada, token)
    expect(again.status).toBe(400)
    expect(again.text).toContain('wrapping token is not valid or does not exist')
  })

  test('gives fresh credentials at once while the access is in force, and belongs to it', async () => {
    const asker = await requester()
    const { token, accessor } = wrapOf(await read(asker))
    await authorize(accessor)
    await unwrap(asker, token)
    const plain = await read(asker)
    expect(plain.json).toMatchObject({ wrap_info: null, data: { username: expect.any(String) } })
    const { json } = await at.api('POST', 'sys/leases/lookup', { lease_id: plain.json.lease_id })
    expect(json.data.grant_id).toBe((await status(accessor)).json.data.request_id)
  })

  describe('gives no more while the access is in force than collecting would', () => {
    const inForce = async (login = {}): Promise<{ name: string; asker: Person; id: string }> => {
      const asker = await requester(login)
      const { token, accessor } = wrapOf(await read(asker))
      await authorize(accessor)
      expect((await unwrap(asker, token)).status).toBe(200)
      return { name: `asker-${asked}`, asker, id: (await statusData(accessor)).request_id }
    }
    const refusal = async (as: Person, id: string) => {
      const before = (await accounts()).length
      const [plain, collected] = [await read(as), await as.api('POST', `break-glass/requests/${id}/collect`)]
      expect([plain.status, plain.json.errors]).toEqual([collected.status, collected.json.errors])
      expect(await accounts()).toHaveLength(before)
      return [plain.status, plain.json.errors[0]]
    }

    test('to a login of long ago, or to a token made from another', async () => {
      await at.api('PUT', 'sys/policies/acl/makes', {
        policy: 'path "auth/token/create" { capabilities = ["update"] }',
      })
      const { name, asker, id } = await inForce({ policies: ['reads', 'makes'] })
      const late = await people.person(name, { policies: ['reads'], ageSeconds: 7_200 })
      expect(await refusal(late, id)).toEqual([403, expect.stringContaining('your login is older')])
      const made = await asker.api('POST', 'auth/token/create', {})
      const child: Person['api'] = (method, path, body) =>
        at.api(method, path, body, { 'X-Vault-Token': made.json.auth.client_token })
      expect(await refusal({ ...asker, api: child }, id)).toEqual([
        403,
        expect.stringContaining('this token was made from another'),
      ])
      expect((await read(asker)).json.data.username).toMatch(/^v_guarded_/)
    })

    test('to who is blocked', async () => {
      const { asker, id } = await inForce()
      const { rows } = await at.ledger.ledger.query<{ requesterId: string }>(
        'select requester_id as "requesterId" from leasehold.access_grant where id = $1',
        [id],
      )
      await putBlock(at.ledger.ledger, {
        requesterId: rows[0]?.requesterId ?? '',
        grantId: id,
        reason: 'misuse',
      })
      expect(await refusal(asker, id)).toEqual([403, expect.stringContaining('you are blocked')])
    })

    test('to who has left those that the policy lets ask', async () => {
      await at.api('POST', 'break-glass/policies/guarded', { ...STANDARD, requesters: { groups: ['few'] } })
      const metadata = { role: 'people' }
      const { name, asker, id } = await inForce({ groups: ['few'], metadata })
      await people.person(name, { policies: ['reads'], metadata })
      expect(await refusal(asker, id)).toEqual([403, expect.stringContaining('no longer lets you ask')])
      await at.api('POST', 'break-glass/policies/guarded', STANDARD)
    })

    test('while the end of another access to the target is stuck', async () => {
      const [one, other] = [await inForce(), await inForce()]
      await setGrantState(at.ledger.ledger, other.id, 'ending_stuck')
      expect(await refusal(one.asker, one.id)).toEqual([409, expect.stringContaining('not proved')])
      await setGrantState(at.ledger.ledger, other.id, 'active')
      expect((await read(one.asker)).status).toBe(200)
    })
  })

  test('keeps the reason and the ticket that came with it', async () => {
    const asker = await requester()
    const { accessor } = wrapOf(await read(asker, '?reason=the+queue+is+stuck&ticket=INC-5'))
    expect((await status(accessor)).json.data).toMatchObject({
      reason: 'the queue is stuck',
      ticket: 'INC-5',
    })
  })

  test('asks anew each time, up to what the policy lets one have open', async () => {
    const asker = await requester()
    const [one, two, three] = [await read(asker), await read(asker), await read(asker)]
    expect([one.status, two.status, three.status]).toEqual([200, 200, 409])
    expect(wrapOf(one).accessor).not.toBe(wrapOf(two).accessor)
  })

  test('is refused to whom the policy does not let ask, and to whom no rule lets read', async () => {
    await at.api('POST', 'break-glass/policies/guarded', { ...STANDARD, requesters: { groups: ['few'] } })
    expect((await read(await requester())).status).toBe(403)
    await at.api('POST', 'break-glass/policies/guarded', STANDARD)
    expect((await read(ben)).status).toBe(403)
  })

  test('is nothing of root’s: somebody has to be able to clear up', async () => {
    expect((await at.api('GET', PATH)).json).toMatchObject({ wrap_info: null })
  })
})

describe('breaking the glass by reading', () => {
  const DEEP = 'database/creds/deep'

  test('takes a reason of one’s own and as many people as the policy says', async () => {
    await at.api('PUT', 'sys/policies/acl/reads-deep', {
      policy: `path "${DEEP}" { capabilities = ["read"] }`,
    })
    await at.api('POST', 'database/roles/deep', { db_name: 'db', member_of: at.target.readers })
    const { status } = await at.api('POST', 'break-glass/policies/deep', {
      roles: [DEEP],
      control_group: true,
      sets: { approvers: { groups: ['approvers'] } },
      approvals: { set: 'approvers', count: 2 },
      security_officers: ['approvers'],
    })
    expect(status).toBeLessThan(300)
    const asker = await people.person('deep', { policies: ['reads-deep'] })
    const bare = await asker.api('GET', DEEP)
    expect([bare.status, bare.json.errors[0]]).toEqual([400, expect.stringContaining('field "reason"')])

    const query = '?reason=orders+are+stuck+since+02:40&ticket=INC-4711'
    const { token, accessor } = wrapOf(await asker.api('GET', `${DEEP}${query}`))
    expect((await authorize(accessor)).json.data).toEqual({ approved: false })
    expect((await unwrap(asker, token)).json.errors).toEqual(['request needs further approval'])
    const second = await people.person('bea', { groups: ['approvers'] })
    expect((await authorize(accessor, second)).json.data).toEqual({ approved: true })
    expect((await statusData(accessor)).authorizations).toHaveLength(2)
    expect((await unwrap(asker, token)).json.data.username).toMatch(/^v_deep_/)
  })

  test('is no way around for a path that is written to', async () => {
    await at.api('POST', 'sys/mounts/kubernetes', { type: 'kubernetes' })
    await at.api('PUT', 'sys/policies/acl/writes', {
      policy: 'path "kubernetes/creds/*" { capabilities = ["update"] }',
    })
    await at.api('POST', 'break-glass/policies/cluster', { ...STANDARD, roles: ['kubernetes/creds/*'] })
    const asker = await people.person('kube', { policies: ['writes'] })
    const { status, text } = await asker.api('POST', 'kubernetes/creds/admin', {
      kubernetes_namespace: 'prod',
    })
    expect(status).toBe(403)
    expect(text).toContain('break-glass/requests')
  })
})

describe('a role of a cluster that is guarded', () => {
  const CLUSTER = 'kubernetes/creds/walled'

  test('is opened by a grant only from where the policies let one have access, and by a login of just now', async () => {
    await at.api('POST', 'sys/mounts/kubernetes', { type: 'kubernetes' })
    await at.api('PUT', 'sys/policies/acl/walled', {
      policy: `path "${CLUSTER}" { capabilities = ["update"] }`,
    })
    const asker = await people.person('walled', { policies: ['walled'] })
    const { json } = await at.api('POST', 'auth/token/lookup', { token: asker.token })
    const grant = await insertLiveGrant(at.ledger.ledger, {
      requesterId: json.data.entity_id,
      paths: [CLUSTER],
    })
    await at.ledger.ledger.query(
      `update leasehold.access_grant set plan = jsonb_set(plan, '{roles,0,role_id}', to_jsonb($2::text)),
         requester = jsonb_build_object('id', requester_id)
       where id = $1`,
      [grant.id, await aRoleId()],
    )
    const givenUnder = (allow_from: string[]) =>
      at.ledger.ledger.query(
        `update leasehold.break_glass_policy p set spec = g.spec || $2
         from leasehold.break_glass_policy g where p.id = $1 and g.name = 'guarded' and g.replaced_at is null`,
        [grant.policyId, { allow_from }],
      )
    const policyAllows = (allow_from: string[]) =>
      at.api('POST', 'break-glass/policies/walled', { ...STANDARD, roles: [CLUSTER], allow_from })
    const answers: [number, string][] = []
    for (const [policy, grantPolicy] of [
      [['10.0.0.0/8'], []],
      [[], ['10.0.0.0/8']],
      [['127.0.0.0/8'], ['127.0.0.0/8']],
    ] as const) {
      await policyAllows([...policy])
      await givenUnder([...grantPolicy])
      const { status, json } = await asker.api('POST', CLUSTER, { kubernetes_namespace: 'prod' })
      answers.push([status, json.errors[0]])
    }
    // Let through, it comes to what is not there: no role of that name was ever written.
    expect(answers).toEqual([
      [403, expect.stringMatching(/permission denied/)],
      [403, expect.stringMatching(/does not allow it from this address/)],
      [expect.toBeOneOf([400, 404]), expect.not.stringMatching(/permission denied/)],
    ])
    const late = await people.person('walled', { policies: ['walled'], ageSeconds: 7_200 })
    const { status, text } = await late.api('POST', CLUSTER, { kubernetes_namespace: 'prod' })
    expect([status, text]).toEqual([403, expect.stringContaining('your login is older')])
  })

  /** Of any role that is in force: which one it is does not matter to where somebody comes from. */
  const aRoleId = async (): Promise<string> => {
    const { rows } = await at.ledger.ledger.query<{ id: string }>(
      'select id from leasehold.role where replaced_at is null limit 1',
    )
    return rows[0]?.id ?? ''
  }
})

describe('the longest that a request may wait', () => {
  const SETTINGS = 'sys/config/control-group'
  const readable = async () => {
    const { status, json } = await at.api('GET', SETTINGS)
    return [status, json?.data ?? null]
  }
  const waitOf = async (answer: ApiAnswer) => {
    const { request_id } = await statusData(wrapOf(answer).accessor)
    const { data } = (await at.api('GET', `break-glass/requests/${request_id}`)).json
    return (Date.parse(data.pending_expires_at) - Date.parse(data.requested_at)) / 1_000
  }

  test('is what the policy says, until somebody says less for all of them', async () => {
    expect(await readable()).toEqual([404, null])
    const long = await read(await requester())
    expect([wrapOf(long).ttl, await waitOf(long)]).toEqual([4 * 3_600 + 600, 4 * 3_600])

    expect((await at.api('PUT', SETTINGS, { max_ttl: '5m' })).status).toBe(204)
    expect(await readable()).toEqual([200, { max_ttl: '5m' }])
    const short = await read(await requester())
    expect([wrapOf(short).ttl, await waitOf(short)]).toEqual([300, 300])

    expect((await at.api('POST', SETTINGS, { max_ttl: 15_000 })).status).toBe(204)
    const between = await read(await requester())
    expect([wrapOf(between).ttl, await waitOf(between)]).toEqual([15_000, 4 * 3_600])

    expect((await at.api('DELETE', SETTINGS)).status).toBe(204)
    expect(await readable()).toEqual([404, null])
    expect(wrapOf(await read(await requester())).ttl).toBe(4 * 3_600 + 600)
  })

  test.each([{}, { max_ttl: 0 }, { max_ttl: '-1h' }, { max_ttl: 'long' }, { max_ttl: '0.4s' }])(
    'is no %j',
    async (body) => {
      const { status, text } = await at.api('POST', SETTINGS, body)
      expect([status, text]).toEqual([400, expect.stringContaining('max_ttl')])
      expect(await readable()).toEqual([404, null])
    },
  )

  test('is read and said with sudo alone', async () => {
    const all = 'create", "read", "update", "delete'
    await at.api('PUT', 'sys/policies/acl/settings', {
      policy: `path "${SETTINGS}" { capabilities = ["${all}"] }`,
    })
    const plain = await people.person('plain', { policies: ['settings'] })
    for (const [method, body] of [['GET'], ['POST', { max_ttl: '1s' }], ['DELETE']] as const) {
      expect((await plain.api(method, SETTINGS, body)).status).toBe(403)
    }
    expect(await readable()).toEqual([404, null])
  })
})

describe('who may authorize', () => {
  test('not who asked, even as one of the approvers, and not a machine', async () => {
    const asker = await requester({ groups: ['approvers'] })
    const { accessor } = wrapOf(await read(asker))
    const machine = await people.person('robot', { kind: 'workload', groups: ['approvers'] })
    const late = await people.person('late', { groups: ['approvers'], ageSeconds: 3_600 })
    const stranger = await people.person('stranger')
    for (const one of [asker, machine, late, stranger]) {
      expect((await authorize(accessor, one)).status).toBe(403)
    }
    expect((await status(accessor)).json.data.approved).toBe(false)
  })

  test('for the plan they have seen alone, where they say which', async () => {
    const { accessor } = wrapOf(await read(await requester()))
    expect((await authorize(accessor, ben, { plan_hash: 'another' })).status).toBe(409)
    const { plan_hash } = (await status(accessor)).json.data
    const long = await authorize(accessor, ben, { plan_hash, comment: 'x'.repeat(2_001) })
    expect([long.status, long.text]).toEqual([400, expect.stringContaining('2000 characters')])
    expect((await authorize(accessor, ben, { plan_hash })).json.data).toEqual({ approved: true })
  })

  test.each(['request', 'authorize'])('%s takes an accessor that is one', async (verb) => {
    for (const accessor of ['', 'none', ben.accessor]) {
      const { status, json } = await ben.api('POST', `sys/control-group/${verb}`, { accessor })
      expect([status, json.errors[0]]).toEqual([400, expect.stringMatching(/^(missing|invalid) accessor$/)])
    }
  })
})

describe('the wrapping token', () => {
  test('gives nothing to somebody else, nor alone for a person’s request', async () => {
    const asker = await requester()
    const { token, accessor } = wrapOf(await read(asker))
    await authorize(accessor)
    expect((await unwrap(ben, token)).status).toBe(403)
    expect((await unwrapAlone(token)).status).toBe(403)
    expect((await unwrap(asker, token)).status).toBe(200)
  })

  test('gives a person nothing without a login of just now', async () => {
    asked += 1
    const name = `asker-${asked}`
    const { token, accessor } = wrapOf(
      await read(await people.person(name, { policies: ['reads'], ageSeconds: 3_600 })),
    )
    await authorize(accessor)
    expect((await unwrap(await people.person(name, { ageSeconds: 3_600 }), token)).status).toBe(403)
    expect((await unwrap(await people.person(name, { policies: ['reads'] }), token)).status).toBe(200)
  })

  test('is all that a workload needs', async () => {
    const job = await requester({ kind: 'workload' })
    const { token, accessor } = wrapOf(await read(job))
    expect((await unwrapAlone(token)).json.errors).toEqual(['request needs further approval'])
    await authorize(accessor)
    const given = await unwrapAlone(token)
    expect(given.json.data.username).toMatch(/^v_guarded_/)
  })

  test('of several who unwrap at once one gets credentials', async () => {
    const asker = await requester()
    const { token, accessor } = wrapOf(await read(asker))
    await authorize(accessor)
    const before = (await accounts()).length
    const answers = await Promise.all([unwrap(asker, token), unwrap(asker, token), unwrap(asker, token)])
    expect(answers.filter(({ status }) => status === 200)).toHaveLength(1)
    expect(await accounts()).toHaveLength(before + 1)
  })

  test('cannot be changed for another, and says where it came from', async () => {
    const asker = await requester()
    const { token } = wrapOf(await read(asker))
    const changed = await at.api('POST', 'sys/wrapping/rewrap', {}, { 'X-Vault-Token': token })
    expect([changed.status, changed.json.errors[0]]).toEqual([
      400,
      expect.stringContaining('cannot be changed for another'),
    ])
    const { json } = await asker.api('POST', 'sys/wrapping/lookup', { token })
    expect(json.data.creation_path).toBe(PATH)
  })

  test('opens nothing once the request was denied', async () => {
    const asker = await requester()
    const { token, accessor } = wrapOf(await read(asker))
    const { request_id, plan_hash } = (await status(accessor)).json.data
    await ben.api('POST', `break-glass/requests/${request_id}/deny`, { plan_hash, comment: 'no' })
    const { status: code, json } = await unwrap(asker, token)
    expect([code, json.errors]).toEqual([409, ['the request is denied']])
  })
})

import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type AuthMount, logIn } from '../../src/identity/login.ts'
import { tokenFieldsOf } from '../../src/identity/token-fields.ts'
import { findLiveGrant } from '../../src/ledger/live-grants.ts'
import { MOUNT_ACCESSOR } from '../../src/ledger/mounts.ts'
import type { ApiAnswer } from '../support/broker.ts'
import type { Person } from '../support/glass-people.ts'
import { until } from '../support/processes.ts'
import { type AccessWorld, type GlassRequest, openAccessWorld } from './break-glass-access-world.ts'

/** Each test is an attempt to get, keep or see what is not one's own; it passes where the attempt fails. */

type Login = {
  mount?: 'oidc' | 'other'
  groups?: string[]
  kind?: 'human' | 'workload'
  amr?: string[]
  /** Null: the issuer does not say when. */
  ageSeconds?: number | null
  sub?: string
  policies?: string[]
}

let at: AccessWorld
let logins = 0

beforeAll(async () => {
  at = await openAccessWorld({ deny_threshold: 1 })
  await at.api('POST', 'sys/auth/other', { type: 'oidc' })
})

afterAll(() => at.close())

/** A login as any mount might leave it. */
async function come(name: string, login: Login = {}): Promise<Person> {
  const { mount: path = 'oidc', groups = [], kind = 'human', amr = ['pwd', 'otp'] } = login
  const { ageSeconds = 0, sub = name, policies = [] } = login
  const { ledger } = at.ledger
  const { rows } = await ledger.query<AuthMount>(
    `select m.id, m.path, ${MOUNT_ACCESSOR} as accessor, m.config from leasehold.mount m
     where m.path = 'auth/' || $1 || '/' and m.disabled_at is null`,
    [path],
  )
  const now = await at.ledger.now()
  const { token, entry } = await logIn(ledger, {
    mount: rows[0] as AuthMount,
    roleName: 'people',
    token: tokenFieldsOf({ token_policies: ['glass', ...policies], token_ttl: 3_600 }),
    proven: {
      ...{ kind, groups, amr, alias: name, subject: name, metadata: { role: 'people' }, acr: '' },
      ...(ageSeconds !== null && { authTime: Math.floor(now.getTime() / 1_000) - ageSeconds }),
      claims: { iss: 'https://issuer.example', sub },
    },
    sourceAddress: '127.0.0.1',
    endpoint: 'oidc/callback',
    now,
  })
  return holding(token.reveal(), entry.accessor ?? '')
}

const holding = (token: string, accessor = ''): Person => ({
  token,
  accessor,
  api: (method, path, body, headers) => at.api(method, path, body, { 'X-Vault-Token': token, ...headers }),
})

/** People of this test alone, so that no other test's grants are in their way. */
async function strangers(): Promise<{
  names: string[]
  rita: Person
  ann: Person
  olga: Person
  sam: Person
  vera: Person
}> {
  logins += 1
  const names = ['rita', 'ann', 'olga', 'sam', 'vera'].map((name) => `${name}-${logins}`)
  const [rita = '', ann = '', olga = '', sam = '', vera = ''] = names
  return {
    names,
    rita: await come(rita),
    ann: await come(ann, { groups: ['oncall'] }),
    olga: await come(olga, { groups: ['owners'] }),
    sam: await come(sam, { groups: ['security'] }),
    vera: await come(vera, { groups: ['audit'] }),
  }
}

const ok = (answer: ApiAnswer): GlassRequest => {
  expect(answer, answer.text).toMatchObject({ status: 200 })
  return answer.json.data
}

const REASON = 'orders are stuck in the queue since 02:40'

const submit = (as: Person, changes: Record<string, unknown> = {}): Promise<ApiAnswer> =>
  as.api('POST', 'break-glass/requests', {
    ...{ policy: 'db', roles: ['database/creds/app'], reason: REASON, duration: '30m', ...changes },
  })

async function approvedFor(
  { rita, ann, olga }: { rita: Person; ann: Person; olga: Person },
  changes: Record<string, unknown> = {},
): Promise<GlassRequest> {
  const { id, plan_hash } = ok(await submit(rita, changes))
  ok(await at.act(ann, id, 'approve', { plan_hash }))
  return ok(await at.act(olga, id, 'approve', { plan_hash }))
}

const writePolicy = async (name: string, changes: Record<string, unknown>): Promise<void> => {
  const written = await at.api('POST', `break-glass/policies/${name}`, {
    roles: ['database/creds/app'],
    sets: {
      oncall: { groups: ['oncall'] },
      owners: { groups: ['owners'] },
      officers: { groups: ['security'] },
      reviewers: { groups: ['audit'] },
    },
    approvals: { all_of: [{ set: 'oncall' }, { set: 'owners' }] },
    security_officers: ['officers'],
    reviewers: ['reviewers'],
    ticket_required: false,
    ...changes,
  })
  expect(written.text).toBe('')
}

describe('one person is never two', () => {
  test('by a login of another mount, a child token, an orphan or a batch token of their own', async () => {
    const { rita, ann, names } = await strangers()
    const both = await come('both', { groups: ['oncall', 'owners'] })
    const { id, plan_hash } = ok(await submit(rita))
    const asApprover = await come(names[0] as string, { mount: 'other', groups: ['oncall', 'owners'] })
    const selfApproval = await at.act(asApprover, id, 'approve', { plan_hash })
    expect(selfApproval.status).toBe(403)
    expect(selfApproval.text).toMatch('nobody has a vote on their own request')

    ok(await at.act(both, id, 'approve', { plan_hash }))
    const other = await come('somebody', { mount: 'other', sub: 'both', groups: ['owners'] })
    expect((await at.act(other, id, 'approve', { plan_hash })).status).toBe(409)
    await at.api('PUT', 'sys/policies/acl/makers', {
      policy: `path "auth/token/*" { capabilities = ["create", "update", "sudo"] }`,
    })
    const maker = await come('both', { groups: ['oncall', 'owners'], policies: ['makers'] })
    for (const [path, body] of [
      ['auth/token/create', {}],
      ['auth/token/create-orphan', {}],
      ['auth/token/create', { no_parent: true }],
      ['auth/token/create', { type: 'batch' }],
    ] as const) {
      const made = await maker.api('POST', path, body)
      expect(made, made.text).toMatchObject({ status: 200 })
      const child = holding(made.json.auth.client_token)
      const answer = await at.act(child, id, 'approve', { plan_hash })
      expect(answer.status, path).toBe(403)
      expect(answer.text, path).toMatch('log in yourself: this token was made from another')
    }
    expect((await at.act(maker, id, 'approve', { plan_hash })).status).toBe(409)
    expect((await at.look(id)).state).toBe('pending')
    ok(await at.act(ann, id, 'approve', { plan_hash }))
    expect((await at.look(id)).state).toBe('approved')
  })

  test('by an old login on a new token, one of tomorrow, one that does not say when, one without a factor', async () => {
    const { rita } = await strangers()
    const { id, plan_hash } = ok(await submit(rita))
    const maker = await come('late', { groups: ['oncall'], ageSeconds: 7 * 86_400, policies: ['makers'] })
    const made = await maker.api('POST', 'auth/token/create', {})
    for (const [who, why] of [
      [holding(made.json.auth.client_token), /this token was made from another/],
      [maker, /your login is older than the 5 minutes allowed/],
      [await come('early', { groups: ['oncall'], ageSeconds: -3_600 }), /dated in the future/],
      [await come('silent', { groups: ['oncall'], ageSeconds: null }), /does not say when/],
      [await come('lone', { groups: ['oncall'], amr: [] }), /second factor/],
      [await come('robot', { groups: ['oncall'], kind: 'workload' }), /errors/],
      [holding(at.root), /permission denied/],
    ] as const) {
      const answer = await at.act(who, id, 'approve', { plan_hash })
      expect([403, 404], answer.text).toContain(answer.status)
      expect(answer.text).toMatch(why)
    }
    expect((await at.look(id)).votes).toEqual([])
  })

  test('by what the body says about who votes', async () => {
    const { rita } = await strangers()
    const { id, plan_hash } = ok(await submit(rita))
    const answer = await at.act(rita, id, 'approve', {
      ...{ plan_hash, voter_id: 'ann', subject: 'ann', groups: ['oncall'], kind: 'human' },
      actor: { id: 'ann', groups: ['oncall'] },
    })
    expect(answer.status).toBe(403)
    expect((await at.look(id)).votes).toEqual([])
  })

  test('by going round a block, an overdue review or the number of requests through another mount', async () => {
    const { rita, names, ...rest } = await strangers()
    const [name = ''] = names
    await writePolicy('few', { max_live: 1 })
    const { id } = ok(await submit(rita, { policy: 'few' }))
    const twin = await come(name, { mount: 'other' })
    expect(await submit(twin, { policy: 'few' })).toMatchObject({ status: 409 })
    ok(await at.act(rita, id, 'cancel'))

    const approved = await approvedFor({ rita, ...rest })
    ok(await at.act(rita, approved.id, 'activate'))
    ok(await at.act(rita, approved.id, 'end', { reason: 'done' }))
    await at.comesTo(approved.id, 'review_due')
    const waiting = ok(await submit(twin))
    ok(
      await at.act(rest.vera, approved.id, 'review', {
        outcome: 'flagged',
        checklist: {
          ...{ actions_match_reason: false, ticket_true: false, data_touched: true, follow_up: true },
          rotate: false,
        },
        finding: 'customers were looked up',
        case_id: 'SEC-1',
      }),
    )
    expect(await submit(rita)).toMatchObject({ status: 403 })
    const round = await submit(twin)
    expect(round, round.text).toMatchObject({ status: 403 })
    expect(round.text).toMatch('you are blocked')
    // Nor does what they asked by that login before stand, nor their word for others.
    const vote = await at.act(rest.ann, waiting.id, 'approve', { plan_hash: waiting.plan_hash })
    expect(vote.text).toMatch('the requester has been blocked')
    const { id: others, plan_hash } = ok(await submit(await come('somebody-else')))
    const voting = await come(name, { mount: 'other', groups: ['oncall'] })
    expect((await at.act(voting, others, 'approve', { plan_hash })).text).toMatch('you are blocked')
    // Who settles it settles it for all of their logins, and never they themselves.
    const eligible = ok(await twin.api('GET', 'break-glass/eligible'))
    expect(eligible.policies.every(({ blocked }: { blocked: string | null }) => blocked !== null)).toBe(true)
    const { keys } = ok(await at.api('LIST', 'break-glass/blocks'))
    await at.api('PUT', 'sys/policies/acl/settlers', {
      policy: `path "break-glass/blocks/*" { capabilities = ["delete"] }`,
    })
    const settling = { groups: ['security'], policies: ['settlers'] }
    const own = await come(name, { mount: 'other', ...settling })
    expect((await own.api('DELETE', `break-glass/blocks/${keys[0]}`)).status).toBe(403)
    const officer = await come(names[3] as string, settling)
    expect((await officer.api('DELETE', `break-glass/blocks/${keys[0]}`)).status).toBe(204)
    expect(await submit(twin)).toMatchObject({ status: 200 })
  })

  test('nobody reviews what they asked for or approved, by whichever mount they come', async () => {
    const { names, ...all } = await strangers()
    const approved = await approvedFor(all)
    ok(await at.act(all.rita, approved.id, 'activate'))
    ok(await at.act(all.rita, approved.id, 'end'))
    await at.comesTo(approved.id, 'review_due')
    const review = {
      outcome: 'ok',
      checklist: {
        ...{
          actions_match_reason: true,
          ticket_true: true,
          data_touched: true,
          follow_up: true,
          rotate: true,
        },
      },
    }
    for (const name of names.slice(0, 3)) {
      const reviewer = await come(name, { mount: 'other', groups: ['audit'] })
      expect((await at.act(reviewer, approved.id, 'review', review)).status, name).toBe(403)
    }
    expect((await at.look(approved.id)).reviews).toEqual([])
  })
})

describe('what was approved is what is given', () => {
  test('an approver who has left the set since counts no more at the activation', async () => {
    const { names, ...all } = await strangers()
    const { id } = await approvedFor(all)
    await come(names[1] as string, { groups: ['something-else'] })
    const answer = await at.act(all.rita, id, 'activate')
    expect(answer, answer.text).toMatchObject({ status: 409 })
    expect(answer.text).toMatch('an approver no longer counts')
    expect((await at.look(id)).state).toBe('pending')
    expect(await at.leases(id)).toEqual([])
    // Nor may they vote by the token of before.
    const { plan_hash } = await at.look(id)
    expect((await at.act(all.ann, id, 'approve', { plan_hash })).status).toBe(403)
  })

  test('a requester who may no longer ask gets nothing for what they asked before', async () => {
    const { names, ...all } = await strangers()
    const [name = ''] = names
    await writePolicy('members', { requesters: { groups: ['engineers'] } })
    const rita = await come(name, { groups: ['engineers'] })
    const { id } = await approvedFor({ ...all, rita }, { policy: 'members' })
    const left = await come(name)
    expect((await at.act(left, id, 'activate')).status).toBe(403)
    ok(await at.act(await come(name, { groups: ['engineers'] }), id, 'activate'))
    expect((await at.act(await come(name), id, 'collect')).status).toBe(403)
    // By the token of before, neither: what counts is what their newest login says.
    expect((await at.act(rita, id, 'collect')).status).toBe(403)
    ok(await at.act(await come(name), id, 'end'))
  })

  test('a target that points elsewhere since is not the one that was approved', async () => {
    const { names: _, ...all } = await strangers()
    const { id } = await approvedFor(all)
    const moved = await at.api('POST', 'database/config/db', {
      plugin_name: 'postgresql-database-plugin',
      connection_url: `${at.target.urlTemplate}?application_name=elsewhere`,
      username: at.target.admin,
      password: at.target.password,
      allowed_roles: '*',
    })
    expect(moved.status).toBeLessThan(300)
    const answer = await at.act(all.rita, id, 'activate')
    expect(answer.text).toMatch('a role or its target has changed')
    expect(await at.leases(id)).toEqual([])
    await at.api('POST', 'database/config/db', {
      plugin_name: 'postgresql-database-plugin',
      connection_url: at.target.urlTemplate,
      username: at.target.admin,
      password: at.target.password,
      allowed_roles: '*',
    })
  })

  test('narrowing widens nothing and silences nobody', async () => {
    const { names: _, ...all } = await strangers()
    const { id, plan_hash, plan } = ok(await submit(all.rita))
    for (const narrow of [
      { duration: null, roles: ['database/creds/app', 'database/creds/app'] },
      { duration: '31m' },
      { duration: '10h', roles: ['database/creds/app'] },
      { roles: ['database/creds/app', 'database/creds/other'] },
      { roles: ['database/creds/other'] },
      { duration: -5 },
      { duration: '0s' },
      {},
      { reason: 'another', plan: { duration_seconds: 99_999 } },
    ]) {
      const answer = await at.act(all.ann, id, 'approve', { plan_hash, narrow })
      expect(answer, JSON.stringify(narrow)).toMatchObject({ status: 400 })
    }
    expect(await at.look(id)).toMatchObject({ state: 'pending', plan, votes: [] })

    await writePolicy('slow', {
      lane: 'standard',
      deny_threshold: 2,
      min_approvers: 2,
      narrowing_keeps_votes: true,
    })
    const second = await come('second-owner', { groups: ['owners'] })
    const slow = ok(await submit(all.rita, { policy: 'slow' }))
    ok(await at.act(all.ann, slow.id, 'deny', { plan_hash: slow.plan_hash, comment: 'not this' }))
    const narrowed = ok(
      await at.act(all.olga, slow.id, 'approve', { plan_hash: slow.plan_hash, narrow: { duration: '29m' } }),
    )
    const denied = ok(
      await at.act(second, slow.id, 'deny', { plan_hash: narrowed.plan_hash, comment: 'nor that' }),
    )
    expect(denied.state).toBe('denied')
  })

  test('a role that was changed under a grant in force is not given by an ordinary read either', async () => {
    const { names, ...all } = await strangers()
    const role = { db_name: 'db', member_of: at.target.readers, default_ttl: '1m', max_ttl: '10h' }
    await at.api('POST', 'database/roles/glass', role)
    await at.api('PUT', 'sys/policies/acl/only-glass', {
      policy: `path "database/creds/glass" { capabilities = ["read"] condition = "approval.live" }`,
    })
    const rita = await come(names[0] as string, { policies: ['only-glass'] })
    expect((await rita.api('GET', 'database/creds/glass')).status).toBe(403)
    const { id } = await approvedFor({ ...all, rita }, { roles: ['database/creds/glass'] })
    expect((await rita.api('GET', 'database/creds/glass')).status).toBe(403)
    ok(await at.act(rita, id, 'activate'))
    ok(await rita.api('GET', 'database/creds/glass'))
    await at.api('POST', 'database/roles/glass', { ...role, default_ttl: '2m' })
    expect((await rita.api('GET', 'database/creds/glass')).status).toBe(403)
    expect((await at.act(rita, id, 'collect')).status).toBe(409)
    ok(await at.act(rita, id, 'end'))
    expect((await at.leases(id)).every(({ state }) => state === 'revoked')).toBe(true)
  })

  test('a grant for one namespace opens no other, and never the cluster', async () => {
    const { names: _, ...all } = await strangers()
    const { id } = await approvedFor(all)
    const { request } = ok(await at.act(all.rita, id, 'activate'))
    const { ledger } = at.ledger
    await ledger.query(
      `update leasehold.access_grant set plan = jsonb_set(plan, '{roles,0}',
         plan -> 'roles' -> 0 || '{"engine": "kubernetes", "kubernetes_namespace": "shop"}') where id = $1`,
      [id],
    )
    const found = async (parameters: Record<string, unknown>) =>
      (await findLiveGrant(ledger, {
        ...{ principalId: request.requester.id, path: 'database/creds/app', parameters },
      })) !== undefined
    expect(await found({ kubernetes_namespace: 'shop' })).toBe(true)
    expect(await found({ kubernetes_namespace: 'shop', cluster_role_binding: false })).toBe(true)
    for (const parameters of [
      {},
      { kubernetes_namespace: 'bank' },
      { Kubernetes_Namespace: 'bank' },
      { kubernetes_namespace: 'shop', Kubernetes_Namespace: 'bank' },
      { kubernetes_namespace: 'shop', cluster_role_binding: true },
      { kubernetes_namespace: 'shop', Cluster_Role_Binding: '1' },
    ]) {
      expect(await found(parameters), JSON.stringify(parameters)).toBe(false)
    }
    ok(await at.act(all.rita, id, 'end'))
  })

  test('a rule for emergencies can tell them from an everyday approval, and no drill opens it', async () => {
    const { names, ...all } = await strangers()
    await at.api('POST', 'database/roles/fire', {
      ...{ db_name: 'db', member_of: at.target.readers, default_ttl: '1m', max_ttl: '10h' },
    })
    await at.api('PUT', 'sys/policies/acl/fire', {
      policy: `path "database/creds/fire" { capabilities = ["read"] condition = "approval.lane == 'break_glass'" }`,
    })
    await writePolicy('everyday', {
      ...{ roles: ['database/creds/fire'], lane: 'standard', approvals: undefined, min_approvers: 0 },
    })
    const rita = await come(names[0] as string, { policies: ['fire'] })
    const { id } = ok(await submit(rita, { policy: 'everyday', roles: ['database/creds/fire'] }))
    ok(await at.act(rita, id, 'activate'))
    expect((await rita.api('GET', 'database/creds/fire')).status).toBe(403)
    ok(await at.act(rita, id, 'end'))
    const drill = await approvedFor({ ...all, rita }, { roles: ['database/creds/fire'], lane: 'drill' })
    ok(await at.act(rita, drill.id, 'activate'))
    expect((await rita.api('GET', 'database/creds/fire')).status).toBe(403)
    ok(await at.act(rita, drill.id, 'end'))
    const real = await approvedFor({ ...all, rita }, { roles: ['database/creds/fire'] })
    ok(await at.act(rita, real.id, 'activate'))
    ok(await rita.api('GET', 'database/creds/fire'))
    ok(await at.act(rita, real.id, 'end'))
  })
})

describe('access ends, and is nobody else’s', () => {
  test('nobody else collects, activates or gets more time', async () => {
    const { names: _, ...all } = await strangers()
    const { id } = await approvedFor(all)
    for (const who of [all.ann, all.sam, all.vera, holding(at.root)]) {
      expect([403, 404]).toContain((await at.act(who, id, 'activate')).status)
    }
    ok(await at.act(all.rita, id, 'activate'))
    const stranger = await come('stranger')
    expect((await at.act(stranger, id, 'collect')).status).toBe(404)
    for (const who of [all.ann, all.sam, holding(at.root)]) {
      expect([403, 404]).toContain((await at.act(who, id, 'collect')).status)
      const more = await at.act(who, id, 'extend', { duration: '5m', reason: 'more' })
      expect([403, 404]).toContain(more.status)
    }
    ok(await at.act(all.rita, id, 'end'))
  })

  test.for(['suspend', 'end'] as const)(
    'credentials asked for during %s are never left behind',
    async (how) => {
      const { names: _, ...all } = await strangers()
      const { id } = await approvedFor(all)
      ok(await at.act(all.rita, id, 'activate'))
      const [, ...collected] = await Promise.all([
        at.act(all.sam, id, how, { reason: 'enough' }),
        at.act(all.rita, id, 'collect'),
        at.act(all.rita, id, 'collect'),
      ])
      await until('all its leases are proved gone', async () => {
        await at.sweep()
        return (await at.leases(id)).every(({ state }) => state === 'revoked')
      })
      const given = collected.filter(({ status }) => status === 200)
      for (const { json } of given) {
        expect(await at.target.account(json.data.credentials[0].data.username)).toBe('absent')
      }
      await at.act(all.rita, id, 'end')
      expect((await at.act(all.rita, id, 'collect')).status).toBe(409)
    },
  )

  test('more time takes people who are still who they were when they said yes to it', async () => {
    const { names, ...all } = await strangers()
    const [, annName = '', olgaName = ''] = names
    const { id } = await approvedFor(all)
    ok(await at.act(all.rita, id, 'activate'))
    await at.ledger.advance(25 * 60)
    const rita = await come(names[0] as string)
    const asked = ok(await at.act(rita, id, 'extend', { duration: '10m', reason: 'not done yet' }))
    const { plan_hash } = asked.extensions[0]
    const ann = await come(annName, { groups: ['oncall'] })
    ok(await at.act(ann, id, 'approve-extension', { plan_hash }))
    await come(annName, { groups: [] })
    const otto = await come(`otto-of-${olgaName}`, { groups: ['owners'] })
    const after = ok(await at.act(otto, id, 'approve-extension', { plan_hash }))
    expect(after.expires_at).toBe(asked.expires_at)
    const nina = await come(`nina-of-${annName}`, { groups: ['oncall'] })
    const extended = ok(await at.act(nina, id, 'approve-extension', { plan_hash }))
    expect(Date.parse(extended.expires_at) - Date.parse(asked.expires_at)).toBe(600_000)
    ok(await at.act(rita, id, 'end'))
  })

  test('a policy that is deleted, and the mount itself, end no earlier and no later', async () => {
    const { names: _, ...all } = await strangers()
    await writePolicy('shortlived', {})
    const { id } = await approvedFor(all, { policy: 'shortlived' })
    const { credentials } = ok(await at.act(all.rita, id, 'activate'))
    const pending = ok(await submit(all.rita, { policy: 'shortlived' }))
    expect((await at.api('DELETE', 'break-glass/policies/shortlived')).status).toBe(204)
    // As of any mount that there is not: nothing, and no error.
    await at.api('DELETE', 'sys/mounts/break-glass')
    expect((await at.look(id)).state).toBe('active')
    expect((await at.api('POST', 'sys/remount', { from: 'break-glass', to: 'gone' })).status).toBeGreaterThan(
      399,
    )
    expect((await at.api('POST', 'sys/mounts/break-glass/x', { type: 'database' })).status).toBe(400)
    const voted = await at.act(all.ann, pending.id, 'approve', { plan_hash: pending.plan_hash })
    expect(voted.text).toMatch('the policy has changed')
    await at.ledger.advance(31 * 60)
    await at.comesTo(id, 'review_due')
    expect(await at.target.account(credentials[0].data.username)).toBe('absent')
  })

  test('no wrapping, renewing or revoking by others moves the end', async () => {
    const { names: _, ...all } = await strangers()
    const fresh = await strangers()
    const { id } = await approvedFor(fresh)
    const wrapped = await fresh.rita.api(
      'POST',
      `break-glass/requests/${id}/activate`,
      {},
      { 'X-Vault-Wrap-TTL': '2h' },
    )
    expect(wrapped.json.wrap_info.token).toBeTypeOf('string')
    const [lease] = await at.leases(id)
    const { expires_at } = await at.look(id)
    expect(lease?.hard_expires_at.getTime()).toBeLessThanOrEqual(new Date(expires_at).getTime())
    const stolen = holding(wrapped.json.wrap_info.token)
    ok(await at.act(all.sam, id, 'end', { reason: 'seen' }))
    const opened = await stolen.api('POST', 'sys/wrapping/unwrap')
    if (opened.status === 200) {
      const [{ lease_id, data }] = opened.json.data.credentials
      expect(await at.target.account(data.username)).toBe('absent')
      expect((await fresh.rita.api('POST', 'sys/leases/renew', { lease_id })).status).toBe(400)
    }
  })
})

describe('who is nobody to it', () => {
  test('sees, decides and settles nothing', async () => {
    const { names: _, ...all } = await strangers()
    const { id, plan_hash } = ok(await submit(all.rita, { reason: `${REASON} for customer Pelikan` }))
    const stranger = await come('passer-by', { groups: ['oncalls', 'owner'] })
    const tries: [string, string, Record<string, unknown>?][] = [
      ['GET', `break-glass/requests/${id}`],
      ['GET', 'break-glass/requests?view=all'],
      ['GET', `break-glass/requests?requester=${'rita'}&state=pending`],
      ['GET', `break-glass/deliveries?request=${id}`],
      ['GET', 'break-glass/deliveries'],
      ['LIST', 'break-glass/blocks'],
      ['POST', `break-glass/requests/${id}/deny`, { plan_hash, comment: 'no' }],
      ['POST', `break-glass/requests/${id}/end`, {}],
      ['POST', `break-glass/requests/${id}/suspend`, { reason: 'x' }],
      ['POST', `break-glass/requests/${id}/cancel`, {}],
      ['POST', `break-glass/requests/${id}/incident-closed`, {}],
      ['POST', `break-glass/disabled-requesters/${id}`, {}],
      ['POST', 'break-glass/policies/db', { roles: ['*'] }],
      ['DELETE', 'break-glass/policies/db'],
      ['PATCH', 'break-glass/policies/db', { roles: ['*'] }],
      ['POST', 'break-glass//policies/db', { roles: ['*'] }],
      ['POST', 'break-glass/policies/db/', { roles: ['*'] }],
      ['POST', 'Break-Glass/policies/db', { roles: ['*'] }],
      ['POST', 'break-glass/./policies/db', { roles: ['*'] }],
      ['POST', 'break-glass/requests/..%2fpolicies%2fdb', { roles: ['*'] }],
      ['POST', 'break-glass/policies/%64b', { roles: ['*'] }],
    ]
    for (const [method, path, body] of tries) {
      const answer = await stranger.api(method, path, body)
      expect(answer.text, path).not.toMatch('Pelikan')
      if (method !== 'GET' && method !== 'LIST')
        expect(answer.status, `${method} ${path}`).toBeGreaterThan(399)
    }
    expect(await at.look(id)).toMatchObject({ state: 'pending', version: 1 })
    expect(ok(await at.api('GET', 'break-glass/policies/db')).roles).toEqual(['database/creds/*'])
  })

  test('reads no secret of a policy in what is answered about it', async () => {
    await writePolicy('told', {
      ticket_check_url: 'https://tickets.example/check',
      ticket_check_secret: 'ticket-secret-of-ours',
      notify: [
        { name: 'hook', type: 'webhook', url: 'https://hooks.example/x', secret: 'hook-secret-of-ours' },
        { name: 'chat', type: 'slack', url: 'https://hooks.slack.com/services/T0/B0/secretpath' },
      ],
    })
    const shown = await at.api('GET', 'break-glass/policies/told')
    expect(shown.status).toBe(200)
    const audited = await at.api('GET', 'sys/leasehold/audit?limit=1000&newest=true')
    for (const { text } of [shown, audited]) {
      expect(text).not.toMatch(/ticket-secret-of-ours|hook-secret-of-ours|secretpath/)
    }
    for (const url of [
      'http://169.254.169.254/latest',
      'file:///etc/passwd',
      'https://user:pass@hooks.example/',
      'gopher://x',
      'http://localhost.example/',
    ]) {
      const refused = await at.api('POST', 'break-glass/policies/ssrf', {
        ...{
          roles: ['*'],
          lane: 'standard',
          min_approvers: 0,
          notify: [{ name: 'a', type: 'webhook', url }],
        },
      })
      expect(refused.status, url).toBe(400)
    }
    await at.api('DELETE', 'break-glass/policies/told')
  })

  test('reads nothing from elsewhere under access that was opened from within', async () => {
    const { names } = await strangers()
    const role = { db_name: 'db', member_of: at.target.readers, default_ttl: '1m', max_ttl: '10h' }
    await at.api('POST', 'database/roles/guarded', role)
    await at.api('PUT', 'sys/policies/acl/guarded', {
      policy: `path "database/creds/guarded" { capabilities = ["read"] }`,
    })
    const policy = {
      ...{ roles: ['database/creds/guarded'], lane: 'standard', approvals: undefined, min_approvers: 0 },
      control_group: true,
    }
    await writePolicy('guarded', { ...policy, allow_from: ['127.0.0.0/8'] })
    const rita = await come(names[0] as string, { policies: ['guarded'] })
    const { id } = ok(await submit(rita, { policy: 'guarded', roles: ['database/creds/guarded'] }))
    ok(await at.act(rita, id, 'activate'))
    ok(await rita.api('GET', 'database/creds/guarded'))
    await writePolicy('guarded', { ...policy, allow_from: ['10.0.0.0/8'] })
    expect((await rita.api('GET', 'database/creds/guarded')).status).toBe(403)
    ok(await at.act(rita, id, 'end'))
  })

  test('says where they come from by no header', async () => {
    const { names: _, ...all } = await strangers()
    await writePolicy('inside', { allow_from: ['10.0.0.0/8'] })
    const { id } = await approvedFor(all, { policy: 'inside' })
    const answer = await all.rita.api(
      'POST',
      `break-glass/requests/${id}/activate`,
      {},
      {
        'X-Forwarded-For': '10.0.0.1',
        'X-Real-IP': '10.0.0.1',
        Forwarded: 'for=10.0.0.1',
      },
    )
    expect(answer.status).toBe(403)
    expect(answer.text).toMatch('from this address')
  })
})

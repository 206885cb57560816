import { afterAll, beforeAll, expect, test } from 'vitest'
import type { Person } from '../support/glass-people.ts'
import { type AccessWorld, openAccessWorld } from './break-glass-access-world.ts'

// Whose hands a token is in: one that a login made is its owner's, one made from it may be anybody's, and one that
// somebody else has revoked is nobody's any more.

let at: AccessWorld
beforeAll(async () => {
  at = await openAccessWorld({ max_live: 20, security_officers: ['officers'] })
  await at.api('PUT', 'sys/policies/acl/makers', {
    policy: `path "auth/token/*" { capabilities = ["create", "update", "sudo"] }`,
  })
})
afterAll(() => at.close())

const come = (name: string, ...groups: string[]) => at.people.person(name, { groups, policies: ['makers'] })

/** One made by somebody from their own login of just now. */
async function childOf(maker: Person, path = 'auth/token/create'): Promise<Person> {
  const made = await maker.api('POST', path, {})
  expect(made, made.text).toMatchObject({ status: 200 })
  const { client_token: token, accessor } = made.json.auth
  const api: Person['api'] = (method, to, body, headers) =>
    at.api(method, to, body, { 'X-Vault-Token': token, ...headers })
  return { api, token, accessor }
}

const YOURSELF = 'log in yourself: this token was made from another'

test('nothing that takes a fresh login is done by a token that was made from one', async () => {
  const [rita, ann, olga] = [await come('rita'), await come('ann', 'oncall'), await come('olga', 'owners')]
  const { id, plan_hash } = await at.ask(rita)
  for (const action of ['approve', 'deny']) {
    for (const path of ['auth/token/create', 'auth/token/create-orphan']) {
      const answer = await at.act(await childOf(ann, path), id, action, { plan_hash, comment: 'no' })
      expect([answer.status, answer.json.errors[0]]).toEqual([403, expect.stringContaining(YOURSELF)])
    }
  }
  expect((await at.look(id)).votes).toEqual([])
  for (const voter of [ann, olga]) await at.act(voter, id, 'approve', { plan_hash })
  const child = await childOf(rita)
  const refused = await at.act(child, id, 'activate')
  expect([refused.status, refused.json.errors[0]]).toEqual([403, expect.stringContaining(YOURSELF)])
  const offered = (await child.api('GET', `break-glass/requests/${id}`)).json.data
  expect(offered.refused_actions ?? offered.refused).toMatchObject({ activate: YOURSELF })
  expect(await at.act(rita, id, 'activate')).toMatchObject({ status: 200 })
  expect((await at.act(child, id, 'collect')).json.errors[0]).toContain(YOURSELF)
  // What takes access away takes no fresh login.
  expect(await at.act(child, id, 'end', { reason: 'done' })).toMatchObject({ status: 200 })
})

async function approvedBy(ann: Person): Promise<string> {
  const rita = await come('rita')
  const { id, plan_hash } = await at.ask(rita)
  for (const voter of [ann, await come('olga', 'owners')]) await at.act(voter, id, 'approve', { plan_hash })
  expect((await at.look(id)).state).toBe('approved')
  return id
}

const activate = async (id: string) => at.act(await come('rita'), id, 'activate')

test.each([
  ['its token', ({ token }: Person) => at.api('POST', 'auth/token/revoke', { token })],
  ['its accessor', ({ accessor }: Person) => at.api('POST', 'auth/token/revoke-accessor', { accessor })],
  ['its token alone', ({ token }: Person) => at.api('POST', 'auth/token/revoke-orphan', { token })],
])('a vote is lost when somebody else revokes %s', async (_, revoke) => {
  const ann = await come('ann', 'oncall')
  const id = await approvedBy(ann)
  expect((await revoke(ann)).status).toBe(204)
  const refused = await activate(id)
  expect(refused).toMatchObject({ status: 409 })
  expect(refused.text).toContain('an approver no longer counts')
  expect(await at.look(id)).toMatchObject({ state: 'pending' })
  const { plan_hash } = await at.look(id)
  await at.act(await come('ann', 'oncall'), id, 'approve', { plan_hash })
  expect(await activate(id)).toMatchObject({ status: 200 })
})

test.each([
  ['signs out', ({ api }: Person) => api('POST', 'auth/token/revoke-self', {})],
  [
    'ends the token by another of theirs',
    async ({ accessor }: Person) =>
      (await come('ann', 'oncall')).api('POST', 'auth/token/revoke-accessor', { accessor }),
  ],
])('a vote stands when its owner %s', async (_, leave) => {
  const ann = await come('ann', 'oncall')
  const id = await approvedBy(ann)
  expect((await leave(ann)).status).toBe(204)
  expect(await activate(id)).toMatchObject({ status: 200 })
})

test('a vote stands when the time of its token is over', async () => {
  const ann = await come('ann', 'oncall')
  const id = await approvedBy(ann)
  await at.ledger.ledger.query(
    `update leasehold.token set expires_at = leasehold.ledger_now() + interval '10 seconds' where accessor = $1`,
    [ann.accessor],
  )
  await at.ledger.advance(30)
  await at.sweep()
  expect((await ann.api('GET', 'auth/token/lookup-self')).status).toBe(403)
  expect(await activate(id)).toMatchObject({ status: 200 })
})

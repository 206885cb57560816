import { afterAll, beforeAll, expect, test } from 'vitest'
import type { Person } from '../support/glass-people.ts'
import { type KeyWorld, openKeyWorld } from './auth-webauthn-world.ts'
import { type AccessWorld, openAccessWorld } from './break-glass-access-world.ts'

// Break-glass by people who have nothing but their security keys: their provider has never been there.

let at: AccessWorld
let keys: KeyWorld
beforeAll(async () => {
  at = await openAccessWorld({
    sealed: true,
    max_live: 20,
    sets: {
      oncall: { groups: ['oncall'] },
      owners: { subjects: ['oidc#olga', 'webauthn#mole'] },
      officers: { groups: ['security'] },
      reviewers: { groups: ['audit'] },
    },
  })
  keys = await openKeyWorld(at)
})
afterAll(() => at.close())

const known = (name: string, ...groups: string[]): Promise<Person> =>
  at.people.person(name, { groups, policies: ['keys'], metadata: { role: 'people' } })

/** Somebody who has enrolled a key, and their logins by it from then on. */
async function withKey(name: string, ...groups: string[]) {
  const person = await known(name, ...groups)
  const { key, id } = await keys.enrol(person)
  return { person, id, key, logIn: () => keys.logIn(key) }
}

const does = async (who: Person, id: string, action: string, body: Record<string, unknown> = {}) => {
  const answer = await at.act(who, id, action, body)
  expect(answer, `${action}: ${answer.text}`).toMatchObject({ status: 200 })
  return answer.json.data
}

test('one asks sealed by their key, another witnesses by theirs, and access is given and ends', async () => {
  const [rosa, walt] = [await withKey('rosa'), await withKey('walt', 'oncall')]
  const [asker, witness] = [await rosa.logIn(), await walt.logIn()]
  const { id, plan_hash } = await at.ask(asker, { lane: 'sealed', duration: '15m' })
  const own = await at.act(asker, id, 'witness', { plan_hash })
  expect(own.status).toBe(403)
  expect((await at.act(rosa.person, id, 'witness', { plan_hash })).status).toBe(403)
  await does(witness, id, 'witness', { plan_hash })
  const { credentials } = await does(asker, id, 'activate')
  const session = await at.target.logIn(credentials[0].data)
  session.on('error', () => {})
  await does(await rosa.logIn(), id, 'end', { reason: 'done' })
  await at.comesTo(id, 'review_due')
  expect(await at.target.account(credentials[0].data.username)).toBe('absent')
  await session.end().catch(() => {})
})

test('what was asked by a login at the provider goes on by the key, as that of the same principal', async () => {
  const rudi = await withKey('rudi')
  const { id } = await at.ask(rudi.person)
  const byKey = await rudi.logIn()
  const { requests } = (await byKey.api('GET', 'break-glass/requests?view=mine')).json.data
  expect(requests.map((request: { id: string }) => request.id)).toEqual([id])
  await does(byKey, id, 'cancel')
})

test('votes by keys count for the groups and subjects of the provider, and nobody votes twice by coming twice', async () => {
  const [anna, olga] = [await withKey('anna', 'oncall'), await withKey('olga')]
  const { id, plan_hash } = await at.ask(await known('rita'))
  expect((await does(await anna.logIn(), id, 'approve', { plan_hash })).state).toBe('pending')
  const twice = await at.act(anna.person, id, 'approve', { plan_hash })
  expect(twice.status).toBeGreaterThanOrEqual(400)
  expect((await does(await olga.logIn(), id, 'approve', { plan_hash })).state).toBe('approved')
})

test('who has left a group does not vote by their key, nor by what they had logged in before', async () => {
  const arno = await withKey('arno', 'oncall')
  const before = await arno.logIn()
  await at.ledger.advance(1)
  await known('arno')
  const { id, plan_hash } = await at.ask(await known('rita'))
  const votes = async (person: Person) => (await at.act(person, id, 'approve', { plan_hash })).status
  expect(await votes(before)).toBe(403)
  // By what they are now, they may not even see it.
  expect(await votes(await arno.logIn())).toBe(404)
})

test('a vote by a key does not outlive it, and who is not one of us any more has no use of theirs', async () => {
  const [adam, abel] = [await withKey('adam', 'oncall'), await withKey('abel', 'oncall')]
  const { id, plan_hash } = await at.ask(await known('rita'))
  await does(await adam.logIn(), id, 'approve', { plan_hash })
  await adam.person.api('DELETE', `auth/webauthn/keys/${adam.id}`)
  expect((await does(await (await withKey('olga')).logIn(), id, 'approve', { plan_hash })).state).toBe(
    'pending',
  )
  await does(await abel.logIn(), id, 'approve', { plan_hash })
  expect((await at.look(id)).state).toBe('approved')
})

test('nor where whoever had the key has signed out before it was removed', async () => {
  const [aron, abby] = [await withKey('aron', 'oncall'), await withKey('abby', 'oncall')]
  const { id, plan_hash } = await at.ask(await known('rita'))
  const thief = await aron.logIn()
  await does(thief, id, 'approve', { plan_hash })
  expect((await thief.api('POST', 'auth/token/revoke-self')).status).toBe(204)
  const olga = await (await withKey('olga')).logIn()
  await aron.person.api('DELETE', `auth/webauthn/keys/${aron.id}`)
  expect((await does(olga, id, 'approve', { plan_hash })).state).toBe('pending')
  await does(await abby.logIn(), id, 'approve', { plan_hash })
  expect((await at.look(id)).state).toBe('approved')
})

test('the mount of keys names nobody: only that of the provider does', async () => {
  const mole = await (await withKey('mole')).logIn()
  const { id, plan_hash } = await at.ask(await known('rita'))
  expect((await at.act(mole, id, 'approve', { plan_hash })).status).toBe(404)
})

test('a login by a key is fresh for as long as any other', async () => {
  const alba = await withKey('alba', 'oncall')
  const byKey = await alba.logIn()
  const { id, plan_hash } = await at.ask(await known('rita'))
  await at.ledger.advance(301)
  const late = await at.act(byKey, id, 'approve', { plan_hash })
  expect([late.status, late.json.errors[0]]).toEqual([403, expect.stringContaining('log in again')])
  await does(await alba.logIn(), id, 'approve', { plan_hash })
})

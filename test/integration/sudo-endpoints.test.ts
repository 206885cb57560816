import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { DENIED, type Holder, openPolicyWorld, type PolicyWorld, rule, statusOf } from './policies-world.ts'

// Which endpoints take `sudo` besides the capability, as the dialect has it.

let world: PolicyWorld
let plain: Holder
let withSudo: Holder
beforeAll(async () => {
  world = await openPolicyWorld()
  const everything = 'create read update delete list patch'
  plain = await world.holder(rule('*', everything))
  withSudo = await world.holder(rule('*', `${everything} sudo`))
})
afterAll(() => world.close())

describe('an auth method', () => {
  const steps = [
    ['POST', 'sys/auth/team', { type: 'approle' }, 204],
    ['GET', 'sys/auth/team', undefined, 200],
    ['GET', 'sys/auth/team/tune', undefined, 200],
    ['POST', 'sys/auth/team/tune', { description: 'x' }, 204],
    ['PUT', 'sys/auth/team/tune', { description: 'y' }, 204],
    ['DELETE', 'sys/auth/team', undefined, 204],
  ] as const

  test('is read, enabled, tuned and disabled with sudo alone', async () => {
    for (const [method, path, body, status] of steps) {
      const refused = await plain.api(method, path, body)
      expect([method, path, refused.status, refused.json]).toEqual([method, path, 403, DENIED])
      expect([method, path, await statusOf(withSudo.api(method, path, body))]).toEqual([method, path, status])
    }
  })

  test('is listed without', async () => {
    expect(await statusOf(plain.api('GET', 'sys/auth'))).toBe(200)
  })

  test.each(['auth/way', 'auth/way/', 'auth/a/b', 'auth'])(
    'is not enabled or disabled as a secrets engine: sys/mounts/%s',
    async (path) => {
      await world.at.api('POST', 'sys/auth/way', { type: 'approle' })
      const before = (await world.at.api('GET', 'sys/auth')).json.data
      const enabled = await withSudo.api('POST', `sys/mounts/${path.replace(/\/$/, '')}`, { type: 'approle' })
      const disabled = await withSudo.api('DELETE', `sys/mounts/${path}`)
      const named = `${path.replace(/\/$/, '')}/`
      expect([enabled.status, enabled.json]).toEqual([400, { errors: [`cannot mount "${named}"`] }])
      expect([disabled.status, disabled.json]).toEqual([400, { errors: [`cannot unmount "${named}"`] }])
      expect((await world.at.api('GET', 'sys/auth')).json.data).toEqual(before)
    },
  )

  test('is tuned at sys/mounts/auth without, as in the dialect', async () => {
    expect(await statusOf(plain.api('POST', 'sys/mounts/auth/token/tune', { description: 'tuned' }))).toBe(
      204,
    )
  })
})

test.each([
  ['GET', 'sys/audit'],
  ['LIST', 'sys/audit'],
  ['POST', 'sys/audit/file'],
  ['DELETE', 'sys/audit/file'],
  ['GET', 'sys/leases?type=irrevocable'],
  ['LIST', 'sys/leases/lookup'],
  ['LIST', 'sys/leases/lookup/database'],
  ['PUT', 'sys/leases/revoke-prefix/nowhere'],
  ['PUT', 'sys/leases/revoke-force/nowhere'],
  ['PUT', 'sys/revoke-prefix/nowhere'],
  ['PUT', 'sys/revoke-force/nowhere'],
  ['LIST', 'auth/token/accessors'],
  ['POST', 'auth/token/revoke-orphan'],
])('%s %s takes sudo', async (method, path) => {
  const body = method === 'POST' || method === 'PUT' ? {} : undefined
  const refused = await plain.api(method, path, body)
  expect([refused.status, refused.json]).toEqual([403, DENIED])
  expect(await statusOf(withSudo.api(method, path, body))).not.toBe(403)
})

test.each([
  ['GET', 'sys/mounts'],
  ['POST', 'sys/mounts/elsewhere', { type: 'database' }],
  ['POST', 'sys/mounts/elsewhere/tune', { description: 'x' }],
  ['DELETE', 'sys/mounts/elsewhere'],
  ['LIST', 'sys/policies/acl'],
  ['PUT', 'sys/policies/acl/some', { policy: rule('a', 'read') }],
  ['DELETE', 'sys/policies/acl/some'],
  ['POST', 'sys/capabilities-self', { path: 'a' }],
  ['GET', 'sys/internal/ui/mounts'],
  ['GET', 'sys/leases/count?type=irrevocable'],
] as [string, string, object?][])('%s %s takes none', async (method, path, body) => {
  expect([200, 204]).toContain(await statusOf(plain.api(method, path, body)))
})

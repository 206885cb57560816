import { describe, expect, test } from 'vitest'
import { DEFAULT_POLICY } from '../../src/policy/acl/default-policy.ts'
import { createAuthorizer, type Question } from '../../src/policy/authorize.ts'
import { createPolicies, type PolicyShelf } from '../../src/policy/policies.ts'
import { NO_LOGIN, type Principal } from '../../src/policy/principal.ts'

type Documents = Record<string, string>

/** A shelf in memory that says which names it was asked for, and can be made to fail. */
function aShelf(documents: Documents) {
  const asked: string[][] = []
  const state = { away: false }
  const shelf: PolicyShelf = {
    async find(names) {
      asked.push([...names].sort())
      if (state.away) throw new Error('away')
      return names.flatMap((name) => {
        const text = documents[name]
        return text === undefined ? [] : [{ name, version: 1, text }]
      })
    },
    names: async () => Object.keys(documents),
    async put(name, text) {
      documents[name] = text
    },
    async remove(name) {
      delete documents[name]
    },
  }
  return { policies: createPolicies(shelf), asked, state, documents }
}

const reads = (path: string, condition = 'true') =>
  `path "${path}" { capabilities = ["read"] condition = ${JSON.stringify(condition)} }`

/** What somebody of these policies may read at a revision. */
async function mayRead(
  { policies }: ReturnType<typeof aShelf>,
  revision: number,
  names: string[],
  path: string,
): Promise<boolean> {
  const authorizer = createAuthorizer({
    policies,
    roleOf: async () => undefined,
    leasesHeld: async () => 0,
    liveGrant: async () => undefined,
  })
  return (await authorizer.decide(aQuestion(somebody({ policies: names }), path, { revision }))).allowed
}

const somebody = (changes: Partial<Principal> = {}): Principal => ({
  tokenId: 't',
  accessor: 'a',
  displayName: '',
  policies: [],
  metadata: {},
  tokenExpiresAt: null,
  tokenHardExpiresAt: null,
  lastUse: false,
  entityId: '',
  treeId: 'a',
  identity: NO_LOGIN,
  ...changes,
})

const aQuestion = (principal: Principal, path: string, changes: Partial<Question> = {}): Question => ({
  principal,
  operation: 'read',
  path,
  sudo: false,
  parameters: {},
  sourceAddress: '192.0.2.7',
  namespace: '',
  tls: false,
  revision: 1,
  now: new Date('2026-01-31T09:00:00Z'),
  ...changes,
})

describe('documents kept for a revision', () => {
  test('are read once, however many ask, and again at the next revision', async () => {
    const shelf = aShelf({ a: reads('a'), b: reads('b') })
    const answers = await Promise.all([
      mayRead(shelf, 1, ['a', 'b'], 'b'),
      mayRead(shelf, 1, ['a', 'b'], 'c'),
      mayRead(shelf, 1, ['a'], 'a'),
    ])
    expect(answers).toEqual([true, false, true])

    shelf.documents.b = reads('c')
    expect(await mayRead(shelf, 1, ['a', 'b'], 'b')).toBe(true)
    expect(await mayRead(shelf, 2, ['a', 'b'], 'b')).toBe(false)
    expect(await mayRead(shelf, 2, ['a', 'b'], 'c')).toBe(true)
    const loads = shelf.asked.flat().filter((name) => name === 'b')
    expect(loads).toHaveLength(2)
  })

  test('without templates are one set for all who hold them, and with templates one for each', async () => {
    const { policies } = aShelf({ plain: reads('a'), own: reads('a/{{identity.entity.id}}') })
    const as = (id: string) => ({ entity: { id, name: id, metadata: {}, aliases: [] } })
    const plain = await Promise.all(['x', 'y'].map((id) => policies.compiled(1, ['plain'], as(id))))
    expect(plain[0]?.acl).toBe(plain[1]?.acl)
    const own = await Promise.all(['x', 'y', 'x'].map((id) => policies.compiled(1, ['own', 'plain'], as(id))))
    expect(own[0]?.acl).not.toBe(own[1]?.acl)
    expect(own[0]?.acl).toBe(own[2]?.acl)
  })

  test('that cannot be read fail those who hold them and nobody else, at whatever moment', async () => {
    const shelf = aShelf({ broken: 'path "a" { capabilities = ["red"] }', whole: reads('a') })
    const ask = (...names: string[]) => mayRead(shelf, 1, names, 'a')
    const settled = await Promise.allSettled([
      ask('whole'),
      ask('broken', 'whole'),
      ask('whole', 'broken'),
      ask('none'),
    ])
    const unreadable = {
      status: 'rejected',
      reason: expect.objectContaining({
        code: 'unavailable',
        message: 'the policy "broken" cannot be read by this version',
      }),
    }
    expect(settled).toEqual([
      { status: 'fulfilled', value: true },
      unreadable,
      unreadable,
      { status: 'fulfilled', value: false },
    ])
  })

  test('are asked for again when the ledger did not answer', async () => {
    const shelf = aShelf({ a: reads('a') })
    shelf.state.away = true
    await expect(mayRead(shelf, 1, ['a'], 'a')).rejects.toThrow('away')
    shelf.state.away = false
    expect(await mayRead(shelf, 1, ['a'], 'a')).toBe(true)
  })

  test('name the rule of a policy before the one of default', async () => {
    const { policies } = aShelf({ zeta: reads('auth/token/lookup-self') })
    const authorizer = createAuthorizer({
      policies,
      roleOf: async () => undefined,
      leasesHeld: async () => 0,
      liveGrant: async () => undefined,
    })
    const by = async (names: string[]) =>
      (await authorizer.decide(aQuestion(somebody({ policies: names }), 'auth/token/lookup-self'))).by
    expect(await by(['default', 'zeta'])).toMatchObject({ policy: 'zeta', version: 1 })
    expect(await by(['default'])).toMatchObject({ policy: 'default', version: 0 })
  })
})

test('default is ours until it is written', async () => {
  const { policies } = aShelf({})
  expect(await policies.find('default')).toEqual({ name: 'default', version: 0, text: DEFAULT_POLICY })
  await policies.write('default', reads('x'))
  expect(await policies.find('default')).toMatchObject({ version: 1, text: reads('x') })
  expect(await policies.names()).toEqual(['default', 'root'])
})

test.each(['a b', 'a,b', '', 'x'.repeat(129), 'a\u0000', 'a\n'])(
  '%j is no name for a policy',
  async (name) => {
    const { policies, documents } = aShelf({})
    await expect(policies.write(name, reads('x'))).rejects.toMatchObject({ code: 'invalid_request' })
    expect(documents).toEqual({})
  },
)

describe('metadata', () => {
  const accessor = 'jwt_1'
  const TEAM = `{{identity.entity.aliases.${accessor}.metadata.team}}`
  const { policies } = aShelf({
    own: reads(`team/${TEAM}/*`),
    said: reads('said', `principal.metadata.team == 'web'`),
  })
  const authorizer = createAuthorizer({
    policies,
    roleOf: async () => undefined,
    leasesHeld: async () => 0,
    liveGrant: async () => undefined,
  })
  const may = async (principal: Principal, path: string) =>
    (await authorizer.decide(aQuestion(principal, path))).allowed
  const loggedIn = (proven: Record<string, string>, metadata: Record<string, string>) =>
    somebody({
      policies: ['own', 'said'],
      entityId: 'e',
      metadata,
      identity: { ...NO_LOGIN, mountAccessor: accessor, subject: 's', metadata: proven },
    })

  test('of a login is what counts, whatever a token that was made under it says', async () => {
    const itself = loggedIn({ team: 'web' }, { team: 'web' })
    expect([await may(itself, 'team/web/a'), await may(itself, 'said')]).toEqual([true, true])
    const liar = loggedIn({ team: 'shop' }, { team: 'web' })
    expect([await may(liar, 'team/web/a'), await may(liar, 'said'), await may(liar, 'team/shop/a')]).toEqual([
      false,
      false,
      true,
    ])
    const inventor = loggedIn({}, { team: 'web' })
    expect([await may(inventor, 'team/web/a'), await may(inventor, 'said')]).toEqual([false, false])
  })

  test('of a token that no login made is its maker’s word, and fills no templates', async () => {
    const made = somebody({ policies: ['own', 'said'], metadata: { team: 'web' } })
    expect([await may(made, 'said'), await may(made, 'team/web/a')]).toEqual([true, false])
  })
})

describe('asked again for what was granted', () => {
  const { policies } = aShelf({
    few: reads('creds', 'leases.held < 2'),
    bound: `path "made" { capabilities = ["update"] required_parameters = ["namespace"] min_wrapping_ttl = "1m" }`,
  })
  const authorizer = createAuthorizer({
    policies,
    roleOf: async () => undefined,
    leasesHeld: async () => 2,
    liveGrant: async () => undefined,
  })
  const may = async (path: string, changes: Partial<Question>) =>
    (await authorizer.decide(aQuestion(somebody({ policies: ['few', 'bound'] }), path, changes))).allowed

  test('the lease itself does not count', async () => {
    expect([await may('creds', {}), await may('creds', { again: true })]).toEqual([false, true])
    expect(await may('creds', { leasesHeld: 1 })).toBe(true)
  })

  test('how it was asked for does not count, and the right does', async () => {
    const update = { operation: 'update', again: true } as const
    expect([await may('made', { operation: 'update' }), await may('made', update)]).toEqual([false, true])
    expect(await may('made', { again: true })).toBe(false)
  })
})

test('the condition of a role that cannot be read lets nobody by', async () => {
  const { policies } = aShelf({})
  const facts = { name: 'r', mount: 'm/' } as never
  const authorizer = createAuthorizer({
    policies,
    roleOf: async () => ({ facts, condition: 'no CEL' }),
    leasesHeld: async () => 0,
    liveGrant: async () => undefined,
  })
  const role = { mountId: 'm', mountPath: 'm/', name: 'r' }
  await expect(
    authorizer.decide(aQuestion(somebody({ policies: ['root'] }), 'm/creds/r', { role })),
  ).rejects.toMatchObject({ code: 'unavailable' })
})

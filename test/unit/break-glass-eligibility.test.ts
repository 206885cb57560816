import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { type Actor, actorOf, isSamePerson } from '../../src/breakglass/actor.ts'
import { loginFault, mayAsk, setsOf } from '../../src/breakglass/eligibility.ts'
import { NO_LOGIN, type Principal } from '../../src/policy/principal.ts'

const NOW = new Date('2026-11-23T03:00:00Z')
const ALICE: Actor = {
  id: 'entity-alice',
  display_name: 'alice',
  subject: 'alice',
  mount: 'auth/oidc/',
  kind: 'human',
  groups: ['oncall'],
  person: 'https://issuer.example#alice',
  amr: ['pwd', 'otp'],
  acr: 'high',
  auth_time: NOW.getTime() / 1_000 - 60,
  accessor: 'a',
  source_address: '192.0.2.7',
}
const RULES = {
  fresh_login_max_age: 300,
  fresh_login_amr: ['otp', 'hwk'],
  fresh_login_acr: [],
  hardware_amr: ['hwk'],
}

describe('an actor', () => {
  const principal: Principal = {
    tokenId: 't',
    accessor: 'a',
    displayName: 'alice',
    policies: ['default'],
    metadata: { groups: 'security' },
    tokenExpiresAt: null,
    tokenHardExpiresAt: null,
    lastUse: false,
    entityId: 'entity-alice',
    treeId: '',
    identity: {
      ...NO_LOGIN,
      kind: 'human',
      mount: 'auth/oidc/',
      subject: 'alice',
      groups: ['oncall'],
      claims: { iss: 'https://issuer.example', sub: 'alice' },
      authTime: 1,
    },
  }

  test('is who has logged in, whatever the token says of itself', () => {
    expect(actorOf(principal, '192.0.2.7')).toMatchObject({
      id: 'entity-alice',
      groups: ['oncall'],
      person: 'https://issuer.example#alice',
      auth_time: 1,
      amr: [],
    })
    const bare = { ...principal, entityId: '', treeId: 'tree', identity: NO_LOGIN }
    expect(actorOf(bare, '')).toMatchObject({
      id: 'tree',
      kind: 'workload',
      groups: [],
      person: '',
      auth_time: null,
    })
  })

  const called = (metadata: Record<string, string>, more: Partial<Principal['identity']> = {}) =>
    actorOf(
      { ...principal, displayName: 'oidc-al', identity: { ...principal.identity, metadata, ...more } },
      '',
    ).display_name

  test.each([
    ['as their login says', 'Ada Okafor', 'Ada Okafor (oidc-al)'],
    [
      'by what tells them from others, whatever they call themselves',
      'Ben (oidc-ben)',
      'Ben oidc-ben (oidc-al)',
    ],
    ['without brackets of another script', 'Ben （oidc-ben）❲x❳', 'Ben oidc-benx (oidc-al)'],
    ['without what turns the text about', '\u202eneB\u2066\u200f', 'neB (oidc-al)'],
    ['without what is not seen', 'Ben\u0000\u200b\u3164\ufeff', 'Ben (oidc-al)'],
    ['on one line', ' Ben\r\n\tSantos\u2028x ', 'Ben Santos x (oidc-al)'],
    ['in 64 characters', '𝒜'.normalize('NFC').repeat(70), `${'A'.repeat(64)} (oidc-al)`],
    ['by their login where no name is left', '\u202e()', 'oidc-al'],
  ])('is shown %s', (_, name, shown) => {
    expect(called({ name })).toBe(shown)
  })

  test('has no name of the making of whoever made the token, nor of a machine', () => {
    expect(called({})).toBe('oidc-al')
    expect(called({ name: 'Ben Santos' }, { kind: 'workload' })).toBe('oidc-al')
    expect(actorOf({ ...principal, metadata: { name: 'Ben Santos' } }, '').display_name).toBe('alice')
  })

  test('is one person by whatever mount they come, and nobody is the same for want of a name', () => {
    expect(isSamePerson(ALICE, { ...ALICE, id: 'other' })).toBe(true)
    expect(isSamePerson(ALICE, { ...ALICE, person: '' })).toBe(true)
    expect(isSamePerson({ id: 'a', person: '' }, { id: 'b', person: '' })).toBe(false)
  })
})

describe('a set holds', () => {
  const inSet = (selection: { groups?: string[]; subjects?: string[] }, actor = ALICE) =>
    setsOf(actor, { sets: { s: { groups: [], subjects: [], ...selection } } }).length === 1

  test.each([
    [{ groups: ['oncall'] }, true],
    [{ groups: ['oncal'] }, false],
    [{ groups: ['ONCALL'] }, false],
    [{ subjects: ['alice'] }, true],
    [{ subjects: ['oidc#alice'] }, true],
    [{ subjects: ['auth/oidc/#alice'] }, true],
    [{ subjects: ['other#alice'] }, false],
    [{ subjects: ['#alice'] }, false],
    [{ subjects: ['oidc#'] }, false],
    [{}, false],
  ])('%j: %s', (selection, isIn) => {
    expect(inSet(selection)).toBe(isIn)
  })

  test('no machine, and nobody by an empty name', () => {
    expect(inSet({ groups: ['oncall'], subjects: ['alice'] }, { ...ALICE, kind: 'workload' })).toBe(false)
    expect(inSet({ subjects: [''] }, { ...ALICE, subject: '' })).toBe(false)
  })

  test('nobody whose issuer lets them be called like a subject of another mount', () => {
    const mallory = { ...ALICE, subject: 'oidc#alice', mount: 'auth/other/' }
    expect(inSet({ subjects: ['oidc#alice'] }, mallory)).toBe(false)
    expect(inSet({ subjects: ['other#oidc#alice'] }, mallory)).toBe(true)
  })

  test('nobody who is not named, whatever the names are', () => {
    const name = fc.string({ minLength: 1, maxLength: 8 })
    fc.assert(
      fc.property(fc.array(name), fc.array(name), fc.array(name), name, (groups, subjects, own, subject) => {
        const isByName = !subject.includes('#') && subjects.includes(subject)
        const isNamed = own.some((group) => groups.includes(group)) || isByName
        const isNamedAtMount = subjects.some((written) => written.endsWith(`#${subject}`))
        const isIn = inSet({ groups, subjects }, { ...ALICE, groups: own, subject })
        expect(isIn || isNamedAtMount).toBe(isNamed || isNamedAtMount)
      }),
    )
  })
})

test('a machine asks for nothing in a hurry', () => {
  const anybody = { groups: [], subjects: [], kinds: ['human' as const, 'workload' as const] }
  const robot = { ...ALICE, kind: 'workload' as const }
  expect(mayAsk(robot, { requesters: anybody, lane: 'break_glass' })).toBe(false)
  expect(mayAsk(robot, { requesters: anybody, lane: 'standard' })).toBe(true)
  expect(mayAsk(robot, { requesters: { ...anybody, kinds: ['human'] }, lane: 'standard' })).toBe(false)
  expect(mayAsk(ALICE, { requesters: { ...anybody, groups: ['sre'] }, lane: 'standard' })).toBe(false)
  expect(mayAsk(ALICE, { requesters: { ...anybody, groups: ['oncall'] }, lane: 'break_glass' })).toBe(true)
})

describe('a login is good enough', () => {
  test('for exactly so long, by the clock that is handed in', () => {
    fc.assert(
      fc.property(fc.integer({ min: -120, max: 700 }), (age) => {
        const actor = { ...ALICE, auth_time: NOW.getTime() / 1_000 - age }
        expect(loginFault(actor, RULES, NOW) === undefined).toBe(age >= -60 && age <= 300)
      }),
    )
  })

  test('by its factors and its level', () => {
    expect(loginFault({ ...ALICE, amr: [] }, RULES, NOW)).toMatch(/second factor/)
    expect(loginFault({ ...ALICE, amr: [] }, { ...RULES, fresh_login_amr: [] }, NOW)).toBeUndefined()
    expect(loginFault(ALICE, RULES, NOW, { hardware: true })).toMatch(/bound to hardware/)
    expect(loginFault({ ...ALICE, amr: ['hwk'] }, RULES, NOW, { hardware: true })).toBeUndefined()
    expect(loginFault(ALICE, { ...RULES, fresh_login_acr: ['top'] }, NOW)).toMatch(/level of top/)
    expect(loginFault({ ...ALICE, kind: 'workload' }, RULES, NOW)).toMatch(/workload/)
  })
})

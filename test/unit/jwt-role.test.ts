import { describe, expect, test } from 'vitest'
import { checkJwtRole } from '../../src/identity/jwt/role.ts'
import { BrokerError } from '../../src/lib/errors.ts'

const onJwt = { mountType: 'jwt' } as const
const onOidc = { mountType: 'oidc' } as const
const bound = { user_claim: 'sub', bound_subject: 'someone' }

const refusal = (fields: Record<string, unknown>, context: Parameters<typeof checkJwtRole>[1] = onJwt) => {
  try {
    checkJwtRole(fields, context)
  } catch (error) {
    expect(error).toBeInstanceOf(BrokerError)
    expect((error as BrokerError).code).toBe('invalid_request')
    return (error as Error).message
  }
  throw new Error('was not refused')
}

describe('a JWT role', () => {
  test('is of the type of its mount when it names none', () => {
    expect(checkJwtRole(bound, onJwt).role_type).toBe('jwt')
    const uris = ['https://broker.example/callback']
    expect(checkJwtRole({ user_claim: 'sub', allowed_redirect_uris: uris }, onOidc)).toMatchObject({
      role_type: 'oidc',
      allowed_redirect_uris: uris,
    })
    expect(checkJwtRole({ ...bound, role_type: 'jwt' }, onOidc).role_type).toBe('jwt')
  })

  test('keeps every field it was given and reads back as written', () => {
    const sent = {
      role_type: 'jwt',
      user_claim: '/who/id',
      user_claim_json_pointer: true,
      bound_audiences: ['a', 'b'],
      bound_subject: 'someone',
      bound_claims: { ref: ['main', 'release/*'], '/deep/er': 'x' },
      bound_claims_type: 'glob',
      claim_mappings: { '/who/team': 'team', ref: 'branch' },
      groups_claim: 'groups',
      expiration_leeway: -1,
      not_before_leeway: 30,
      clock_skew_leeway: 5,
      max_age: 3_600,
      allowed_redirect_uris: ['https://broker.example/callback'],
      oidc_scopes: ['email'],
      verbose_oidc_logging: true,
    }
    const stored = checkJwtRole(sent, onJwt)
    expect(stored).toEqual(sent)
    expect(checkJwtRole(stored, onJwt)).toEqual(stored)
  })

  test('keeps what an update does not name, and loses what it empties', () => {
    const before = checkJwtRole({ ...bound, bound_audiences: ['a'], bound_claims_type: 'glob' }, onJwt)
    expect(checkJwtRole({ groups_claim: 'groups', user_claim: null }, { ...onJwt, before })).toEqual({
      ...before,
      groups_claim: 'groups',
    })
    expect(checkJwtRole({ bound_audiences: [] }, { ...onJwt, before }).bound_audiences).toEqual([])
    expect(refusal({ bound_audiences: [], bound_subject: '' }, { ...onJwt, before })).toBe(
      'must have at least one bound constraint when creating/updating a role',
    )
  })

  test.each([[{ bound_audiences: ['a'] }], [{ bound_subject: 'a' }], [{ bound_claims: { a: 'b' } }]])(
    'is bound enough by %j',
    (constraint) => {
      expect(checkJwtRole({ user_claim: 'sub', ...constraint }, onJwt)).toMatchObject(constraint)
    },
  )

  test('is bound enough by addresses, which are kept elsewhere', () => {
    expect(checkJwtRole({ user_claim: 'sub' }, { ...onJwt, hasBoundCidrs: true }).user_claim).toBe('sub')
    expect(refusal({ user_claim: 'sub' }, { ...onJwt, hasBoundCidrs: false })).toBe(
      'must have at least one bound constraint when creating/updating a role',
    )
  })

  test.each([
    [{ bound_subject: 'x' }, 'a user claim must be defined on the role'],
    [{ ...bound, user_claim: '' }, 'a user claim must be defined on the role'],
    [{ ...bound, user_claim: 'ü'.repeat(129) }, "'user_claim' cannot be over 256 bytes"],
    [{ ...bound, role_type: 'saml' }, "invalid 'role_type': saml"],
    [{ ...bound, bound_claims_type: 'regex' }, "invalid 'bound_claims_type': regex"],
    [
      { ...bound, claim_mappings: { team: 'role' } },
      'metadata key "role" is reserved and may not be a mapping destination',
    ],
    [{ ...bound, claim_mappings: { team: 'x', crew: 'x' } }, 'multiple keys are mapped to metadata key "x"'],
    [
      { ...bound, bound_claims_type: 'glob', bound_claims: { id: 5 } },
      'claim is not a string or a list of strings: "id"',
    ],
    [
      { ...bound, bound_claims_type: 'glob', bound_claims: { id: ['a', true] } },
      'claim is not a string or a list of strings: "id"',
    ],
    [{ ...bound, bound_claims: { id: { a: 1 } } }, 'bound claim is not a string, bool, int or list: "id"'],
    [{ ...bound, bound_claims: { id: [null] } }, 'bound claim is not a string, bool, int or list: "id"'],
    [{ ...bound, bound_claims: { id: 2 ** 53 } }, 'bound claim is not a string, bool, int or list: "id"'],
    [{ ...bound, bound_claims: ['a'] }, 'bound_claims must be a map'],
    [{ ...bound, clock_skew_leeway: -2 }, 'clock_skew_leeway cannot be under -1'],
    [{ ...bound, expiration_leeway: 1.5 }, 'expiration_leeway must be a whole number of seconds'],
    [{ ...bound, max_age: -1 }, 'max_age cannot be under 0'],
    [{ ...bound, bound_audiences: 'a,b' }, 'bound_audiences must be a list of texts'],
    [{ ...bound, verbose_oidc_logging: 'yes' }, 'verbose_oidc_logging must be true or false'],
  ])('refuses %j', (fields, message) => {
    expect(refusal(fields)).toBe(message)
  })

  test('of type oidc needs somewhere to send the browser back to', () => {
    expect(refusal(bound, onOidc)).toBe(
      "'allowed_redirect_uris' must be set if 'role_type' is 'oidc' or unspecified.",
    )
  })

  test('turned to globs is checked with the claims it already had', () => {
    const before = checkJwtRole({ user_claim: 'sub', bound_claims: { id: 5 } }, onJwt)
    expect(refusal({ bound_claims_type: 'glob' }, { ...onJwt, before })).toContain('"id"')
  })
})

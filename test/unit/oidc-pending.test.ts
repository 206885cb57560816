import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { idHashOf, isState, newState, open, type Pending, seal } from '../../src/identity/oidc/pending.ts'

const pending: Pending = {
  roleName: 'engineering',
  redirectUri: 'http://localhost:8250/oidc/callback',
  clientNonceHash: 'né',
  nonce: 'n',
  codeVerifier: 'v',
  issuer: 'https://issuer.example',
  clientId: 'leasehold',
  expiresAtMs: 1,
}

describe('a pending login', () => {
  test('opens under its own mount and state only', () => {
    const state = newState()
    const sealed = seal('m1', state, pending)
    expect(open('m1', state, JSON.parse(JSON.stringify(sealed)))).toEqual(pending)
    expect(open('m2', state, sealed)).toBeUndefined()
    expect(open('m1', newState(), sealed)).toBeUndefined()
    expect(idHashOf('m1', state)).toMatch(/^[0-9a-f]{64}$/)
    expect(idHashOf('m1', state)).not.toBe(idHashOf('m2', state))
  })

  test('looks different every time', () => {
    const state = newState()
    expect(seal('m', state, pending).text).not.toBe(seal('m', state, pending).text)
  })

  test('does not open once a bit of it was changed, or a byte cut off', () => {
    const state = newState()
    const sealed = seal('m', state, pending)
    fc.assert(
      fc.property(fc.constantFrom('iv', 'tag', 'text'), fc.nat(), fc.boolean(), (part, at, cuts) => {
        const bytes = Buffer.from(sealed[part], 'base64url')
        const i = at % (bytes.length * 8)
        bytes[i >> 3] = (bytes[i >> 3] as number) ^ (1 << (i & 7))
        const changed = (cuts ? bytes.subarray(1) : bytes).toString('base64url')
        expect(open('m', state, { ...sealed, [part]: changed })).toBeUndefined()
      }),
    )
  })

  test.each([[undefined], [null], ['text'], [[]], [{}], [{ iv: 1, tag: 2, text: 3 }]])(
    'is not what opens from %j',
    (value) => {
      expect(open('m', newState(), value)).toBeUndefined()
    },
  )

  test('has a state of 32 letters and digits', () => {
    expect(isState(newState())).toBe(true)
    expect([`${newState()}\n`, newState().slice(1), `${newState()}a`, ''].some(isState)).toBe(false)
  })
})

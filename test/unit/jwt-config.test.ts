import { generateKeyPairSync } from 'node:crypto'
import { describe, expect, test } from 'vitest'
import { checkJwtConfig } from '../../src/identity/jwt/config.ts'
import { BrokerError } from '../../src/lib/errors.ts'
import { newAuthority } from '../support/certificates.ts'

const authority = newAuthority()
const rsa = generateKeyPairSync('rsa', { modulusLength: 2_048 })
const weak = generateKeyPairSync('rsa', { modulusLength: 1_024 })
const spki = (key: typeof rsa.publicKey) => key.export({ type: 'spki', format: 'pem' }) as string
const pem = spki(rsa.publicKey)

const ONE_SOURCE =
  "exactly one of 'jwt_validation_pubkeys', 'jwks_url', 'jwks_pairs', 'oidc_discovery_url', or 'provider_config' must be set"

const refusal = (fields: Record<string, unknown>): string => {
  try {
    checkJwtConfig(fields)
  } catch (error) {
    expect((error as BrokerError).code).toBe('invalid_request')
    expect(error).toBeInstanceOf(BrokerError)
    return (error as Error).message
  }
  throw new Error('was not refused')
}

describe('a JWT configuration', () => {
  test('is stored whole, under the names of the wire', () => {
    const sent = {
      jwks_url: 'https://issuer.example/jwks',
      jwks_ca_pem: authority.cert,
      bound_issuer: 'https://issuer.example',
      jwt_supported_algs: ['ES256', 'RS256'],
      default_role: 'Demo',
    }
    expect(checkJwtConfig(sent)).toEqual({
      ...sent,
      default_role: 'demo',
      jwt_validation_pubkeys: [],
      jwks_pairs: [],
      oidc_discovery_url: '',
      oidc_discovery_ca_pem: '',
      event_audience: [],
      event_issuer: '',
      event_jwks_url: '',
    })
  })

  test('reads back as something that can be written again', () => {
    const stored = checkJwtConfig({ jwks_pairs: [{ jwks_url: 'https://a.example/jwks' }] })
    expect(checkJwtConfig(stored)).toEqual(stored)
  })

  test.each([
    ['a public key', pem],
    ['a PKCS #1 key', rsa.publicKey.export({ type: 'pkcs1', format: 'pem' }) as string],
    ['a certificate', authority.cert],
    ['an Ed25519 key', spki(generateKeyPairSync('ed25519').publicKey)],
    ['a P-521 key', spki(generateKeyPairSync('ec', { namedCurve: 'P-521' }).publicKey)],
  ])('takes %s', (_, key) => {
    expect(checkJwtConfig({ jwt_validation_pubkeys: [key] }).jwt_validation_pubkeys).toHaveLength(1)
  })

  test.each([
    ['nothing', {}],
    ['empty values', { jwks_url: '', jwt_validation_pubkeys: [], oidc_discovery_url: null }],
    ['two sources', { jwks_url: 'https://a.example', jwt_validation_pubkeys: [pem] }],
    ['a URL and a pair', { jwks_url: 'https://a.example', jwks_pairs: [{ jwks_url: 'https://b.example' }] }],
  ])('with %s has no one source of keys', (_, fields) => {
    expect(refusal(fields)).toBe(ONE_SOURCE)
  })

  test.each(['HS256', 'none', 'ES256K', 'rs256'])('cannot allow %s', (name) => {
    expect(refusal({ jwks_url: 'https://a.example', jwt_supported_algs: ['RS256', name] })).toBe(
      `invalid jwt_supported_algs: unsupported signing algorithm "${name}"`,
    )
  })

  test.each([
    ['no key at all', 'hello', 'found 0'],
    ['two keys in one item', pem + pem, 'found 2'],
    ['a short RSA key', spki(weak.publicKey), '2048 bits'],
    [
      'a curve nobody signs tokens with',
      spki(generateKeyPairSync('ec', { namedCurve: 'secp256k1' }).publicKey),
      'P-256',
    ],
    [
      'a private key',
      rsa.privateKey.export({ type: 'pkcs8', format: 'pem' }) as string,
      'neither a public key nor',
    ],
    ['rubbish in a PEM block', '-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----', 'can be read'],
  ])('refuses %s', (_, text, problem) => {
    const message = refusal({ jwt_validation_pubkeys: [text] })
    expect(message).toMatch(/^error parsing public key: /)
    expect(message).toContain(problem)
  })

  test.each([
    [{ jwks_url: 'ftp://a.example' }, 'error checking jwks URL: it must be an absolute http or https URL'],
    [{ jwks_url: 'https://' }, 'error checking jwks URL: it must be an absolute http or https URL'],
    [
      { oidc_discovery_url: 'https://user:word@a.example' },
      'error checking oidc discovery URL: it must hold no user name, password or fragment',
    ],
    [
      { oidc_discovery_url: 'https://a.example/.well-known/openid-configuration' },
      "'oidc_discovery_url' contains '.well-known' component",
    ],
    [
      { jwks_url: 'https://a.example', jwks_ca_pem: 'not a certificate' },
      'error checking jwks_ca_pem: no certificate can be read from the PEM text',
    ],
    [
      { oidc_discovery_url: 'https://a.example', oidc_discovery_ca_pem: pem },
      'error checking oidc_discovery_ca_pem: no certificate can be read from the PEM text',
    ],
    [{ jwks_pairs: [{ jwks_ca_pem: authority.cert }] }, "each of 'jwks_pairs' needs a 'jwks_url'"],
    [{ jwks_pairs: 'https://a.example' }, 'jwks_pairs must be a list of maps'],
    [{ jwks_url: 5 }, 'jwks_url must be text'],
    [{ jwks_url: 'https://a.example', bound_issuer: 'a\0' }, 'bound_issuer holds a NUL character'],
    [
      { provider_config: { provider: 'azure' } },
      'invalid provider_config: no provider has handling of its own here',
    ],
  ])('refuses %j', (fields, message) => {
    expect(refusal(fields)).toBe(message)
  })

  test('has a limit on how many keys and places it names', () => {
    // Spaces at the end make texts that differ; the same key twice would be kept once.
    const many = Array.from({ length: 65 }, (_, i) => `${'#'.repeat(i)}\n${pem}`)
    expect(refusal({ jwt_validation_pubkeys: many })).toContain('more than 64 keys')
    const pairs = Array.from({ length: 17 }, (_, i) => ({ jwks_url: `https://a.example/${i}` }))
    expect(refusal({ jwks_pairs: pairs })).toContain('more than 16 pairs')
  })
})

import { describe, expect, test } from 'vitest'
import { checkOidcConfig } from '../../src/identity/oidc/config.ts'
import { BrokerError } from '../../src/lib/errors.ts'

const sent = {
  oidc_discovery_url: 'https://issuer.example',
  oidc_client_id: 'leasehold',
  oidc_client_secret: 'not to be stored here',
}

const refusal = (...args: Parameters<typeof checkOidcConfig>): string => {
  try {
    checkOidcConfig(...args)
  } catch (error) {
    expect(error).toBeInstanceOf(BrokerError)
    expect((error as BrokerError).code).toBe('invalid_request')
    return (error as Error).message
  }
  throw new Error('was not refused')
}

const BOTH = "both 'oidc_client_id' and 'oidc_client_secret' must be set for OIDC"

describe('the configuration of a mount where people log in', () => {
  test('is stored whole, and the secret apart', () => {
    const { config, clientSecret } = checkOidcConfig({
      ...sent,
      oidc_response_mode: 'query',
      oidc_response_types: ['code'],
      default_role: 'Engineering',
      bound_issuer: 'https://issuer.example',
      jwt_supported_algs: ['ES256'],
    })
    expect(config).toEqual({
      oidc_discovery_url: 'https://issuer.example',
      oidc_discovery_ca_pem: '',
      oidc_client_id: 'leasehold',
      oidc_response_mode: 'query',
      oidc_response_types: ['code'],
      namespace_in_state: true,
      default_role: 'engineering',
      bound_issuer: 'https://issuer.example',
      jwt_supported_algs: ['ES256'],
      jwks_url: '',
      jwks_ca_pem: '',
      jwks_pairs: [],
      jwt_validation_pubkeys: [],
      event_audience: [],
      event_issuer: '',
      event_jwks_url: '',
    })
    expect(clientSecret?.reveal()).toBe('not to be stored here')
    expect(JSON.stringify({ config, clientSecret })).not.toContain('not to be stored here')
  })

  test('may be written again as it reads back, and the secret stays', () => {
    const { config } = checkOidcConfig(sent)
    expect(checkOidcConfig(config, config)).toEqual({ config, clientSecret: undefined })
    const changed = checkOidcConfig({ ...config, default_role: 'other' }, config)
    expect([changed.config.default_role, changed.clientSecret]).toEqual(['other', undefined])
  })

  test('does not carry a secret over to another provider or client', () => {
    const { config } = checkOidcConfig(sent)
    expect(refusal({ ...config, oidc_discovery_url: 'https://evil.example' }, config)).toBe(BOTH)
    expect(refusal({ ...config, oidc_discovery_url: 'http://issuer.example' }, config)).toBe(BOTH)
    expect(refusal({ ...config, oidc_client_id: 'other' }, config)).toBe(BOTH)
  })

  test.each([
    ['no client', { oidc_client_id: '' }, BOTH],
    ['no secret', { oidc_client_secret: '' }, BOTH],
    ['a client that is no text', { oidc_client_id: 7 }, 'oidc_client_id must be text'],
    [
      'no provider',
      { oidc_discovery_url: '' },
      "exactly one of 'jwt_validation_pubkeys', 'jwks_url', 'jwks_pairs', 'oidc_discovery_url', or 'provider_config' must be set",
    ],
    [
      'keys instead of a provider',
      { oidc_discovery_url: '', jwks_url: 'https://issuer.example/jwks' },
      "'oidc_discovery_url' must be set for OIDC",
    ],
    [
      'the whole discovery address',
      { oidc_discovery_url: 'https://issuer.example/.well-known/openid-configuration' },
      "'oidc_discovery_url' contains '.well-known' component",
    ],
    [
      'the implicit flow',
      { oidc_response_types: ['code', 'id_token'] },
      "invalid response_types [code id_token]. Only 'code' is allowed",
    ],
    [
      'another way back',
      { oidc_response_mode: 'form_post' },
      'invalid response_mode: "form_post". Only \'query\' is allowed',
    ],
    [
      'a symmetric algorithm',
      { jwt_supported_algs: ['HS256'] },
      'invalid jwt_supported_algs: unsupported signing algorithm "HS256"',
    ],
    [
      'an authority that is none',
      { oidc_discovery_ca_pem: 'x' },
      'error checking oidc_discovery_ca_pem: no certificate can be read from the PEM text',
    ],
  ])('with %s is refused', (_, changes, message) => {
    expect(refusal({ ...sent, ...changes })).toBe(message)
  })
})

import { generateKeyPairSync } from 'node:crypto'
import { describe, expect, test } from 'vitest'
import { apiAddress, checkKubernetesConfig } from '../../src/identity/kubernetes/config.ts'
import { newAuthority } from '../support/certificates.ts'

const HOST = 'https://10.0.0.1:6443'
const pair = generateKeyPairSync('ec', { namedCurve: 'P-256' })
const publicKey = pair.publicKey.export({ type: 'spki', format: 'pem' }) as string
const privateKey = pair.privateKey.export({ type: 'pkcs8', format: 'pem' }) as string
const { cert } = newAuthority()

const check = (fields: Record<string, unknown> = {}) =>
  checkKubernetesConfig({ kubernetes_host: HOST, ...fields })

describe('a Kubernetes mount is configured', () => {
  test('with a host alone', () => {
    expect(check()).toEqual({
      config: {
        kubernetes_host: HOST,
        kubernetes_ca_cert: '',
        token_reviewer_jwt_set: false,
        pem_keys: [],
        issuer: '',
        disable_iss_validation: true,
        disable_local_ca_jwt: false,
      },
      reviewerJwt: undefined,
    })
  })

  test('with everything, and reads back what was written but the token', () => {
    const fields = {
      kubernetes_ca_cert: cert,
      pem_keys: [publicKey.trim()],
      issuer: 'https://kubernetes.default.svc',
      disable_iss_validation: false,
      disable_local_ca_jwt: true,
    }
    const checked = check({ ...fields, token_reviewer_jwt: 'a.b.c\n' })
    expect(checked.config).toEqual({ kubernetes_host: HOST, ...fields, token_reviewer_jwt_set: true })
    expect(checked.reviewerJwt?.reveal()).toBe('a.b.c')
    expect(JSON.stringify(checked)).not.toContain('a.b.c')
  })

  test.each([
    [{ kubernetes_host: '' }, 'no host provided'],
    [{ kubernetes_host: undefined }, 'no host provided'],
    [{ kubernetes_host: 'ftp://x' }, 'kubernetes_host must be a URL such as https://kube.example:6443'],
    [{ kubernetes_host: 'https://' }, 'kubernetes_host must be a URL such as https://kube.example:6443'],
    [
      { kubernetes_host: 'kubernetes.default.svc' },
      'kubernetes_host must be a URL such as https://kube.example:6443',
    ],
    [{ kubernetes_host: '10.0.0.1:6443' }, 'kubernetes_host must be a URL such as https://kube.example:6443'],
    [
      { kubernetes_host: 'localhost:8001' },
      'kubernetes_host must be a URL such as https://kube.example:6443',
    ],
    [{ kubernetes_host: 'a b' }, 'kubernetes_host must be a URL such as https://kube.example:6443'],
    [{ kubernetes_host: 'https://u:p@x' }, /no user name, password/],
    [{ kubernetes_host: 'https://x/?a=b' }, /no user name, password, query/],
    [{ kubernetes_host: 'http://10.0.0.1' }, 'kubernetes_host must be https, unless it is on this machine'],
    [{ kubernetes_ca_cert: 'x' }, 'The provided CA PEM data contains no valid certificates'],
    [{ kubernetes_ca_cert: publicKey }, 'The provided CA PEM data contains no valid certificates'],
    [
      { kubernetes_ca_cert: '-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----' },
      'The provided CA PEM data contains no valid certificates',
    ],
    [{ pem_keys: ['x'] }, 'pem_keys: expected one PEM block in each item, found 0'],
    [{ pem_keys: [privateKey] }, 'pem_keys: the PEM block is neither a public key nor a certificate'],
    [{ pem_keys: Array.from({ length: 65 }, (_, i) => `${i}`) }, 'pem_keys cannot hold more than 64 keys'],
    [{ token_reviewer_jwt: 'a\r\nb: c' }, /^token_reviewer_jwt must be a token/],
    [{ token_reviewer_jwt: 'x'.repeat(16_385) }, /^token_reviewer_jwt must be a token/],
    [{ disable_iss_validation: 'no' }, 'disable_iss_validation must be true or false'],
  ])('not with %j', (fields, text) => {
    expect(() => check(fields)).toThrow(
      expect.objectContaining({
        code: 'invalid_request',
        message: typeof text === 'string' ? text : expect.stringMatching(text),
      }),
    )
  })

  test.each([
    ['https://10.0.0.1:6443/', 'https://10.0.0.1:6443'],
    ['https://rancher.example/k8s/clusters/c-1/', 'https://rancher.example/k8s/clusters/c-1'],
    ['http://[::1]:8001', 'http://[::1]:8001'],
    ['http://localhost:8001', 'http://localhost:8001'],
  ])('the API server of %s is at %s', (host, address) => {
    const { config } = check({ kubernetes_host: host })
    expect(config.kubernetes_host).toBe(host)
    expect(apiAddress(config)).toBe(address)
  })
})

import { readdirSync, readFileSync } from 'node:fs'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { cachedLabels, LABELS_FRESH_MS, MAX_HELD } from '../../src/identity/kubernetes/namespace-labels.ts'
import { KubernetesLoginRefused } from '../../src/identity/kubernetes/refusal.ts'
import { readToken } from '../../src/identity/kubernetes/token.ts'

describe('namespace labels', () => {
  test('that could not be had are asked for again', async () => {
    const labelsOf = cachedLabels(() => 0)
    await expect(labelsOf('shop', () => Promise.reject(new Error('down')))).rejects.toThrow('down')
    expect(await labelsOf('shop', async () => ({ env: 'dev' }))).toEqual({ env: 'dev' })
    expect(await labelsOf('shop', async () => ({}))).toEqual({ env: 'dev' })
  })

  test('are aged from the asking, and an answer that comes late replaces nothing newer', async () => {
    let now = 0
    const labelsOf = cachedLabels(() => now)
    let fail = (_: Error) => {}
    const late = labelsOf('shop', () => new Promise((_, reject) => (fail = reject)))
    now = LABELS_FRESH_MS
    expect(await labelsOf('shop', async () => ({ env: 'dev' }))).toEqual({ env: 'dev' })
    fail(new Error('too late'))
    await expect(late).rejects.toThrow('too late')
    expect(await labelsOf('shop', async () => ({}))).toEqual({ env: 'dev' })
  })

  test('are held for so many namespaces only, and the oldest go first', async () => {
    let now = 0
    const labelsOf = cachedLabels(() => now)
    const ask = async (namespace: string) => {
      let isAsked = false
      await labelsOf(namespace, async () => {
        isAsked = true
        return {}
      })
      return isAsked
    }
    await ask('first')
    await ask('second')
    now = LABELS_FRESH_MS
    await ask('first')
    for (let i = 0; i < MAX_HELD - 1; i++) await ask(`other-${i}`)
    now = LABELS_FRESH_MS - 1
    expect(await ask('first')).toBe(false)
    expect(await ask('second')).toBe(true)
  })
})

const part = (value: unknown) => Buffer.from(JSON.stringify(value)).toString('base64url')
const of = (claims: unknown) => `${part({ alg: 'RS256', kid: 'k' })}.${part(claims)}.AAAA`

/** What reading the text comes to: the account, or the reason against it. Anything else is thrown on. */
function reading(jwt: string) {
  try {
    return readToken(jwt).account
  } catch (error) {
    if (error instanceof KubernetesLoginRefused) return error.reason
    throw error
  }
}

describe('reading a token', () => {
  const names = { namespace: 'shop', name: 'api', uid: 'u-1' }
  const sub = 'system:serviceaccount:shop:api'
  const old = {
    sub,
    'kubernetes.io/serviceaccount/namespace': 'shop',
    'kubernetes.io/serviceaccount/service-account.name': 'api',
    'kubernetes.io/serviceaccount/service-account.uid': 'u-1',
  }
  const block = { namespace: 'shop', serviceaccount: { name: 'api', uid: 'u-1' } }

  test.each<[unknown, unknown]>([
    [
      { sub, 'kubernetes.io': block },
      { ...names, secretName: '' },
    ],
    [
      { sub, 'kubernetes.io': { ...block, secret: { name: 's' } } },
      { ...names, secretName: 's' },
    ],
    [old, { ...names, secretName: '' }],
    [
      { ...old, 'kubernetes.io/serviceaccount/secret.name': 's' },
      { ...names, secretName: 's' },
    ],
    // The block wins, as it does for the API server.
    [
      {
        ...old,
        sub: 'system:serviceaccount:shop:x',
        'kubernetes.io': { ...block, serviceaccount: { name: 'x', uid: 'u' } },
      },
      { namespace: 'shop', name: 'x', uid: 'u', secretName: '' },
    ],
    [{ 'kubernetes.io': block }, 'wrong_subject'],
    [{ sub: `${sub}:x`, 'kubernetes.io': block }, 'wrong_subject'],
    [{ sub, 'kubernetes.io': { ...block, namespace: 'Shop' } }, 'not_a_service_account'],
    [{ sub, 'kubernetes.io': { ...block, namespace: 'a:b' } }, 'not_a_service_account'],
    [{ sub, 'kubernetes.io': { ...block, serviceaccount: { name: 'api' } } }, 'not_a_service_account'],
    [
      { sub, 'kubernetes.io': { ...block, serviceaccount: { name: 'api', uid: 7 } } },
      'not_a_service_account',
    ],
    [{ sub, 'kubernetes.io': { ...block, secret: { name: 7 } } }, 'not_a_service_account'],
    [{ sub, 'kubernetes.io': block, aud: [7] }, 'malformed_token'],
    [{ sub, 'kubernetes.io': block, team: 'a\0b' }, 'malformed_token'],
    [[], 'malformed_token'],
    [null, 'malformed_token'],
    [{}, 'not_a_service_account'],
  ])('%j', (claims, result) => {
    expect(reading(of(claims))).toEqual(result)
  })

  test('ends in an account or a reason, whatever the text', () => {
    const odd = fc.oneof(fc.string(), fc.jsonValue(), fc.constantFrom('shop', 'api', sub, block))
    const claims = fc.record(
      {
        sub: odd,
        aud: odd,
        exp: odd,
        'kubernetes.io': fc.oneof(odd, fc.record({ namespace: odd, serviceaccount: odd })),
      },
      { requiredKeys: [] },
    )
    const text = fc.oneof(
      fc.string(),
      fc.array(fc.base64String(), { maxLength: 4 }).map((parts) => parts.join('.')),
      claims.map(of),
      fc.jsonValue().map((header) => `${part(header)}.${part({ sub, 'kubernetes.io': block })}.AAAA`),
    )
    fc.assert(
      fc.property(text, (jwt) => {
        const result = reading(jwt)
        if (typeof result === 'object')
          expect(result).toMatchObject({ namespace: expect.stringMatching(/^[a-z0-9-]+$/) })
      }),
    )
  })
})

test('the Kubernetes client, 75 MB in memory, is loaded by nobody who does not ask an API server', () => {
  const sources = readdirSync('src', { recursive: true, encoding: 'utf8' }).filter((file) =>
    file.endsWith('.ts'),
  )
  const naming = sources.flatMap((file) => {
    const found = readFileSync(`src/${file}`, 'utf8').match(/^.*'@kubernetes\/client-node'.*$/gm) ?? []
    return found.map((line) => line.trim())
  })
  expect(naming.length).toBeGreaterThan(1)
  for (const line of naming) expect(line).toMatch(/^import type |await import\(|^type \w+ = typeof import\(/)
})

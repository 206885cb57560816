import { readdirSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { CompactSign, exportJWK, generateKeyPair } from 'jose'
import { beforeAll, describe, expect, test } from 'vitest'
import { type Ended, leasehold } from '../support/cli.ts'
import { testFolder } from '../support/test-root.ts'

describe('leasehold demo', () => {
  const folder = () => dirname(testFolder('demo'))

  test('tells the whole story on a broker of its own, and leaves nothing behind', async () => {
    const { code, stdout, stderr } = await leasehold(['demo', '--own'], { TMPDIR: folder() })
    expect({ code, stderr }, stdout).toEqual({ code: 0, stderr: '' })
    const titles = [...stdout.matchAll(/^ *(\d+) {2}(.+?) \.+ +[\d.]+ (?:ms|s)$/gm)]
    expect(titles.map(([, number]) => Number(number))).toEqual(titles.map((_, i) => i + 1))
    expect(titles.map(([, , title]) => title)).toEqual([
      'Find a broker, or start one',
      'Ask it where the demo database is',
      'Ask for a database user',
      'Log in to PostgreSQL as that user',
      'Query a table',
      'Try to change it, which its group may not',
      'Renew for five minutes',
      'Renew again, for only 4 s, and then no more',
      'Open a long session: select pg_sleep(600)',
      'Wait until the session is cut',
      'Try to log in again',
      'Fetch the receipt, and the keys it is signed with',
      'Verify it offline',
      'Change one word in it, and verify that',
      'Ask for a database user',
      'Log in and open a long session',
      'Revoke the lease; the answer comes when it has ended',
      'See the session cut',
      'Try to log in again',
      'Find the lease gone',
    ])
    expect(stdout).toContain('customer: 1 Ada, 2 Grace')
    expect(stdout).toContain('FATAL: terminating connection due to administrator command (57P01)')
    expect(stdout).toMatch(/verify {5}\S+ {2}\{.*"role_absent":true/)
    expect(stdout).not.toContain('\x1b')
    expect(readdirSync(folder()).filter((name) => name.startsWith('leasehold-demo-'))).toEqual([])
  }, 180_000)

  test('names the step that failed', async () => {
    const { code, stdout } = await leasehold(['demo'], { VAULT_ADDR: 'http://127.0.0.1:9' })
    expect(code).toBe(1)
    expect(stdout).toMatch(/^ 1 {2}Find a broker, or start one \.+ failed$/m)
    expect(stdout).toMatch(/^The demo failed: VAULT_ADDR: \S+ does not answer/m)
  })
})

describe('leasehold receipt verify', () => {
  const STEPS = ['disable', 'disconnect', 'remove', 'verify']
  const claims = {
    iss: 'urn:leasehold:test',
    lease_id: 'database/creds/app/1',
    account: 'v_app_1',
    target: 'shop',
    reason: 'expired',
    issued_at: '2026-01-01T00:00:00.000Z',
    ended_at: '2026-01-01T00:01:00.000Z',
    steps: STEPS.map((step) => ({ step, at: '2026-01-01T00:01:00Z', evidence: { groups: ['a', 'b'] } })),
    residual: [],
  }
  let privateKey: Awaited<ReturnType<typeof generateKeyPair>>['privateKey']
  let jwks: string

  const file = (name: string, text: string): string => {
    const path = join(testFolder('receipt'), name)
    writeFileSync(path, text)
    return path
  }
  const signed = (payload: object, typ = 'leasehold-receipt+jws'): Promise<string> =>
    new CompactSign(new TextEncoder().encode(JSON.stringify(payload)))
      .setProtectedHeader({ alg: 'EdDSA', kid: 'k1', typ })
      .sign(privateKey)
  const verify = (receipt: string, keys = jwks, ...more: string[]): Promise<Ended> =>
    leasehold(['receipt', 'verify', file('receipt', receipt), '--jwks', keys, ...more])

  beforeAll(async () => {
    const pair = await generateKeyPair('EdDSA', { crv: 'Ed25519', extractable: true })
    privateKey = pair.privateKey
    const keys = [{ ...(await exportJWK(pair.publicKey)), kid: 'k1', alg: 'EdDSA', use: 'sig' }]
    jwks = file('jwks.json', JSON.stringify({ keys }))
  })

  test('takes a genuine one, bare or in the answer of the API', async () => {
    const jws = await signed(claims)
    const bare = await verify(`${jws}\n`)
    expect(bare).toMatchObject({ code: 0, stderr: '' })
    expect(bare.stdout).toContain('Genuine: signed by urn:leasehold:test, key k1.')
    expect(bare.stdout).toContain('groups: a b')
    const wrapped = await verify(JSON.stringify({ data: { receipt: jws } }), jwks, '--json')
    expect(wrapped.code).toBe(0)
    expect(JSON.parse(wrapped.stdout)).toEqual(claims)
  })

  test('refuses whatever is not', async () => {
    const good = await signed(claims)
    const [head, , signature] = good.split('.')
    const other = Buffer.from(JSON.stringify({ ...claims, reason: 'revoked' })).toString('base64url')
    const unsigned = Buffer.from('{"alg":"none"}').toString('base64url')
    const bad = {
      changed: `${head}.${other}.${signature}`,
      'without a signature': `${unsigned}.${other}.`,
      'signed as something else': await signed(claims, 'JWT'),
      'of a lease that never ended': await signed({ ...claims, steps: claims.steps.slice(0, 2) }),
      'of no shape': await signed({}),
      'no receipt': 'hello',
    }
    for (const [what, receipt] of Object.entries(bad)) {
      const { code, stdout, stderr } = await verify(receipt)
      expect({ what, code, stdout }).toEqual({ what, code: 1, stdout: '' })
      expect(stderr).toMatch(/^Not genuine: /)
    }
  })

  test('refuses one that another key signed', async () => {
    const pair = await generateKeyPair('EdDSA', { crv: 'Ed25519' })
    const keys = [{ ...(await exportJWK(pair.publicKey)), kid: 'k1', alg: 'EdDSA' }]
    const { code } = await verify(await signed(claims), file('other.json', JSON.stringify({ keys })))
    expect(code).toBe(1)
  })

  test('says when it could not check', async () => {
    const receipt = await signed(claims)
    const answers = await Promise.all([
      verify(receipt, '/nowhere'),
      verify(receipt, 'http://127.0.0.1:9/keys'),
      verify(receipt, file('none.json', '{"errors":[]}')),
      leasehold(['receipt', 'verify']),
    ])
    expect(answers.map(({ code }) => code)).toEqual([2, 2, 2, 2])
    expect(answers.map(({ stdout }) => stdout)).toEqual(['', '', '', ''])
  })
})

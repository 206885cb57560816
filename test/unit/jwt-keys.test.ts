import { describe, expect, test } from 'vitest'
import { checkJwtConfig } from '../../src/identity/jwt/config.ts'
import type { FetchJson } from '../../src/identity/jwt/fetch-json.ts'
import { checkKeySource, openKeySource } from '../../src/identity/jwt/key-source.ts'
import { LoginRefused } from '../../src/identity/jwt/refusal.ts'
import { COOLDOWN_MS, FRESH_MS, HARD_AGE_MS } from '../../src/identity/jwt/remote-copy.ts'
import { newSigningKey } from '../support/oidc-issuer.ts'

const [a, b, c] = await Promise.all(['a', 'b', 'c'].map((kid) => newSigningKey(kid)))
if (!a || !b || !c) throw new Error('three keys were asked for')

const URL_A = 'https://a.example/jwks'
const URL_B = 'https://b.example/jwks'
const jwks = (...keys: (typeof a)[]) => ({ keys: keys.map(({ jwk }) => jwk) })

/** An issuer without a network: its documents, a count of fetches, a clock that only moves when told to. */
function world(documents: Record<string, unknown>, config: Record<string, unknown> = { jwks_url: URL_A }) {
  const fetched: string[] = []
  let ms = 0
  let gate: Promise<void> | undefined
  let open = () => {}
  const fetch: FetchJson = async (url) => {
    fetched.push(url)
    await gate
    if (documents[url] === undefined) throw new Error(`${url}: refuses to answer`)
    return documents[url]
  }
  const source = openKeySource(checkJwtConfig(config), { fetch, now: () => ms })
  return {
    documents,
    fetched,
    source,
    fetch,
    pass: (more: number) => {
      ms += more
    },
    /** Holds back every answer until the function it returns is called. */
    hold() {
      gate = new Promise((resolve) => {
        open = resolve
      })
      return () => {
        gate = undefined
        open()
      }
    },
    find: (kid?: string, alg = 'ES256') => source.find({ alg, kid }).then((keys) => keys.length),
    refusal: (kid?: string) =>
      source.find({ alg: 'ES256', kid }).then(
        (keys) => `${keys.length} keys`,
        (error: unknown) => {
          expect(error).toBeInstanceOf(LoginRefused)
          return (error as LoginRefused).reason
        },
      ),
  }
}

/** Lets what was started in the background come to its end. */
const settle = () => new Promise((resolve) => setImmediate(resolve))

describe('keys of a JWKS URL', () => {
  test('are fetched when first needed and then kept', async () => {
    const it = world({ [URL_A]: jwks(a, b) })
    expect(it.fetched).toEqual([])
    expect(await it.find('a')).toBe(1)
    expect(await it.find('b')).toBe(1)
    it.pass(FRESH_MS - 1)
    expect(await it.find('a')).toBe(1)
    expect(it.fetched).toEqual([URL_A])
  })

  test('are found by id and algorithm; a token without an id may be of any', async () => {
    const it = world({ [URL_A]: jwks(a, b) })
    expect(await it.find()).toBe(2)
    expect(await it.find('a', 'RS256')).toBe(0)
    expect(await it.find(undefined, 'RS256')).toBe(0)
  })

  test('many first logins share one fetch', async () => {
    const it = world({ [URL_A]: jwks(a) })
    const release = it.hold()
    const finds = Array.from({ length: 50 }, (_, i) => it.find(i % 2 ? 'a' : 'unknown'))
    release()
    expect((await Promise.all(finds)).reduce((sum, n) => sum + n)).toBe(25)
    expect(it.fetched).toHaveLength(1)
  })

  test('an unknown key is looked for at once, by one fetch for all who ask', async () => {
    const it = world({ [URL_A]: jwks(a) })
    await it.find('a')
    it.documents[URL_A] = jwks(a, b)
    expect(await Promise.all(Array.from({ length: 50 }, () => it.find('b')))).toEqual(Array(50).fill(1))
    expect(it.fetched).toHaveLength(2)
  })

  test('forged ids cost one fetch per cooldown, whatever they are', async () => {
    const it = world({ [URL_A]: jwks(a) })
    await it.find('a')
    for (let i = 0; i < 100; i++) expect(await it.find(`forged-${i}`)).toBe(0)
    expect(it.fetched).toHaveLength(2)

    it.documents[URL_A] = jwks(a, b)
    it.pass(COOLDOWN_MS - 1)
    expect(await it.find('b')).toBe(0)
    it.pass(1)
    expect(await it.find('b')).toBe(1)
    expect(it.fetched).toHaveLength(3)
  })

  test('that age are fetched again without anyone waiting', async () => {
    const it = world({ [URL_A]: jwks(a) })
    await it.find('a')
    it.documents[URL_A] = jwks(b)
    it.pass(FRESH_MS)
    const release = it.hold()
    // The answer is still held back: these are served from what is kept.
    expect(await Promise.all([it.find('a'), it.find('a')])).toEqual([1, 1])
    expect(it.fetched).toHaveLength(2)
    release()
    await settle()
    expect(await it.find('b')).toBe(1)
    // A key the issuer took back is gone.
    expect(await it.find('a')).toBe(0)
  })

  test('go on serving while the issuer is away, until they are too old', async () => {
    const it = world({ [URL_A]: jwks(a) })
    await it.find('a')
    delete it.documents[URL_A]
    it.pass(FRESH_MS)
    expect(await it.find('a')).toBe(1)
    await settle()
    expect(it.source.trouble()).toBe(`${URL_A}: refuses to answer`)
    // Whether the issuer has such a key cannot be known now.
    expect(await it.refusal('b')).toBe('issuer_unreachable')

    it.pass(HARD_AGE_MS - FRESH_MS - 1)
    expect(await it.find('a')).toBe(1)
    await settle()
    it.pass(1)
    expect(await it.refusal('a')).toBe('issuer_unreachable')

    it.documents[URL_A] = jwks(a)
    it.pass(COOLDOWN_MS)
    expect(await it.find('a')).toBe(1)
    expect(it.source.trouble()).toBeUndefined()
  })

  test('an issuer that is away is asked once per cooldown', async () => {
    const it = world({})
    const first = await Promise.all(Array.from({ length: 20 }, () => it.refusal('a')))
    expect(new Set(first)).toEqual(new Set(['issuer_unreachable']))
    expect(await it.refusal('b')).toBe('issuer_unreachable')
    it.pass(COOLDOWN_MS - 1)
    expect(await it.refusal('a')).toBe('issuer_unreachable')
    expect(it.fetched).toHaveLength(1)
    it.documents[URL_A] = jwks(a)
    it.pass(1)
    expect(await it.find('a')).toBe(1)
  })

  test('the refusal says on the wire that the issuer is away, and only inside which', async () => {
    const it = world({})
    const error = await it.source.find({ alg: 'ES256', kid: 'a' }).catch((thrown: unknown) => thrown)
    expect(error).toMatchObject({
      message:
        'error configuring token validator: the keys of the issuer could not be fetched, so no token can be checked',
      detail: `${URL_A}: refuses to answer`,
    })
  })
})

describe('keys of several JWKS URLs', () => {
  const pairs = { jwks_pairs: [{ jwks_url: URL_A }, { jwks_url: URL_B }] }

  test('serve together', async () => {
    const it = world({ [URL_A]: jwks(a), [URL_B]: jwks(b) }, pairs)
    expect(await it.find('a')).toBe(1)
    expect(await it.find('b')).toBe(1)
    expect(await it.find()).toBe(2)
    expect(it.fetched).toHaveLength(2)
  })

  test('one that is away does not stop the others, but leaves the rest in doubt', async () => {
    const it = world({ [URL_A]: jwks(a) }, pairs)
    expect(await it.find('a')).toBe(1)
    expect(await it.refusal('b')).toBe('issuer_unreachable')
  })
})

describe('keys by discovery', () => {
  const issuer = 'https://issuer.example/tenant/'
  const place = 'https://issuer.example/tenant/.well-known/openid-configuration'
  const config = { oidc_discovery_url: issuer }

  test('are where the issuer says', async () => {
    const it = world({ [place]: { issuer, jwks_uri: URL_A }, [URL_A]: jwks(a) }, config)
    expect(await it.find('a')).toBe(1)
    expect(it.fetched).toEqual([place, URL_A])
  })

  test('are fetched under one deadline for both documents', async () => {
    const signals: AbortSignal[] = []
    const documents: Record<string, unknown> = { [place]: { issuer, jwks_uri: URL_A }, [URL_A]: jwks(a) }
    const fetch: FetchJson = async (url, { signal }) => {
      signals.push(signal)
      return documents[url]
    }
    await checkKeySource(checkJwtConfig(config), { fetch })
    expect(signals).toHaveLength(2)
    expect(signals[0]).toBe(signals[1])
  })

  test('follow the issuer when it moves them', async () => {
    const it = world({ [place]: { issuer, jwks_uri: URL_A }, [URL_A]: jwks(a) }, config)
    await it.find('a')
    it.documents[place] = { issuer, jwks_uri: URL_B }
    it.documents[URL_B] = jwks(b)
    expect(await it.find('b')).toBe(1)
  })

  test.each([
    ['another issuer', { issuer: 'https://issuer.example/tenant', jwks_uri: URL_A }, 'names another issuer'],
    ['no issuer', { jwks_uri: URL_A }, 'names another issuer'],
    ['no keys', { issuer }, 'no jwks_uri'],
    ['a file', { issuer, jwks_uri: 'file:///etc/passwd' }, 'no jwks_uri'],
    ['no TLS', { issuer, jwks_uri: 'http://a.example/jwks' }, 'without TLS'],
    ['a list', [], 'not a discovery document'],
  ])('with %s in the document are refused, also on write', async (_, document, problem) => {
    const it = world({ [place]: document, [URL_A]: jwks(a) }, config)
    expect(await it.refusal('a')).toBe('issuer_unreachable')
    expect(it.source.trouble()).toContain(problem)
    await expect(checkKeySource(checkJwtConfig(config), it)).rejects.toMatchObject({
      code: 'invalid_request',
      message: expect.stringMatching(
        new RegExp(`^error checking oidc discovery URL: ${place}: .*${problem}`),
      ),
    })
  })
})

describe('the check on write', () => {
  test('passes for keys that can be had, and for PEM keys without any fetch', async () => {
    const it = world({ [URL_A]: jwks(a) })
    await checkKeySource(checkJwtConfig({ jwks_url: URL_A }), it)
    expect(it.fetched).toEqual([URL_A])
  })

  test('says which of several places is wrong', async () => {
    const it = world({ [URL_A]: jwks(a), [URL_B]: { nothing: true } })
    const config = checkJwtConfig({ jwks_pairs: [{ jwks_url: URL_A }, { jwks_url: URL_B }] })
    await expect(checkKeySource(config, it)).rejects.toThrow(
      `error checking jwks URL: ${URL_B}: the answer is not a JWKS`,
    )
  })
})

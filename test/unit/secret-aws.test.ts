import { inspect } from 'node:util'
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import { sensitive } from '../../src/lib/sensitive.ts'
import { awsStore } from '../../src/secrets/aws/aws-store.ts'
import type { ExternalStore } from '../../src/secrets/secret-store.ts'
import {
  type AwsSecretsServer,
  awsBehaviours,
  awsFaults,
  startAwsSecrets,
} from '../support/aws-secrets-server.ts'

const PASSWORD = 'correct-horse-battery'

let aws: AwsSecretsServer
let opened: ExternalStore[]

beforeEach(async () => {
  aws = await startAwsSecrets()
  opened = []
})
afterEach(async () => {
  vi.unstubAllEnvs()
  await Promise.all(opened.map((store) => store.close()))
  await aws.stop()
})

function open(timeoutMs = 10_000): ExternalStore {
  const store = awsStore({ region: aws.region, endpoint: aws.url, prefix: 'leasehold/' }, { timeoutMs })
  opened.push(store)
  return store
}

describe('the secrets of our own', () => {
  test('are plain texts below the prefix, versions of ours as their versions', async () => {
    const store = open()
    await store.put('target/a', sensitive('1'))
    await store.put('target/a', sensitive(PASSWORD))
    expect(aws.read('leasehold/target/a')).toBe(PASSWORD)
    expect(aws.stages('leasehold/target/a')).toEqual({
      AWSPREVIOUS: 'leasehold-0000000000000000000001',
      AWSCURRENT: 'leasehold-0000000000000000000002',
    })
  })

  test('a put whose answer was lost is repeated without harm', async () => {
    const store = open()
    aws.loseNext(1)
    expect(await store.put('a', sensitive('1'), { ifVersion: 0 })).toBe(1)
    aws.loseNext(1)
    await store.get('a')
    expect(await store.put('a', sensitive('2'), { ifVersion: 1 })).toBe(2)
    expect(aws.requests.filter((each) => each.startsWith('CreateSecret'))).toHaveLength(2)
  })

  test('a name that the service is still deleting is absent, and can be made again once it has', async () => {
    const store = open()
    await store.put('a', sensitive('1'))
    aws.lingerAfterDelete(1)
    await store.delete('a')
    expect(await store.get('a')).toBeUndefined()
    expect(await store.put('a', sensitive('2'))).toBe(1)
  })

  test('one that somebody wrote over is damaged', async () => {
    const store = open()
    await store.put('a', sensitive('1'))
    aws.write('leasehold/a', 'by hand')
    await expect(store.get('a')).rejects.toMatchObject({ kind: 'damaged' })
  })
})

describe('what is not an answer of the service is never taken for an absent secret', () => {
  test.each(Object.entries(awsBehaviours))('%s', async (_, behaviour) => {
    const store = open(1_000)
    await store.put('a', sensitive(PASSWORD))
    aws.behave(behaviour)
    await expect(store.get('a')).rejects.toMatchObject({ kind: 'unreachable' })
    aws.behave(undefined)
    expect((await store.get('a'))?.text.reveal()).toBe(PASSWORD)
  })

  test.each([
    ['throttled', 'unreachable'],
    ['internal', 'unreachable'],
    ['denied', 'denied'],
    ['expired', 'denied'],
  ] as const)('%s for good is %s', async (fault, kind) => {
    const store = open()
    aws.failNext(100, awsFaults[fault])
    await expect(store.get('a')).rejects.toMatchObject({ kind })
  })

  test('throttled for a moment is not noticed', async () => {
    const store = open()
    aws.failNext(1, awsFaults.throttled)
    expect(await store.get('a')).toBeUndefined()
  })

  test('no credentials anywhere', async () => {
    for (const name of ['AWS_ACCESS_KEY_ID', 'AWS_SECRET_ACCESS_KEY', 'AWS_PROFILE'])
      vi.stubEnv(name, undefined)
    vi.stubEnv('AWS_EC2_METADATA_DISABLED', 'true')
    vi.stubEnv('AWS_SHARED_CREDENTIALS_FILE', '/dev/null')
    vi.stubEnv('AWS_CONFIG_FILE', '/dev/null')
    await expect(open().get('a')).rejects.toMatchObject({ kind: 'denied', message: /credentials/i })
  })
})

describe('references', () => {
  const at = { path: 'prod/db', key: 'password' }

  test('name one key of a JSON object, which is written with the others left as they are', async () => {
    aws.write('prod/db', JSON.stringify({ username: 'admin', password: PASSWORD }))
    const { references } = open()
    const found = await references.read(at)
    expect(found.text.reveal()).toBe(PASSWORD)
    await references.write(at, sensitive('newer'), found.version)
    expect(JSON.parse(aws.read('prod/db') ?? '')).toEqual({ username: 'admin', password: 'newer' })
    expect(aws.stages('prod/db')).toEqual({ AWSCURRENT: expect.any(String), AWSPREVIOUS: found.version })
  })

  test('or a whole text, by name or by ARN', async () => {
    aws.write('prod/plain', PASSWORD)
    const { references } = open()
    for (const path of ['prod/plain', aws.arn('prod/plain')]) {
      references.check({ path })
      const found = await references.read({ path })
      await references.write({ path }, sensitive(`${found.text.reveal()}!`), found.version)
    }
    expect(aws.read('prod/plain')).toBe(`${PASSWORD}!!`)
  })

  test('are not written over what somebody changed meanwhile, not even at the last moment', async () => {
    aws.write('prod/db', JSON.stringify({ password: PASSWORD }))
    const { references } = open()
    const { version } = await references.read(at)
    aws.write('prod/db', JSON.stringify({ password: 'by hand' }))
    await expect(references.write(at, sensitive('x'), version)).rejects.toMatchObject({ kind: 'conflict' })

    const again = await references.read(at)
    aws.beforeNext('UpdateSecretVersionStage', () =>
      aws.write('prod/db', JSON.stringify({ password: 'by hand again' })),
    )
    await expect(references.write(at, sensitive('x'), again.version)).rejects.toMatchObject({
      kind: 'conflict',
    })
    expect(JSON.parse(aws.read('prod/db') ?? '')).toEqual({ password: 'by hand again' })
    expect(Object.keys(aws.stages('prod/db')).sort()).toEqual(['AWSCURRENT', 'AWSPREVIOUS'])
  })

  test('to a secret, a key or a text that is not there say which', async () => {
    aws.write('prod/plain', 'no JSON')
    aws.write('prod/list', '["password"]')
    aws.write('prod/db', JSON.stringify({ port: 5432 }))
    const { references } = open()
    await expect(references.read({ ...at, path: 'prod/no' })).rejects.toMatchObject({
      kind: 'absent',
      message: /no usable secret prod\/no/,
    })
    for (const path of ['prod/plain', 'prod/list', 'prod/db']) {
      for (const key of ['password', 'port', 'length', 'constructor', '__proto__']) {
        await expect(references.read({ path, key })).rejects.toMatchObject({
          kind: 'absent',
          message: /no text/,
        })
      }
    }
  })

  test.each(['with space', 'a:b', '', 'ü', 'arn:aws:secretsmanager:x:1:secret:'])(
    'the name %j is refused unasked',
    (path) => {
      expect(() => open().references.check({ path })).toThrow(/aws:<name or ARN>/)
    },
  )

  test('cannot name what we keep there ourselves', () => {
    const { references } = open()
    const arn = 'arn:aws:secretsmanager:eu-central-1:123456789012:secret:leasehold/target/a-AbCdEf'
    for (const path of ['leasehold/target/a', arn]) {
      expect(() => references.check({ path })).toThrow(/itself keeps/)
    }
  })
})

test('no error shows a key or a secret', async () => {
  const store = open(1_000)
  await store.put('a', sensitive(PASSWORD))
  aws.write('prod/plain', `{"password":"${PASSWORD}"`)
  const failing = [
    () => store.put('a', sensitive(PASSWORD), { ifVersion: 9 }),
    () => store.references.read({ path: 'prod/plain', key: 'password' }),
    async () => {
      aws.failNext(100, awsFaults.denied)
      await store.put('b', sensitive(PASSWORD))
    },
    async () => {
      aws.behave(awsBehaviours.hangsUp)
      await store.put('b', sensitive(PASSWORD))
    },
  ]
  for (const call of failing) {
    const error = await call().catch((caught: unknown) => caught)
    expect(error).toBeInstanceOf(Error)
    const shown = inspect(error, { depth: 12, showHidden: true }) + JSON.stringify(error)
    expect(shown).not.toContain(PASSWORD)
    expect(shown).not.toContain(process.env.AWS_SECRET_ACCESS_KEY)
  }
})

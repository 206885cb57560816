import { randomUUID } from 'node:crypto'
import { type Sensitive, sensitive } from '../../lib/sensitive.ts'
import { type Place, type References, SecretStoreError } from '../secret-store.ts'
import { AwsFault, type AwsRequest } from './request.ts'

/** What a version carries until it is the current one; AWSPENDING belongs to the service's own rotation. */
const CANDIDATE = 'LEASEHOLD_CANDIDATE'

/** Secrets by name or ARN. Our own cannot be named: they are other targets' credentials. */
export function awsReferences(request: AwsRequest, prefix: string): References {
  const read = async ({ path, key }: Place) => {
    const found = await request((client, options) =>
      client.getSecretValue({ SecretId: path }, options),
    ).catch((error) => {
      if (!(error instanceof AwsFault) || !ABSENT.includes(error.word)) throw error
      throw new SecretStoreError('absent', `AWS Secrets Manager has no usable secret ${path}`)
    })
    const { SecretString: whole, VersionId: version } = found
    const text = whole === undefined || key === undefined ? whole : keysOf(whole)?.[key]
    if (whole === undefined || version === undefined || typeof text !== 'string') {
      const what = key === undefined ? 'is no text' : `has no text under the key ${key}`
      throw new SecretStoreError('absent', `the secret ${path} in AWS Secrets Manager ${what}`)
    }
    return { whole, text, version }
  }

  return {
    check({ path }) {
      const [, inArn] = ARN.exec(path) ?? []
      const name = inArn ?? path
      if (!NAME.test(name)) {
        throw new SecretStoreError(
          'invalid',
          'a reference to AWS is aws:<name or ARN>, with #<key> for one key of a JSON object, such as aws:prod/db#password',
        )
      }
      if (name.startsWith(prefix)) {
        throw new SecretStoreError('invalid', 'names what Leasehold itself keeps in AWS Secrets Manager')
      }
    },

    async read(at) {
      const { text, version } = await read(at)
      return { text: sensitive(text), version }
    },

    async write(at, text, version) {
      const found = await read(at)
      if (found.version !== version) throw conflict(at)
      const whole = at.key === undefined ? text.reveal() : withKey(found.whole, at.key, text)
      const candidate = randomUUID()
      await request((client, options) =>
        client.putSecretValue(
          {
            SecretId: at.path,
            ClientRequestToken: candidate,
            SecretString: whole,
            VersionStages: [CANDIDATE],
          },
          options,
        ),
      )
      await makeCurrent(request, at, { candidate, version })
    },
  }
}

/** Moving AWSCURRENT away from a version that no longer has it is refused: that is the condition of the write. */
async function makeCurrent(
  request: AwsRequest,
  at: Place,
  { candidate, version }: { candidate: string; version: string },
): Promise<void> {
  const move = (stage: string, from: string, to?: string): Promise<unknown> =>
    request((client, options) =>
      client.updateSecretVersionStage(
        {
          SecretId: at.path,
          VersionStage: stage,
          RemoveFromVersionId: from,
          ...(to !== undefined && { MoveToVersionId: to }),
        },
        options,
      ),
    )
  try {
    await move('AWSCURRENT', version, candidate)
  } catch (error) {
    if (error instanceof AwsFault && error.word === 'InvalidParameterException') throw conflict(at)
    throw error
  } finally {
    // A version without any label is the service's to forget; that this failed changes nothing else.
    await move(CANDIDATE, candidate).catch(() => {})
  }
}

const ABSENT = ['ResourceNotFoundException', 'InvalidRequestException']
const ARN = /^arn:[a-z-]+:secretsmanager:[a-z0-9-]+:\d{12}:secret:(.+)$/
const NAME = /^[A-Za-z0-9/_+=.@-]{1,512}$/

const conflict = ({ path }: Place): SecretStoreError =>
  new SecretStoreError('conflict', `someone else changed ${path} in AWS Secrets Manager at the same time`)

function keysOf(whole: string): Record<string, unknown> | undefined {
  try {
    const parsed: unknown = JSON.parse(whole)
    const isObject = typeof parsed === 'object' && parsed !== null && !Array.isArray(parsed)
    return isObject ? Object.assign(Object.create(null), parsed) : undefined
  } catch {
    return undefined // its error quotes the text
  }
}

const withKey = (whole: string, key: string, text: Sensitive): string =>
  JSON.stringify({ ...keysOf(whole), [key]: text.reveal() })

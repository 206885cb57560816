import { backoffMs } from '../../lib/backoff.ts'
import { pause } from '../../lib/pause.ts'
import { type Sensitive, sensitive } from '../../lib/sensitive.ts'
import { putOver } from '../asking.ts'
import { checkName, checkText, type ExternalStore, SecretStoreError } from '../secret-store.ts'
import { awsReferences } from './references.ts'
import { AwsFault, type AwsRequest, type AwsSettings, awsRequests } from './request.ts'

export type { AwsSettings } from './request.ts'

const TIMEOUT_MS = 10_000

/**
 * AWS Secrets Manager. It has no numbers for versions and no condition on a put, but takes a version's id from the
 * caller and refuses another text under an id that is there: our ids are the numbers, so of two that write version 7
 * one is refused. What is current is what AWSCURRENT says.
 */
export function awsStore(settings: AwsSettings, { timeoutMs = TIMEOUT_MS } = {}): ExternalStore {
  const { request, close } = awsRequests(settings, timeoutMs)
  const idOf = (name: string): string => `${settings.prefix}${name}`

  return {
    async get(name) {
      checkName(name)
      const found = await newest(request, idOf(name))
      if (found?.text === undefined) return undefined
      return { text: sensitive(found.text), version: found.version }
    },

    async put(name, text, options) {
      checkName(name)
      checkText(text)
      const id = idOf(name)
      return putOver(name, options?.ifVersion, {
        newest: async () => (await newest(request, id))?.version ?? 0,
        putAfter: (version) => (version === 0 ? create(request, id, text) : put(request, id, text, version)),
      })
    },

    async delete(name) {
      checkName(name)
      await absentAs(undefined, () =>
        request((client, options) =>
          client.deleteSecret({ SecretId: idOf(name), ForceDeleteWithoutRecovery: true }, options),
        ),
      )
    },

    references: awsReferences(request, settings.prefix),
    async close() {
      close()
    },
  }
}

/** Long enough for the service, which takes 32 to 64 characters. */
const versionId = (version: number): string => `leasehold-${String(version).padStart(22, '0')}`
const VERSION_ID = /^leasehold-(\d{22})$/

async function newest(
  request: AwsRequest,
  id: string,
): Promise<{ version: number; text: string | undefined } | undefined> {
  const found = await absentAs(undefined, () =>
    request((client, options) => client.getSecretValue({ SecretId: id }, options)),
  )
  if (!found) return undefined
  const [, version] = VERSION_ID.exec(found.VersionId ?? '') ?? []
  if (version === undefined) {
    throw new SecretStoreError('damaged', `the secret ${id} in AWS is not as Leasehold put it there`)
  }
  return { version: Number(version), text: found.SecretString }
}

/** A secret that is being deleted is as good as gone. */
async function absentAs<T, U>(absent: U, ask: () => Promise<T>): Promise<T | U> {
  try {
    return await ask()
  } catch (error) {
    if (hasWord(error, 'ResourceNotFoundException') || isBeingDeleted(error)) return absent
    throw error
  }
}

const hasWord = (error: unknown, word: string): boolean => error instanceof AwsFault && error.word === word

const isBeingDeleted = (error: unknown): boolean =>
  hasWord(error, 'InvalidRequestException') && /delet/i.test((error as AwsFault).message)

const DELETION_TRIES = 5

/** A deletion takes the service a while, and until then the name is taken. */
async function create(request: AwsRequest, id: string, text: Sensitive): Promise<boolean> {
  for (let attempt = 1; ; attempt += 1) {
    try {
      return await unlessThere(() =>
        request((client, options) =>
          client.createSecret(
            { Name: id, ClientRequestToken: versionId(1), SecretString: text.reveal() },
            options,
          ),
        ),
      )
    } catch (error) {
      if (!isBeingDeleted(error)) throw error
      if (attempt === DELETION_TRIES) {
        throw new SecretStoreError('unreachable', `AWS Secrets Manager is still deleting an older ${id}`)
      }
      await pause(backoffMs(attempt))
    }
  }
}

async function put(request: AwsRequest, id: string, text: Sensitive, after: number): Promise<boolean> {
  if ((await newest(request, id))?.version !== after) return false
  const written = await absentAs(false, () =>
    unlessThere(() =>
      request((client, options) =>
        client.putSecretValue(
          { SecretId: id, ClientRequestToken: versionId(after + 1), SecretString: text.reveal() },
          options,
        ),
      ),
    ),
  )
  return written
}

async function unlessThere(write: () => Promise<unknown>): Promise<boolean> {
  try {
    await write()
    return true
  } catch (error) {
    if (hasWord(error, 'ResourceExistsException')) return false
    throw error
  }
}

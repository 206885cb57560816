import type { SecretsManager } from '@aws-sdk/client-secrets-manager'
import { answered } from '../asking.ts'
import { SecretStoreError, type SecretStoreErrorKind } from '../secret-store.ts'

export type AwsSettings = {
  region: string
  /** Another address than the region's own: a VPC endpoint, or something that speaks like AWS. */
  endpoint: string | undefined
  /** What the names of our own secrets begin with. */
  prefix: string
}

/** One call of the SDK, which finds its credentials as it always does. Throws `AwsFault`s and nothing else. */
export type AwsRequest = <T>(
  call: (client: SecretsManager, options: { abortSignal: AbortSignal }) => Promise<T>,
) => Promise<T>

/** The service's own word for what is wrong, beside the store's. */
export class AwsFault extends SecretStoreError {
  readonly word: string

  constructor(kind: SecretStoreErrorKind, word: string, message: string) {
    super(kind, `AWS Secrets Manager: ${message} (${word})`)
    this.word = word
  }
}

const CONNECT_TIMEOUT_MS = 2_000
/** With the first try; the SDK waits a little longer before each. */
const ATTEMPTS = 3

export function awsRequests(
  { region, endpoint }: AwsSettings,
  timeoutMs: number,
): {
  request: AwsRequest
  close(): void
} {
  let opening: Promise<SecretsManager> | undefined
  const open = async (): Promise<SecretsManager> => {
    const { SecretsManager } = await import('@aws-sdk/client-secrets-manager')
    return new SecretsManager({
      region,
      ...(endpoint !== undefined && { endpoint }),
      maxAttempts: ATTEMPTS,
      requestHandler: { connectionTimeout: CONNECT_TIMEOUT_MS, requestTimeout: timeoutMs },
    })
  }

  return {
    async request(call) {
      opening ??= open()
      const client = await opening
      const work = call(client, { abortSignal: AbortSignal.timeout(timeoutMs) })
      return answered('AWS Secrets Manager', work, timeoutMs).catch((error) => {
        throw error instanceof SecretStoreError ? error : faultOf(error)
      })
    },
    close: () => void opening?.then((client) => client.destroy()),
  }
}

/** The rest are refusals when the service says that they are the client's fault, and else no answer. */
const KINDS: Readonly<Record<string, SecretStoreErrorKind>> = {
  ThrottlingException: 'unreachable',
  TooManyRequestsException: 'unreachable',
  RequestTimeout: 'unreachable',
  RequestTimeoutException: 'unreachable',
  CredentialsProviderError: 'denied',
  InvalidParameterException: 'invalid',
  ValidationException: 'invalid',
}

const MESSAGE_LIMIT = 300

/** Without a `cause`: the SDK's errors hold the answer, and that may hold the secret. */
function faultOf(error: unknown): AwsFault {
  const { name, message, $fault } = error as { name?: unknown; message?: unknown; $fault?: unknown }
  const word = typeof name === 'string' ? name : 'Error'
  const kind = KINDS[word] ?? ($fault === 'client' ? 'denied' : 'unreachable')
  return new AwsFault(kind, word, String(message || 'no answer').slice(0, MESSAGE_LIMIT))
}

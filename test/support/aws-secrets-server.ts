import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { createServer, type IncomingMessage, type RequestListener, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'

/**
 * As much of AWS Secrets Manager as we use, in its JSON protocol: versions and their stages, tokens that make a repeated
 * request one, and its errors in its own words. Requests have to be signed; the signature itself is not checked.
 */
export type AwsSecretsServer = {
  url: string
  region: string
  /** The operations that arrived, as `<operation> <secret>`. */
  requests: string[]
  /** How every request is answered from now on; as it should be, when undefined. */
  behave(how: RequestListener | undefined): void
  /** The next so many requests are answered with this error. */
  failNext(times: number, fault: AwsFaultWish): void
  /** These operations, and no others, are refused from now on, as by a policy. */
  deny(...operations: string[]): void
  /** Runs once, just before the next operation of this name is carried out. */
  beforeNext(operation: string, work: () => void): void
  /** The next answers so many are lost on the way back, after they took effect. */
  loseNext(times: number): void
  /** Writes as others do: a new current version. */
  write(name: string, text: string): void
  read(name: string): string | undefined
  /** Which version has which label. */
  stages(name: string): Record<string, string>
  arn(name: string): string
  /** A name whose deletion the service has not finished: so many attempts to make it again are refused. */
  lingerAfterDelete(attempts: number): void
  stop(): Promise<void>
}

export type AwsFaultWish = { status: number; type: string; message: string }

export const awsFaults = {
  throttled: { status: 400, type: 'ThrottlingException', message: 'Rate exceeded' },
  denied: {
    status: 400,
    type: 'AccessDeniedException',
    message:
      'User: arn:aws:iam::123456789012:user/broker is not authorized to perform: secretsmanager:GetSecretValue',
  },
  expired: {
    status: 400,
    type: 'ExpiredTokenException',
    message: 'The security token included in the request is expired',
  },
  internal: { status: 500, type: 'InternalServiceError', message: 'An error occurred on the server side.' },
} as const satisfies Record<string, AwsFaultWish>

export const awsBehaviours = {
  hangs: () => {},
  hangsUp: (req: IncomingMessage) => void req.socket.destroy(),
  isNotAws: (_: IncomingMessage, res: ServerResponse) => void res.end('<html>It works!</html>'),
}

type Secret = { arn: string; versions: Map<string, string>; stages: Map<string, string> }
type Input = Record<string, unknown>

class Fault extends Error {
  readonly wish: AwsFaultWish
  constructor(type: string, message: string) {
    super(message)
    this.wish = { status: 400, type, message }
  }
}

const notFound = (): Fault =>
  new Fault('ResourceNotFoundException', "Secrets Manager can't find the specified secret.")

const REGION = 'eu-central-1'

export async function startAwsSecrets(): Promise<AwsSecretsServer> {
  const secrets = new Map<string, Secret>()
  const lingering = new Map<string, number>()
  const requests: string[] = []
  let behaviour: RequestListener | undefined
  let failing: { times: number; fault: AwsFaultWish } | undefined
  const before = new Map<string, () => void>()
  let denied: string[] = []
  let losing = 0
  let lingerAttempts = 0

  const find = (id: unknown): Secret => {
    const found = [...secrets].find(([name, { arn }]) => name === id || arn === id)?.[1]
    if (!found) throw notFound()
    return found
  }

  /** False when the version is there already with this text; with another it is refused. */
  const addVersion = (secret: Secret, id: string, text: string): boolean => {
    if (!/^[\w-]{32,64}$/.test(id)) {
      throw new Fault('InvalidParameterException', 'ClientRequestToken must be 32-64 characters long.')
    }
    const there = secret.versions.get(id)
    if (there !== undefined && there !== text) {
      throw new Fault(
        'ResourceExistsException',
        `You can't modify an existing version, you can only create a new version. Version ${id} already exists.`,
      )
    }
    secret.versions.set(id, text)
    return there === undefined
  }

  const label = (secret: Secret, stage: string, id: string): void => {
    const before = secret.stages.get(stage)
    if (stage === 'AWSCURRENT' && before !== undefined && before !== id)
      secret.stages.set('AWSPREVIOUS', before)
    secret.stages.set(stage, id)
  }

  const operations: Record<string, (input: Input) => unknown> = {
    CreateSecret({ Name, ClientRequestToken, SecretString }) {
      const name = String(Name)
      const left = lingering.get(name) ?? 0
      if (left > 0) {
        lingering.set(name, left - 1)
        throw new Fault(
          'InvalidRequestException',
          "You can't create this secret because a secret with this name is already scheduled for deletion.",
        )
      }
      const there = secrets.get(name)
      if (there && there.versions.get(String(ClientRequestToken)) !== SecretString) {
        throw new Fault(
          'ResourceExistsException',
          `The operation failed because the secret ${name} already exists.`,
        )
      }
      const suffix = randomBytes(3).toString('hex')
      const arn = `arn:aws:secretsmanager:${REGION}:123456789012:secret:${name}-${suffix}`
      const secret = there ?? { arn, versions: new Map(), stages: new Map() }
      if (addVersion(secret, String(ClientRequestToken), String(SecretString))) {
        label(secret, 'AWSCURRENT', String(ClientRequestToken))
      }
      secrets.set(name, secret)
      return { ARN: secret.arn, Name: name, VersionId: ClientRequestToken }
    },

    GetSecretValue({ SecretId, VersionStage = 'AWSCURRENT' }) {
      if ((lingering.get(String(SecretId)) ?? 0) > 0 && !secrets.has(String(SecretId))) {
        throw new Fault(
          'InvalidRequestException',
          "You can't perform this operation on the secret because it was marked for deletion.",
        )
      }
      const secret = find(SecretId)
      const id = secret.stages.get(String(VersionStage))
      if (id === undefined) throw notFound()
      const stages = [...secret.stages].filter(([, version]) => version === id).map(([stage]) => stage)
      return { ARN: secret.arn, VersionId: id, SecretString: secret.versions.get(id), VersionStages: stages }
    },

    PutSecretValue({ SecretId, ClientRequestToken, SecretString, VersionStages = ['AWSCURRENT'] }) {
      const secret = find(SecretId)
      const id = String(ClientRequestToken)
      if (addVersion(secret, id, String(SecretString))) {
        for (const stage of VersionStages as string[]) label(secret, stage, id)
      }
      return { ARN: secret.arn, VersionId: id, VersionStages }
    },

    UpdateSecretVersionStage({ SecretId, VersionStage, RemoveFromVersionId, MoveToVersionId }) {
      const secret = find(SecretId)
      const stage = String(VersionStage)
      const at = secret.stages.get(stage)
      if (at !== undefined && at !== RemoveFromVersionId) {
        throw new Fault(
          'InvalidParameterException',
          `The parameter RemoveFromVersionId can't be empty. Staging label ${stage} is currently attached to version ${at}, so you must explicitly reference that version in RemoveFromVersionId.`,
        )
      }
      if (MoveToVersionId === undefined) secret.stages.delete(stage)
      else label(secret, stage, String(MoveToVersionId))
      return { ARN: secret.arn }
    },

    DeleteSecret({ SecretId, ForceDeleteWithoutRecovery }) {
      if (ForceDeleteWithoutRecovery !== true)
        throw new Fault('InvalidParameterException', 'only for good, here')
      const name = [...secrets].find(([each, { arn }]) => each === SecretId || arn === SecretId)?.[0]
      if (name !== undefined) {
        secrets.delete(name)
        lingering.set(name, lingerAttempts)
      }
      return {}
    },
  }

  const answer = (operation: string, headers: IncomingMessage['headers'], input: Input): unknown => {
    const { authorization = '' } = headers
    const scope = `/${REGION}/secretsmanager/aws4_request`
    if (!authorization.startsWith('AWS4-HMAC-SHA256 Credential=') || !authorization.includes(scope)) {
      throw new Fault('MissingAuthenticationTokenException', 'Missing Authentication Token')
    }
    if (failing && failing.times > 0) {
      failing.times -= 1
      throw Object.assign(new Fault('', ''), { wish: failing.fault })
    }
    if (denied.includes(operation)) {
      throw new Fault(
        'AccessDeniedException',
        `User is not authorized to perform: secretsmanager:${operation}`,
      )
    }
    const first = before.get(operation)
    before.delete(operation)
    first?.()
    const run = operations[operation]
    if (!run) throw new Fault('UnknownOperationException', operation)
    return run(input)
  }

  const serve: RequestListener = (req, res) => {
    const operation = String(req.headers['x-amz-target'] ?? '').replace(/^secretsmanager\./, '')
    void readJson(req).then((input) => {
      requests.push(`${operation} ${String(input.SecretId ?? input.Name ?? '')}`)
      if (behaviour) return behaviour(req, res)
      const { status, body } = settled(() => answer(operation, req.headers, input))
      if (losing > 0) {
        losing -= 1
        req.socket.destroy()
        return
      }
      res.writeHead(status, { 'content-type': 'application/x-amz-json-1.1', 'x-amzn-requestid': 'test' })
      res.end(JSON.stringify(body))
    })
  }

  // Where the SDK looks first; any will do.
  process.env.AWS_ACCESS_KEY_ID ??= 'AKIAIOSFODNN7EXAMPLE'
  process.env.AWS_SECRET_ACCESS_KEY ??= 'a-key-of-the-test'
  const server = createServer(serve)
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo

  return {
    url: `http://127.0.0.1:${port}`,
    region: REGION,
    requests,
    behave(how) {
      behaviour = how
    },
    failNext(times, fault) {
      failing = { times, fault }
    },
    deny(...operations) {
      denied = operations
    },
    beforeNext: (operation, work) => void before.set(operation, work),
    loseNext(times) {
      losing = times
    },
    write(name, text) {
      const token = { ClientRequestToken: randomBytes(16).toString('hex'), SecretString: text }
      if (secrets.has(name)) operations.PutSecretValue?.({ SecretId: name, ...token })
      else operations.CreateSecret?.({ Name: name, ...token })
    },
    read(name) {
      const secret = secrets.get(name)
      return secret?.versions.get(secret.stages.get('AWSCURRENT') ?? '')
    },
    stages: (name) => Object.fromEntries(find(name).stages),
    arn: (name) => find(name).arn,
    lingerAfterDelete(attempts) {
      lingerAttempts = attempts
    },
    async stop() {
      server.closeAllConnections()
      server.close()
      await once(server, 'close')
    },
  }
}

function settled(run: () => unknown): { status: number; body: unknown } {
  try {
    return { status: 200, body: run() }
  } catch (error) {
    if (!(error instanceof Fault)) throw error
    const { status, type, message } = error.wish
    // The service's own errors have a capital, those of every service have none.
    return { status, body: { __type: type, Message: message, message } }
  }
}

async function readJson(req: IncomingMessage): Promise<Input> {
  const chunks: Buffer[] = []
  for await (const chunk of req) chunks.push(chunk as Buffer)
  return JSON.parse(Buffer.concat(chunks).toString() || '{}') as Input
}

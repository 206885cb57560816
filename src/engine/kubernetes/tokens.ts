import { formatDuration } from '../../lib/duration.ts'
import { isObject } from '../../lib/objects.ts'
import { type Sensitive, sensitive } from '../../lib/sensitive.ts'
import { type Created, EngineError, type Lane, type Spec } from '../engine.ts'
import type { Api } from './api.ts'
import { placeOf } from './name.ts'
import { readMode } from './role.ts'

/** API servers refuse to sign tokens that live shorter. */
const LEAST_TOKEN_S = 600
/** A token whose life differs from its lease's by less is not worth a word; times in tokens are whole seconds. */
const TOLERANCE_S = 5

export type Holder = { namespace: string; serviceAccount: string; secretName: string }

/** Whose tokens a lease gives: those of an account it was made for, or of one that was there before. */
export function holderOf(role: Spec, account: { name: string }): Holder {
  const { namespace, name } = placeOf(account)
  const mode = readMode(role)
  return {
    namespace,
    serviceAccount: mode.kind === 'existing' ? mode.serviceAccount : name,
    secretName: name,
  }
}

type Token = { text: Sensitive; lifetimeSeconds: number }

/** A token that the API server takes only as long as the lease's Secret is there, of the given UID where one is. */
export async function requestToken(
  api: Api,
  lane: Lane,
  ask: {
    holder: Holder
    secretUid: string | null
    audiences: readonly string[]
    seconds: number
    withinMs?: number
  },
): Promise<Token> {
  const { namespace, serviceAccount, secretName } = ask.holder
  const bound = {
    apiVersion: 'v1',
    kind: 'Secret',
    name: secretName,
    ...(ask.secretUid && { uid: ask.secretUid }),
  }
  const { body } = await api.ask(lane, {
    method: 'POST',
    path: `/api/v1/namespaces/${namespace}/serviceaccounts/${serviceAccount}/token`,
    body: {
      apiVersion: 'authentication.k8s.io/v1',
      kind: 'TokenRequest',
      spec: { audiences: ask.audiences, expirationSeconds: ask.seconds, boundObjectRef: bound },
    },
    ...(ask.withinMs !== undefined && { withinMs: ask.withinMs }),
  })
  const token = isObject(body.status) ? body.status.token : undefined
  if (typeof token !== 'string') throw new EngineError('blocked', 'the API server answers no token')
  return { text: sensitive(token), lifetimeSeconds: lifetimeIn(token) }
}

/** As the token itself says: the server may give less than was asked for, or more. */
function lifetimeIn(token: string): number {
  try {
    const { exp, iat } = JSON.parse(Buffer.from(token.split('.')[1] ?? '', 'base64url').toString()) as Spec
    if (typeof exp === 'number' && typeof iat === 'number' && exp > iat) return exp - iat
  } catch {
    // Its own text would quote the token.
  }
  throw new EngineError('blocked', 'the API server answers a token that does not say how long it lives')
}

/** The token for a lease that is to live so long, and what is to be said of it. */
export async function leaseToken(
  api: Api,
  ask: {
    account: { name: string }
    role: Spec
    asked: Spec
    secretUid: string
    lifetimeMs: number
    withinMs?: number
  },
): Promise<Created> {
  const holder = holderOf(ask.role, ask.account)
  const wantedSeconds = Math.ceil(ask.lifetimeMs / 1_000)
  const token = await requestToken(api, 'issuing', {
    holder,
    secretUid: ask.secretUid,
    audiences: audiencesOf(ask),
    seconds: Math.max(LEAST_TOKEN_S, wantedSeconds),
    ...(ask.withinMs !== undefined && { withinMs: ask.withinMs }),
  })
  return {
    targetRef: ask.secretUid,
    secret: {
      service_account_name: holder.serviceAccount,
      service_account_namespace: holder.namespace,
      service_account_token: token.text,
    },
    ...(token.lifetimeSeconds < wantedSeconds && { lifetimeMs: token.lifetimeSeconds * 1_000 }),
    warnings: warningsFor(token.lifetimeSeconds, wantedSeconds),
  }
}

const audiencesOf = ({ role, asked }: { role: Spec; asked: Spec }): string[] => {
  const wanted = asked.audiences as string[] | undefined
  return wanted && wanted.length > 0 ? wanted : ((role.token_default_audiences as string[] | undefined) ?? [])
}

/** The dialect's texts, to the letter. */
function warningsFor(tokenSeconds: number, wantedSeconds: number): string[] {
  const said = (is: string) =>
    `the created Kubernetes service accout token TTL ${formatDuration(tokenSeconds)} is ${is} than the Vault lease TTL ${formatDuration(wantedSeconds)}`
  if (tokenSeconds > wantedSeconds + TOLERANCE_S) return [said('greater')]
  if (tokenSeconds < wantedSeconds - TOLERANCE_S)
    return [`${said('less')}; capping the lease TTL accordingly`]
  return []
}

/** Whether the API server would let somebody in with the token now. */
export async function isAccepted(api: Api, token: Sensitive): Promise<boolean> {
  const { body } = await api.ask('ending', {
    method: 'POST',
    path: '/apis/authentication.k8s.io/v1/tokenreviews',
    body: { apiVersion: 'authentication.k8s.io/v1', kind: 'TokenReview', spec: { token: token.reveal() } },
  })
  return isObject(body.status) && body.status.authenticated === true
}

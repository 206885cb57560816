import {
  authorizationCodeGrant,
  ClientError,
  type Configuration,
  ResponseBodyError,
  WWWAuthenticateChallengeError,
} from 'openid-client'
import { messageOf } from '../../lib/errors.ts'
import { isObject } from '../jwt/fields.ts'
import { LoginRefused, type RefusalReason } from '../jwt/refusal.ts'
import type { Pending } from './pending.ts'
import { faultBehind } from './provider-fetch.ts'

/** Stands for the address the person came back to; only its query is read. */
const CALLBACK = 'https://callback.invalid/'

/**
 * Trades a code for the tokens of the person who signed in. Of the id token, openid-client has checked the issuer,
 * audience, authorised party, times and nonce; the signature it has not. Throws `LoginRefused`.
 */
export async function exchangeCode(
  client: Configuration,
  code: string,
  { codeVerifier, nonce }: Pick<Pending, 'codeVerifier' | 'nonce'>,
): Promise<{ idToken: string; accessToken: string }> {
  const callback = new URL(CALLBACK)
  callback.searchParams.set('code', code)
  try {
    const tokens = await authorizationCodeGrant(client, callback, {
      pkceCodeVerifier: codeVerifier,
      expectedNonce: nonce,
      idTokenExpected: true,
    })
    return { idToken: tokens.id_token ?? '', accessToken: tokens.access_token }
  } catch (error) {
    throw refusalFor(error)
  }
}

const REASON_BY_CLAIM: Readonly<Record<string, RefusalReason>> = {
  nonce: 'wrong_nonce',
  iss: 'wrong_issuer',
  aud: 'wrong_audience',
  azp: 'wrong_audience',
  exp: 'expired',
  nbf: 'not_yet_valid',
}

/** What openid-client found wrong, as a reason of ours. What it did not find stays as it is: a fault to look into. */
function refusalFor(error: unknown): unknown {
  const fault = faultBehind(error)
  if (fault) return new LoginRefused('provider_unreachable', fault.message, { cause: error })
  if (error instanceof ResponseBodyError) {
    return new LoginRefused('code_refused', errorCode(error.error), { cause: error })
  }
  if (error instanceof WWWAuthenticateChallengeError) {
    return new LoginRefused('code_refused', `answers ${error.status}`, { cause: error })
  }
  if (!(error instanceof ClientError)) return error
  if (error.code === 'OAUTH_RESPONSE_IS_NOT_CONFORM' || error.code === 'OAUTH_RESPONSE_IS_NOT_JSON') {
    return new LoginRefused('provider_unreachable', `token endpoint: ${error.message}`, { cause: error })
  }
  return tokenRefusal(error)
}

/** openid-client puts the claim or header it minds into the cause of the cause. */
function tokenRefusal(error: ClientError): LoginRefused {
  const { cause } = error
  const found = cause instanceof Error && isObject(cause.cause) ? cause.cause : {}
  const reason = typeof found.claim === 'string' ? REASON_BY_CLAIM[found.claim] : undefined
  if (reason) return new LoginRefused(reason, '', { cause: error })
  const isAboutAlgorithm = isObject(found.header) && found.expected !== undefined
  if (isAboutAlgorithm) return new LoginRefused('algorithm_not_allowed', '', { cause: error })
  return new LoginRefused('malformed_token', messageOf(cause ?? error), { cause: error })
}

/** RFC 6749, 5.2: the characters an error code is made of. Anything else came from someone who may want it in our logs. */
export const errorCode = (text: string): string =>
  /^[\x20\x21\x23-\x5b\x5d-\x7e]{1,64}$/.test(text) ? text : 'an error code that is none'

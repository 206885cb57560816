import { ClientError, type Configuration, fetchUserInfo, WWWAuthenticateChallengeError } from 'openid-client'
import { messageOf } from '../../lib/errors.ts'
import type { Claims } from '../jwt/claims.ts'
import { readClaims } from '../jwt/payload.ts'
import { LoginRefused } from '../jwt/refusal.ts'
import { faultBehind } from './provider-fetch.ts'

/** What a token says of itself and of the sign-in: only the signed one is believed about that. */
const ABOUT_THE_TOKEN = new Set(
  'iss aud azp exp nbf iat jti nonce auth_time acr amr at_hash c_hash s_hash sid'.split(' '),
)
const NOT_FOR_THIS_TOKEN = [401, 403, 404, 405]

/**
 * What the provider says of a person beyond the id token; nothing where it has no place for that or does not open it
 * to this token. Any other failure refuses the login (`LoginRefused`): a person whose claims come and go with the
 * weather could slip past a rule that denies by claim.
 */
export async function userinfoClaims(
  client: Configuration,
  accessToken: string,
  subject: string,
): Promise<Claims> {
  if (client.serverMetadata().userinfo_endpoint === undefined) return {}
  try {
    const userinfo = await fetchUserInfo(client, accessToken, subject)
    const claims = readClaims(Buffer.from(JSON.stringify(userinfo)))
    return Object.fromEntries(Object.entries(claims).filter(([name]) => !ABOUT_THE_TOKEN.has(name)))
  } catch (error) {
    if (NOT_FOR_THIS_TOKEN.includes(statusBehind(error))) return {}
    throw refusalFor(error)
  }
}

function statusBehind(error: unknown): number {
  if (error instanceof WWWAuthenticateChallengeError) return error.status
  return error instanceof ClientError && error.cause instanceof Response ? error.cause.status : 0
}

/** Of an error that is not openid-client's own, nothing is kept: its text may quote the access token. */
function refusalFor(error: unknown): LoginRefused {
  if (error instanceof LoginRefused) return error
  const fault = faultBehind(error)
  if (!fault && !(error instanceof ClientError)) {
    return new LoginRefused('provider_unreachable', 'userinfo: the access token or the answer cannot be used')
  }
  if (error instanceof ClientError && error.code === 'OAUTH_JSON_ATTRIBUTE_COMPARISON_FAILED') {
    return new LoginRefused('userinfo_of_another', '', { cause: error })
  }
  return new LoginRefused('provider_unreachable', `userinfo: ${messageOf(fault ?? error)}`, { cause: error })
}

import { randomUUID } from 'node:crypto'
import type { JWTPayload } from 'jose'
import type { ApiAnswer, TestBroker } from './broker.ts'
import type { SigningKey } from './oidc-issuer.ts'

export const RISC = 'https://schemas.openid.net/secevent/risc/event-type/'
export const CAEP = 'https://schemas.openid.net/secevent/caep/event-type/'
export const AUDIENCE = 'https://broker.example/events'

/** A transmitter of Security Event Tokens, to one mount of a broker. */
export type Transmitter = {
  /** A token as it should be, with other claims or headers, or signed by another key. */
  token(claims?: JWTPayload, options?: { by?: SigningKey; header?: Record<string, unknown> }): Promise<string>
  push(token: string, headers?: Record<string, string>): Promise<ApiAnswer>
  /** Says something of a person of its own, which has to be taken. */
  says(type: string, sub: string, payload?: object, claims?: JWTPayload): Promise<ApiAnswer>
}

export function transmitter(
  at: Pick<TestBroker, 'api' | 'ledger'>,
  { issuer, key, mount }: { issuer: string; key: SigningKey; mount: string },
): Transmitter {
  const token: Transmitter['token'] = async (claims = {}, { by = key, header = {} } = {}) => {
    const iat = Math.floor((await at.ledger.now()).getTime() / 1_000)
    const defaults = { iss: issuer, aud: AUDIENCE, iat, jti: randomUUID() }
    return by.sign({ ...defaults, ...claims }, { typ: 'secevent+jwt', kid: by.jwk.kid, ...header })
  }
  const push: Transmitter['push'] = (text, headers = {}) =>
    at.api('POST', `auth/${mount}/events`, text, {
      'Content-Type': 'application/secevent+jwt',
      'X-Vault-Token': '',
      ...headers,
    })
  return {
    token,
    push,
    async says(type, sub, payload = {}, claims = {}) {
      const sub_id = { format: 'iss_sub', iss: issuer, sub }
      const answer = await push(await token({ sub_id, events: { [type]: payload }, ...claims }))
      if (answer.status !== 202 || answer.text !== '') throw new Error(`${answer.status} ${answer.text}`)
      return answer
    },
  }
}

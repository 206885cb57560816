import { BrokerError } from '../lib/errors.ts'
import { isObject } from '../lib/objects.ts'
import { sensitive } from '../lib/sensitive.ts'
import { readParameters } from './body.ts'
import { isSecure, setCookie } from './console-guard.ts'
import { mountOf, textOf, tokenOf } from './console-oidc.ts'
import { SESSION_COOKIE, SESSION_PLACE, sessionOf, type Visit } from './console-visit.ts'
import { jsonReply } from './envelope.ts'

/** Sign-in by a security key: the dialect's own endpoints, of which the browser keeps no token, only a session. */

/** `POST /ui/session/webauthn/begin`: what the browser is to ask a key. */
export async function beginKey(visit: Visit): Promise<void> {
  const sent = await readParameters(visit.req, 'update', new URLSearchParams())
  const mount = await mountOf(visit, 'webauthn', textOf(sent, 'mount'))
  await visit.enter({ url: `/v1/auth/${mount}login/begin`, token: undefined, parameters: {} })
}

/** `POST /ui/session/webauthn/finish`: a session for whoever showed a key; in place of one that the browser had. */
export async function finishKey(visit: Visit): Promise<void> {
  const { parts, req, res, enter } = visit
  const sent = await readParameters(req, 'update', new URLSearchParams())
  const mount = await mountOf(visit, 'webauthn', textOf(sent, 'mount'))
  const { credential } = sent
  if (!isObject(credential)) throw new BrokerError('invalid_request', 'missing credential')
  const before = await sessionOf(visit)
  await enter({
    url: `/v1/auth/${mount}login/finish`,
    token: undefined,
    parameters: { credential },
    finish: async (reply) => {
      const token = tokenOf(reply)
      if (token === undefined) throw new BrokerError('invalid_request', 'the sign-in gave no token')
      const { cookie } = await parts.sessions.begin(sensitive(token), { way: 'webauthn', mount })
      if (before) await parts.sessions.end(before.id)
      setCookie(res, SESSION_COOKIE, cookie.reveal(), { ...SESSION_PLACE, secure: isSecure(req) })
      return jsonReply(200, { signed_in: true })
    },
  })
}

import { about } from '../audit/request.ts'
import type { Access } from '../breakglass/access.ts'
import type { SecurityEvents } from '../identity/events/receiver.ts'
import { SetRefused } from '../identity/events/refusal.ts'
import { loginContext } from './auth-roles.ts'
import { defaulted, type Fields, text } from './fields.ts'
import { type Answer, handleOpen, type Route } from './route.ts'

const SET = { set: defaulted(text, '') } satisfies Fields

/**
 * Where an issuer pushes what it has to say of its people (RFC 8935), relative to the mount they log in by. Its token is
 * the body; who sends it does not matter. 202 once all that comes of it is in the ledger.
 */
export const securityEventRoute = ({
  securityEvents,
  grantAccess,
}: {
  securityEvents: SecurityEvents
  grantAccess: Pick<Access, 'identityEvents'>
}): Route => ({
  path: 'events',
  on: {
    update: handleOpen(
      SET,
      async (call): Promise<Answer> => {
        const { mount, reading } = loginContext(call)
        try {
          const event = await securityEvents.read({ mount, token: call.fields.set, reading })
          await grantAccess.identityEvents.take(event)
        } catch (error) {
          if (!(error instanceof SetRefused)) throw error
          const { err, reason, message: description } = error
          about({ details: { err, reason } })
          return { status: 400, bare: { err, description }, inEnglish: true, refusal: error }
        }
        return { status: 202 }
      },
      { signed: true },
    ),
  },
})

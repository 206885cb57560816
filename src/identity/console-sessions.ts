import { randomBytes } from 'node:crypto'
import {
  dropConsoleSession,
  findConsoleSession,
  insertConsoleSession,
  liveConsoleSessions,
} from '../ledger/console-sessions.ts'
import type { Ledger } from '../ledger/db.ts'
import { dropExpired } from '../ledger/expired.ts'
import { BrokerError } from '../lib/errors.ts'
import { openText, sealText } from '../lib/sealed-text.ts'
import { type Sensitive, sensitive } from '../lib/sensitive.ts'
import { tokenIdOf } from './authenticate.ts'

/** How a session came by its token. Only one that the console's own sign-in made is the console's to end. */
export type SignedInBy =
  | { way: 'token' }
  | { way: 'oidc'; mount: string; role: string }
  | { way: 'webauthn'; mount: string }

/** A browser that is signed in. `id` is no secret; the cookie is. */
export type ConsoleSession = {
  id: string
  token: Sensitive
  signedInBy: SignedInBy
  expiresAt: Date
}

/**
 * Browsers that are signed in to the console. The ledger keeps the hash of the cookie, and the token under a key
 * derived from the cookie: a copy of the ledger opens nothing, and a cookie that was signed out opens nothing either.
 */
export type ConsoleSessions = {
  /** A new session for a token; throws 403 when that is over. The cookie is told here and never again. */
  begin(token: Sensitive, signedInBy: SignedInBy): Promise<{ cookie: Sensitive; session: ConsoleSession }>
  /** Whose cookie it is; undefined for one that is over, signed out or made up. */
  find(cookie: string): Promise<ConsoleSession | undefined>
  end(id: string): Promise<void>
  /** Those of `ids` that still stand, their tokens too. */
  standing(ids: readonly string[]): Promise<Set<string>>
  /** For the sweep. */
  dropExpired(): Promise<number>
}

/** A working day: whoever is called at night does not meet a session of the morning. */
const LONGEST_SECONDS = 12 * 3_600

const COOKIE_BYTES = 32
const COOKIE = /^[\w-]{43}$/
const PURPOSE = 'leasehold/console-session/v1'

export const createConsoleSessions = (ledger: Ledger): ConsoleSessions => ({
  async begin(token, signedInBy) {
    const cookie = randomBytes(COOKIE_BYTES).toString('base64url')
    const [id, tokenId] = [tokenIdOf(cookie), tokenIdOf(token.reveal())]
    const text = JSON.stringify({ token: token.reveal(), signedInBy })
    const sealed = sealText(cookie, PURPOSE, text, [id, tokenId])
    const expiresAt = await insertConsoleSession(ledger, { id, tokenId, sealed, seconds: LONGEST_SECONDS })
    if (!expiresAt) throw new BrokerError('permission_denied', 'invalid token')
    return { cookie: sensitive(cookie), session: { id, token, signedInBy, expiresAt } }
  },
  async find(cookie) {
    if (!COOKIE.test(cookie)) return undefined
    const id = tokenIdOf(cookie)
    const row = await findConsoleSession(ledger, id)
    const held = row && opened(cookie, row)
    return held && { id, expiresAt: row.expiresAt, signedInBy: held.signedInBy, token: sensitive(held.token) }
  },
  async end(id) {
    await dropConsoleSession(ledger, id)
  },
  standing: (ids) => liveConsoleSessions(ledger, ids),
  dropExpired: () => dropExpired(ledger, 'console_session'),
})

/** A row that somebody wrote into the ledger opens with no cookie, and so is no session. */
function opened(
  cookie: string,
  { id, tokenId, sealed }: { id: string; tokenId: string; sealed: Buffer },
): { token: string; signedInBy: SignedInBy } | undefined {
  try {
    return JSON.parse(openText(cookie, PURPOSE, sealed, [id, tokenId]))
  } catch {
    return undefined
  }
}

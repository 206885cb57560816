import type { ServerResponse } from 'node:http'
import type { ConsoleSession } from '../identity/console-sessions.ts'
import { BrokerError } from '../lib/errors.ts'
import { sensitive } from '../lib/sensitive.ts'
import { readParameters } from './body.ts'
import { consoleFiles } from './console-files.ts'
import { isSecure, setCookie, setSecurityHeaders, whyForeign } from './console-guard.ts'
import { beginOidc, finishOidc } from './console-oidc.ts'
import { consoleRoutes, shownSession } from './console-session.ts'
import { type ConsoleParts, SESSION_COOKIE, SESSION_PLACE, sessionOf, type Visit } from './console-visit.ts'
import { beginKey, finishKey } from './console-webauthn.ts'
import type { Console, Entrance } from './entrance.ts'
import { errorReply, errorsReply, jsonReply, send, type WireReply } from './envelope.ts'
import { parseBool } from './fields.ts'
import type { Principal } from './ports.ts'

/**
 * The operators' pages under `/ui/`, and what they call. What they ask of the API goes the way of every other request,
 * with the token that the session holds: checks, limits and the record are the same.
 */
export function createConsole(parts: ConsoleParts): Console {
  const files = consoleFiles(parts.folder)
  const own = ownTable(parts)
  return {
    takes: (url) => /^\/ui(?:[/?]|$)/.test(url),
    async serve(req, res, enter) {
      const visit: Visit = { parts, req, res, enter, own }
      const [path = ''] = req.originalUrl.split('?', 1)
      if (path === '/ui') return toFolder(res)
      const call = callOf(path)
      if (!call) return files(req, res, path.slice('/ui/'.length))
      setSecurityHeaders(res)
      try {
        const why = call.crosses ? undefined : whyForeign(req, { header: call.header })
        if (why !== undefined) return send(res, errorsReply(403, [why]))
        await call.serve(visit)
      } catch (error) {
        // What reaches this came before the request was one of the API's: a body that cannot be read, a ledger that is away.
        if (res.headersSent) throw error
        send(res, errorReply(error, { requestId: '', proven: false }))
      }
    },
  }
}

function toFolder(res: ServerResponse): void {
  setSecurityHeaders(res)
  res.setHeader('Location', '/ui/')
  send(res, { status: 308 })
}

const MOUNT = {
  id: 'ui',
  accessor: 'console_ui',
  path: 'ui/',
  type: 'console',
  description: 'the operators’ console',
  config: {},
  options: null,
}

function ownTable(parts: ConsoleParts): Visit['own'] {
  const routes = consoleRoutes(parts)
  return () => ({ findMount: async () => MOUNT, routesOf: () => routes })
}

/**
 * All but logins and tokens: what they answer with is the very token that the cookie keeps from the page's scripts, and
 * another like it. Of what lies below `auth/`, people see to their own keys.
 */
const WITHOUT_TOKENS: NonNullable<Entrance['reaches']> = ({ findMount, routesOf }) => ({
  findMount,
  routesOf: (type, path) => {
    const routes = routesOf(type, path)
    if (!path.startsWith('auth/')) return routes
    return type === 'webauthn' ? routes.filter((route) => /^(?:keys|register)(?:\/|$)/.test(route.path)) : []
  },
})

type Call = {
  serve(visit: Visit): Promise<void>
  /** Whether the header that no other site can send has to be there. */
  header: boolean
  /** Comes from another site by its nature. */
  crosses?: true
}

const METHODS: Readonly<Record<string, Call['serve']>> = { GET: readSession, POST: signIn, DELETE: signOut }

const CALLS: Readonly<Record<string, Call>> = {
  '/ui/session': {
    header: true,
    serve: (visit) => (METHODS[visit.req.method ?? ''] ?? notAllowed)(visit),
  },
  '/ui/session/methods': { header: true, serve: only('GET', readMethods) },
  '/ui/session/oidc': { header: true, serve: only('POST', beginOidc) },
  '/ui/session/webauthn/begin': { header: true, serve: only('POST', beginKey) },
  '/ui/session/webauthn/finish': { header: true, serve: only('POST', finishKey) },
  '/ui/oidc/callback': { header: false, crosses: true, serve: only('GET', finishOidc) },
  '/ui/events': { header: false, serve: only('GET', follow) },
}

const API: Call = { header: true, serve: callApi }

const callOf = (path: string): Call | undefined => (path.startsWith('/ui/v1/') ? API : CALLS[path])

function only(method: string, serve: Call['serve']): Call['serve'] {
  return (visit) => (visit.req.method === method ? serve(visit) : notAllowed(visit))
}

async function notAllowed({ res }: Visit): Promise<void> {
  send(res, errorsReply(405, ['this is not asked for by that method']))
}

/** A page has to tell "sign in again" from "you may not": whoever is not known is told 401. */
const knownOr401: NonNullable<Entrance['told']> = (reply, { principal }) =>
  reply.status === 403 && !principal ? NOT_SIGNED_IN : reply

const NOT_SIGNED_IN: WireReply = errorsReply(401, ['not signed in, or the session is over'])

async function callApi(visit: Visit): Promise<void> {
  const session = await sessionOf(visit)
  await visit.enter({
    url: visit.req.originalUrl.slice('/ui'.length),
    token: session?.token.reveal(),
    reaches: WITHOUT_TOKENS,
    told: knownOr401,
  })
}

async function readMethods({ enter, own }: Visit): Promise<void> {
  await enter({ url: '/v1/ui/session/methods', token: undefined, parameters: {}, reaches: own })
}

async function readSession(visit: Visit): Promise<void> {
  const session = await sessionOf(visit)
  await visit.enter({
    url: '/v1/ui/session',
    token: session?.token.reveal(),
    parameters: {},
    reaches: visit.own,
    told: knownOr401,
    finish: async (reply) => (session ? shownSession(reply, session) : NOT_SIGNED_IN),
  })
}

/** Signs in with a token that somebody typed: a new session each time, whatever cookie came along. */
async function signIn(visit: Visit): Promise<void> {
  const { parts, req, res, enter, own } = visit
  const { token } = await readParameters(req, 'update', new URLSearchParams())
  const given = typeof token === 'string' ? token.trim() : ''
  const before = await sessionOf(visit)
  await enter({
    url: '/v1/ui/session',
    token: given || undefined,
    parameters: {},
    reaches: own,
    finish: async (reply) => {
      const { cookie, session } = await parts.sessions.begin(sensitive(given), { way: 'token' })
      if (before) await parts.sessions.end(before.id)
      setCookie(res, SESSION_COOKIE, cookie.reveal(), { ...SESSION_PLACE, secure: isSecure(req) })
      return shownSession(reply, session)
    },
  })
}

/**
 * Ends the session here and in the browser, whether or not its token still lives. A token that the console's sign-in
 * made ends with it, but not at the price of leases that somebody works with: those end only when that is asked for.
 */
async function signOut(visit: Visit): Promise<void> {
  const { parts, req, res, enter, own } = visit
  const session = await sessionOf(visit)
  const sent = await readParameters(req, 'update', new URLSearchParams())
  const query = new URLSearchParams(req.originalUrl.split('?')[1])
  const asked = sent.revoke ?? query.get('revoke') ?? undefined
  const revoke = asked === undefined ? undefined : parseBool(String(asked))
  if (asked !== undefined && revoke === undefined) {
    throw new BrokerError('invalid_request', 'revoke: expected true or false')
  }
  await enter({
    url: '/v1/ui/session',
    token: session?.token.reveal(),
    parameters: {},
    reaches: own,
    told: (reply, request) => {
      setCookie(res, SESSION_COOKIE, '', { ...SESSION_PLACE, seconds: 0, secure: isSecure(req) })
      return knownOr401(reply, request)
    },
    finish: async (_, { principal }) => {
      if (!session || !principal) return NOT_SIGNED_IN
      await parts.sessions.end(session.id)
      const ended = session.signedInBy.way !== 'token' && (await endToken(parts, session, principal, revoke))
      return jsonReply(200, { kept_token: !ended })
    },
  })
}

/** Answers whether it did. One that was typed in is not the console's to end. */
async function endToken(
  { tokens, leasesOfToken }: ConsoleParts,
  { token }: ConsoleSession,
  { tokenId }: Principal,
  revoke: boolean | undefined,
): Promise<boolean> {
  if (!(revoke ?? (await leasesOfToken(tokenId)) === 0)) return false
  await tokens.revoke(token.reveal())
  return true
}

async function follow(visit: Visit): Promise<void> {
  const session = await sessionOf(visit)
  await visit.enter({
    url: '/v1/ui/events',
    token: session?.token.reveal(),
    parameters: {},
    reaches: visit.own,
    told: knownOr401,
    finish: async (reply) => {
      if (!session) return NOT_SIGNED_IN
      const { may_see: maySee } = JSON.parse(reply.body ?? '{}')
      return { status: 200, stream: visit.parts.events.admit(session.id, maySee) }
    },
  })
}

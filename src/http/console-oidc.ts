import { randomBytes } from 'node:crypto'
import { BrokerError } from '../lib/errors.ts'
import { sensitive } from '../lib/sensitive.ts'
import { readParameters } from './body.ts'
import { isSecure, readCookie, setCookie } from './console-guard.ts'
import { SESSION_COOKIE, SESSION_PLACE, sessionOf, type Visit } from './console-visit.ts'
import type { WireReply } from './envelope.ts'
import { jsonReply } from './envelope.ts'

/** Holds, while a person is at the provider, what only their browser may come back with. */
const FLOW_COOKIE = 'leasehold_console_oidc'
/** The way back comes from another site, where a strict cookie would stay at home. */
const FLOW_PLACE = { path: '/ui/oidc/', sameSite: 'Lax' } as const
const FLOW_SECONDS = 600

type Flow = {
  /** The dialect's `client_nonce`: without it the login cannot be ended, whoever saw the address. */
  nonce: string
  mount: string
  role: string
  returnTo: string
  secure: boolean
  /** The session that the new one takes the place of; its hash. */
  replaces: string | undefined
}

const HOME = '/ui/'
const MOUNT_PATH = /^[A-Za-z0-9_][\w.-]*(?:\/[A-Za-z0-9_][\w.-]*)*\/?$/

const invalid = (text: string) => new BrokerError('invalid_request', text)

/** `POST /ui/session/oidc`: where to send the person. By the dialect's own endpoint, which stands on the record. */
export async function beginOidc(visit: Visit): Promise<void> {
  const { req, res, enter } = visit
  const sent = await readParameters(req, 'update', new URLSearchParams())
  const { origin } = req.headers
  if (origin === undefined) throw invalid('a sign-in has to come from a page: there is no Origin')
  const flow: Flow = {
    nonce: randomBytes(24).toString('base64url'),
    mount: await mountOf(visit, 'oidc', textOf(sent, 'mount')),
    role: textOf(sent, 'role'),
    returnTo: safeReturn(textOf(sent, 'return_to')),
    secure: isSecure(req),
    replaces: (await sessionOf(visit))?.id,
  }
  const redirectUri = `${origin}/ui/oidc/callback`
  await enter({
    url: `/v1/auth/${flow.mount}oidc/auth_url`,
    token: undefined,
    parameters: { role: flow.role, redirect_uri: redirectUri, client_nonce: flow.nonce },
    finish: async (reply) => {
      const authUrl = dataOf(reply).auth_url
      if (typeof authUrl !== 'string' || authUrl === '') {
        throw invalid(
          `the sign-in was refused; the role has to serve people and allow ${redirectUri} in allowed_redirect_uris`,
        )
      }
      const value = Buffer.from(JSON.stringify(flow)).toString('base64url')
      setCookie(res, FLOW_COOKIE, value, { ...FLOW_PLACE, seconds: FLOW_SECONDS, secure: flow.secure })
      return jsonReply(200, { auth_url: sent.fresh === true ? askingAnew(authUrl) : authUrl })
    },
  })
}

/** `GET /ui/oidc/callback`: ends the login, and begins a session in the browser that began it. */
export async function finishOidc(visit: Visit): Promise<void> {
  const { parts, req, res, enter } = visit
  const flow = readFlow(readCookie(req, FLOW_COOKIE))
  setCookie(res, FLOW_COOKIE, '', { ...FLOW_PLACE, seconds: 0, secure: flow?.secure ?? isSecure(req) })
  if (!flow) {
    return sendPage(visit, 400, 'This sign-in was not begun in this browser, or it took too long.')
  }
  const query = new URLSearchParams(req.originalUrl.split('?')[1])
  const given = (name: string): string => query.get(name) ?? ''
  const parameters = {
    state: given('state'),
    code: given('code'),
    error: given('error'),
    iss: given('iss'),
    client_nonce: flow.nonce,
  }
  await enter({
    url: `/v1/auth/${flow.mount}oidc/callback`,
    token: undefined,
    parameters,
    finish: async (reply) => {
      const token = tokenOf(reply)
      if (token === undefined) throw invalid('the sign-in gave no token')
      const { cookie } = await parts.sessions.begin(sensitive(token), {
        way: 'oidc',
        mount: flow.mount,
        role: flow.role,
      })
      if (flow.replaces !== undefined) await parts.sessions.end(flow.replaces)
      setCookie(res, SESSION_COOKIE, cookie.reveal(), { ...SESSION_PLACE, secure: flow.secure })
      return onwards(flow.returnTo)
    },
    told: (reply) => (reply.status < 400 ? reply : page(reply.status, whyNot(reply))),
  })
}

/** Of several, which one is for whoever signs in to say. */
export async function mountOf(
  { parts }: Pick<Visit, 'parts'>,
  wanted: 'oidc' | 'webauthn',
  sent: string,
): Promise<string> {
  if (sent !== '') {
    const named = sent.replace(/^auth\//, '')
    if (!MOUNT_PATH.test(named)) throw invalid('mount: expected the path of a mount, such as oidc/')
    return named.endsWith('/') ? named : `${named}/`
  }
  const all = (await parts.mounts.list()).filter(({ type }) => type === wanted)
  const [first, ...more] = all
  if (!first) throw invalid(`nobody signs in so here: no mount of type ${wanted} is enabled`)
  if (more.length > 0) throw invalid(`mount: there are several of type ${wanted}; say which`)
  return first.path.slice('auth/'.length)
}

/** Has the provider ask for proof again, even of somebody who is signed in there. Votes are checked by what it says. */
function askingAnew(authUrl: string): string {
  const url = new URL(authUrl)
  url.searchParams.set('prompt', 'login')
  url.searchParams.set('max_age', '0')
  return url.href
}

/** A page of the console, and nothing else: neither another site nor what the server itself answers. */
export function safeReturn(asked: string): string {
  const here = 'http://console.invalid'
  if (!asked.startsWith('/ui/') || !URL.canParse(asked, here)) return HOME
  const url = new URL(asked, here)
  const { origin, pathname, search, hash } = url
  if (origin !== here || !pathname.startsWith('/ui/')) return HOME
  if (/^\/ui\/+(?:session|v1|events|oidc|assets)(?:\/|$)/.test(pathname)) return HOME
  return `${pathname}${search}${hash}`
}

export const textOf = (sent: Readonly<Record<string, unknown>>, name: string): string => {
  const value = sent[name] ?? ''
  if (typeof value !== 'string') throw invalid(`${name}: expected a text`)
  return value
}

/** It may be anything: whoever has the browser can write cookies. What it says gives no right. */
function readFlow(cookie: string | undefined): Flow | undefined {
  try {
    const flow = JSON.parse(Buffer.from(cookie ?? '', 'base64url').toString('utf8'))
    const { nonce, mount, role, returnTo, secure, replaces } = flow
    if (typeof nonce !== 'string' || typeof role !== 'string' || !MOUNT_PATH.test(mount)) return undefined
    return {
      nonce,
      mount,
      role,
      returnTo: safeReturn(String(returnTo)),
      secure: secure === true,
      replaces: /^[0-9a-f]{64}$/.test(replaces) ? replaces : undefined,
    }
  } catch {
    return undefined
  }
}

const bodyOf = ({ body = '{}' }: WireReply): Record<string, unknown> => JSON.parse(body) ?? {}
const dataOf = (reply: WireReply): Record<string, unknown> => (bodyOf(reply).data ?? {}) as never

export function tokenOf(reply: WireReply): string | undefined {
  const { client_token: token } = (bodyOf(reply).auth ?? {}) as Record<string, unknown>
  return typeof token === 'string' ? token : undefined
}

function whyNot(reply: WireReply): string {
  const { errors } = bodyOf(reply)
  return `The sign-in failed: ${Array.isArray(errors) ? errors.join('; ') : 'no reason was given'}`
}

async function sendPage({ res }: Visit, status: number, sentence: string): Promise<void> {
  const { body, type } = page(status, sentence)
  res.statusCode = status
  res.setHeader('Cache-Control', 'no-store')
  res.setHeader('Content-Type', type as string)
  res.end(body)
}

const HTML = 'text/html; charset=utf-8'

const escaped = (text: string): string =>
  text.replace(/[&<>"']/g, (character) => `&#${character.charCodeAt(0)};`)

const document = (head: string, body: string): string =>
  `<!doctype html><html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">${head}<title>Leasehold</title></head><body>${body}</body></html>\n`

const page = (status: number, sentence: string): WireReply => ({
  status,
  type: HTML,
  body: document('', `<p>${escaped(sentence)}</p><p><a href="/ui/">Back to the console</a></p>`),
})

/**
 * A redirect would still be the other site's navigation, and the strict cookie would not go with it. A page that goes
 * on by itself is ours.
 */
const onwards = (path: string): WireReply => ({
  status: 200,
  type: HTML,
  body: document(
    `<meta http-equiv="refresh" content="0; url=${escaped(path)}">`,
    `<p><a href="${escaped(path)}">Signed in; go on</a></p>`,
  ),
})

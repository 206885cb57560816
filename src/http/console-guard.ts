import type { IncomingMessage, ServerResponse } from 'node:http'
import { isTls } from './headers.ts'

/** What no page of another site can send without being asked first whether it may. */
const HEADER = 'leasehold-console'

/**
 * Why a request is not taken for one of the console's own pages; undefined when it is. The cookie alone is no proof of
 * that, whatever the method: reading a role's path makes an account. Browsers that name the site a request comes from
 * are believed, and so is an `Origin` of this host.
 */
export function whyForeign(req: IncomingMessage, { header }: { header: boolean }): string | undefined {
  if (header && req.headers[HEADER] !== '1') return 'console requests need the header Leasehold-Console: 1'
  const site = req.headers['sec-fetch-site']
  if (site !== undefined && site !== 'same-origin') return 'this request comes from another site'
  const { origin } = req.headers
  if (origin !== undefined) {
    // Behind a proxy that renames the host, the browser's own word above is what counts.
    return site !== undefined || isOfHost(origin, req.headers.host)
      ? undefined
      : 'this request comes from another site'
  }
  const changes = req.method !== 'GET' && req.method !== 'HEAD' && req.method !== 'LIST'
  return changes && site === undefined ? 'console requests that change something need an Origin' : undefined
}

function isOfHost(origin: string, host: string | undefined): boolean {
  return URL.canParse(origin) && host !== undefined && new URL(origin).host === hostOf(origin, host)
}

/** As URLs have it: in lower case, without the port that goes without saying. */
function hostOf(origin: string, host: string): string | undefined {
  const url = `${new URL(origin).protocol}//${host}`
  return URL.canParse(url) ? new URL(url).host : undefined
}

/** For everything under `/ui/`; `csp` is stricter for what is no page. */
export function setSecurityHeaders(res: ServerResponse, csp = NOTHING): void {
  res.setHeader('Content-Security-Policy', csp)
  res.setHeader('Referrer-Policy', 'no-referrer')
  res.setHeader('X-Content-Type-Options', 'nosniff')
  res.setHeader('X-Frame-Options', 'DENY')
  res.setHeader('Cross-Origin-Opener-Policy', 'same-origin')
  res.setHeader('Cross-Origin-Resource-Policy', 'same-origin')
  res.setHeader('Permissions-Policy', PERMISSIONS)
}

const NOTHING =
  "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; object-src 'none'"

const PERMISSIONS =
  'accelerometer=(), camera=(), display-capture=(), geolocation=(), gyroscope=(), magnetometer=(), microphone=(), midi=(), payment=(), usb=()'

/** Of a page. Style elements need the nonce; attributes cannot have one, and can load nothing from elsewhere. */
export const pageCsp = (nonce: string): string =>
  [
    "default-src 'none'",
    "script-src 'self'",
    `style-src 'self' 'nonce-${nonce}'`,
    "style-src-attr 'none'",
    "connect-src 'self'",
    "img-src 'self' data:",
    "font-src 'self'",
    "manifest-src 'self'",
    "frame-ancestors 'none'",
    "base-uri 'none'",
    "form-action 'self'",
    "object-src 'none'",
  ].join('; ')

/**
 * The cookie's value. One name twice comes from somebody who may set cookies for a wider domain, such as a neighbour's
 * host: then neither is believed, or people could be made to work in a session that is not theirs.
 */
export function readCookie(req: IncomingMessage, name: string): string | undefined {
  const values = (req.headers.cookie ?? '')
    .split(';')
    .map((pair) => pair.trim())
    .filter((pair) => pair.startsWith(`${name}=`))
    .map((pair) => pair.slice(name.length + 1))
  return values.length === 1 ? values[0] : undefined
}

export type CookieTerms = {
  path: string
  sameSite: 'Strict' | 'Lax'
  /** Absent: until the browser is closed. 0: at once. */
  seconds?: number
}

export function setCookie(
  res: ServerResponse,
  name: string,
  value: string,
  { path, sameSite, seconds, secure }: CookieTerms & { secure: boolean },
): void {
  const parts = [`${name}=${value}`, `Path=${path}`, 'HttpOnly', `SameSite=${sameSite}`]
  if (seconds !== undefined) parts.push(`Max-Age=${seconds}`)
  if (secure) parts.push('Secure')
  res.appendHeader('Set-Cookie', parts.join('; '))
}

/** Whether the browser reaches us over TLS, be it that a proxy takes it off. */
export const isSecure = (req: IncomingMessage): boolean =>
  isTls(req) || (req.headers.origin ?? '').startsWith('https://')

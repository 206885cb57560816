import { BrokerError } from '../lib/errors.ts'

/** What connection URLs have in common; what a place is differs by the kind of system. */

export const EMBEDDED_PASSWORD_WARNING =
  'Password found in connection_url, use a templated url to enable root rotation and prevent read access to password information.'

export const PASSWORD_SLOT = '{{password}}'

const IS_SLOT = /^\s*\{\{\s*\w+\s*\}\}\s*$/

export const isSlot = (text: string): boolean => IS_SLOT.test(text)

/** A URL with the password it embedded taken out, so that nothing usable is stored. */
export type Lifted = { url: string; password: string | undefined }

/** Never quotes the URL: it may hold a password. */
export const invalidUrl = (reason: string): BrokerError =>
  new BrokerError('invalid_request', `connection_url ${reason}`)

export type UrlParts = {
  scheme: string
  username: string | undefined
  password: string | undefined
  address: string
  path: string
  query: string
}

/** By hand, since WHATWG's parser refuses what drivers take: `postgres://user@/base?host=/run/postgresql`. */
export function splitUrl(text: string): UrlParts {
  const [, scheme, authority, path = '', query = ''] =
    /^(\w+:\/\/)([^/?#]*)(?:\/([^?#]*))?(?:\?([^#]*))?$/.exec(text) ?? []
  if (scheme === undefined || authority === undefined) {
    throw invalidUrl('is not a URL; characters that mean something in a URL must be %-encoded')
  }
  const at = authority.lastIndexOf('@')
  const [, username, password] = at < 0 ? [] : (/^([^:]*)(?::(.*))?$/s.exec(authority.slice(0, at)) ?? [])
  return { scheme, username, password, address: authority.slice(at + 1), path, query }
}

/** Takes the password out of a URL that has it before the host or in a parameter of that name. */
export function liftFromUrl(text: string): Lifted {
  const parts = splitUrl(text)
  const query = new URLSearchParams(parts.query)
  const passwords = [decodeUrl(parts.password ?? ''), ...query.getAll('password')]
  const password = passwords.find((found) => found !== '' && !isSlot(found))
  if (password === undefined) return { url: text, password: undefined }
  query.delete('password')
  const search = query.size > 0 ? `?${query}` : ''
  const url = `${parts.scheme}${parts.username ?? ''}:${PASSWORD_SLOT}@${parts.address}/${parts.path}${search}`
  return { url, password }
}

/** `host:port`, `[::1]:port` or either without a port; undefined when it is none of these. */
export function splitAddress(address: string): { host: string; port: string } | undefined {
  const [, bracketed, plain, port = ''] = /^(?:\[([^\]]*)\]|([^:]*))(?::(\d*))?$/.exec(address) ?? []
  const host = bracketed ?? plain
  return host === undefined ? undefined : { host, port }
}

export function portOf(text: string | undefined, otherwise: number): number {
  const port = Number(text || otherwise)
  if (!Number.isInteger(port) || port < 1 || port > 65_535) throw invalidUrl('has a port that is no port')
  return port
}

export function decodeUrl(text: string): string {
  try {
    return decodeURIComponent(text)
  } catch {
    throw invalidUrl('holds a % that encodes nothing')
  }
}

export const isLocalHost = (host: string): boolean =>
  host.startsWith('/') || ['localhost', '127.0.0.1', '::1'].includes(host)

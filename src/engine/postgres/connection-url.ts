import { BrokerError } from '../../lib/errors.ts'

/** Where a target is, out of either form that libpq and the dialect take: a URL, or `key=value` pairs. */
export type Place = {
  host: string
  port: number
  database: string
  sslmode: string | undefined
  /** As written, perhaps a `{{username}}` slot. */
  username: string | undefined
  /** Parameters we have no use for, by name. */
  ignored: string[]
}

export const EMBEDDED_PASSWORD_WARNING =
  'Password found in connection_url, use a templated url to enable root rotation and prevent read access to password information.'

const PASSWORD_SLOT = '{{password}}'
const SEVERAL_HOSTS = 'must name one host and port; for a cluster, a name that follows the primary'
const IS_SLOT = /^\s*\{\{\s*\w+\s*\}\}\s*$/

/** Never quotes the URL: it may hold a password. */
const invalid = (reason: string): BrokerError =>
  new BrokerError('invalid_request', `connection_url ${reason}`)

const isUrl = (url: string): boolean => /^postgres(ql)?:\/\//i.test(url)

/** Takes a password that stands in the URL out of it, so that nothing usable is stored. */
export function liftPassword(url: string): { url: string; password: string | undefined } {
  return isUrl(url) ? liftFromUrl(url) : liftFromPairs(url)
}

function liftFromUrl(text: string): { url: string; password: string | undefined } {
  const parts = splitUrl(text)
  const query = new URLSearchParams(parts.query)
  const passwords = [decode(parts.password ?? ''), ...query.getAll('password')]
  const password = passwords.find((found) => found !== '' && !IS_SLOT.test(found))
  if (password === undefined) return { url: text, password: undefined }
  query.delete('password')
  const search = query.size > 0 ? `?${query}` : ''
  const url = `${parts.scheme}${parts.username ?? ''}:${PASSWORD_SLOT}@${parts.address}/${parts.path}${search}`
  return { url, password }
}

function liftFromPairs(text: string): { url: string; password: string | undefined } {
  const pairs = parsePairs(text)
  const password = pairs.find(([key, value]) => key === 'password' && value && !IS_SLOT.test(value))?.[1]
  if (password === undefined) return { url: text, password: undefined }
  const rest = pairs.map(([key, value]) => `${key}=${quotePair(key === 'password' ? PASSWORD_SLOT : value)}`)
  return { url: rest.join(' '), password }
}

const quotePair = (value: string): string =>
  /^[^\s'\\]+$/.test(value) ? value : `'${value.replace(/['\\]/g, (mark) => `\\${mark}`)}'`

export function parsePlace(text: string): Place {
  const parameters = new Map<string, string>()
  if (isUrl(text)) {
    const { username, password, address, path, query } = splitUrl(text)
    const [, bracketed, plain, port = ''] = /^(?:\[([^\]]*)\]|([^:]*))(?::(\d*))?$/.exec(address) ?? []
    if (bracketed === undefined && plain === undefined) throw invalid(SEVERAL_HOSTS)
    parameters.set('host', decode(bracketed ?? plain ?? ''))
    parameters.set('port', port)
    parameters.set('user', decode(username ?? ''))
    parameters.set('password', decode(password ?? ''))
    parameters.set('dbname', decode(path))
    for (const [key, value] of new URLSearchParams(query)) parameters.set(key, value)
  } else {
    for (const [key, value] of parsePairs(text)) parameters.set(key, value)
  }
  return placeFrom(parameters)
}

const UNDERSTOOD = new Set(['host', 'port', 'user', 'password', 'dbname', 'sslmode'])
const FILES = ['sslcert', 'sslkey', 'sslrootcert', 'sslcrl', 'service', 'servicefile', 'passfile']

/** Of libpq and pgx: without effect here, and nothing in them is a secret. */
const HARMLESS = new Set(
  `application_name fallback_application_name client_encoding connect_timeout keepalives keepalives_idle
   keepalives_interval keepalives_count tcp_user_timeout target_session_attrs load_balance_hosts channel_binding
   gssencmode krbsrvname sslcompression sslsni sslnegotiation ssl_min_protocol_version ssl_max_protocol_version
   timezone datestyle default_query_exec_mode statement_cache_capacity`.split(/\s+/),
)

/**
 * Whatever we do not know may hold a secret (`sslpassword` does), and would be stored and shown. Not asked of what is
 * stored already, since its leases must still end. An unknown name is not quoted: it may be half a password.
 */
export function refuseUnknown({ ignored }: Place): void {
  const unknown = ignored.filter((name) => !HARMLESS.has(name))
  if (unknown.includes('sslpassword')) {
    throw invalid('must not hold sslpassword: send tls_private_key without a pass phrase instead')
  }
  if (unknown.length > 0) throw invalid('holds a parameter that is not known; leave out all but sslmode')
}

function placeFrom(parameters: ReadonlyMap<string, string>): Place {
  const value = (key: string): string | undefined => parameters.get(key) || undefined
  for (const file of FILES) {
    if (value(file))
      throw invalid(`must not name a file (${file}): send tls_ca, tls_certificate and the like instead`)
  }
  const host = value('host')
  if (!host) throw invalid('names no host')
  if (host.includes(',')) throw invalid(SEVERAL_HOSTS)
  const port = Number(value('port') ?? 5_432)
  if (!Number.isInteger(port) || port < 1 || port > 65_535) throw invalid('has a port that is no port')
  const username = value('user')
  return {
    host,
    port,
    database: value('dbname') ?? 'postgres',
    sslmode: value('sslmode'),
    username: username && IS_SLOT.test(username) ? undefined : username,
    ignored: [...parameters.keys()].filter((key) => !UNDERSTOOD.has(key)),
  }
}

type UrlParts = {
  scheme: string
  username: string | undefined
  password: string | undefined
  address: string
  path: string
  query: string
}

/** By hand, since WHATWG's parser refuses what libpq and pgx take: `postgres://user@/base?host=/run/postgresql`. */
function splitUrl(text: string): UrlParts {
  const [, scheme, authority, path = '', query = ''] =
    /^(\w+:\/\/)([^/?#]*)(?:\/([^?#]*))?(?:\?([^#]*))?$/.exec(text) ?? []
  if (scheme === undefined || authority === undefined) {
    throw invalid('is not a URL; characters that mean something in a URL must be %-encoded')
  }
  const at = authority.lastIndexOf('@')
  const [, username, password] = at < 0 ? [] : (/^([^:]*)(?::(.*))?$/s.exec(authority.slice(0, at)) ?? [])
  return { scheme, username, password, address: authority.slice(at + 1), path, query }
}

function decode(text: string): string {
  try {
    return decodeURIComponent(text)
  } catch {
    throw invalid('holds a % that encodes nothing')
  }
}

/** `key=value key='va lue'`, with backslash escapes, as libpq reads them. */
function parsePairs(text: string): [string, string][] {
  const pairs: [string, string][] = []
  const pair =
    /\s*([a-z_]+)\s*=\s*(?:'((?:[^'\\]|\\[\s\S])*)'|((?:\{\{[^}]*\}\}|[^\s'\\]|\\[\s\S])*))(?=\s|$)\s*/gy
  while (pair.lastIndex < text.length) {
    const match = pair.exec(text)
    if (!match) throw invalid('is neither a postgresql:// URL nor a list of key=value pairs')
    const [, key, quoted, bare] = match
    pairs.push([key as string, (quoted ?? bare ?? '').replace(/\\([\s\S])/g, '$1')])
  }
  if (pairs.length === 0) throw invalid('is empty')
  return pairs
}

import {
  decodeUrl,
  invalidUrl,
  isSlot,
  type Lifted,
  liftFromUrl,
  PASSWORD_SLOT,
  portOf,
  splitAddress,
  splitUrl,
} from '../connection-url.ts'

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

const DEFAULT_PORT = 5_432
const SEVERAL_HOSTS = 'must name one host and port; for a cluster, a name that follows the primary'

const isUrl = (url: string): boolean => /^postgres(ql)?:\/\//i.test(url)

/** Takes a password that stands in the URL out of it, so that nothing usable is stored. */
export function liftPassword(url: string): Lifted {
  return isUrl(url) ? liftFromUrl(url) : liftFromPairs(url)
}

function liftFromPairs(text: string): Lifted {
  const pairs = parsePairs(text)
  const password = pairs.find(([key, value]) => key === 'password' && value && !isSlot(value))?.[1]
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
    const at = splitAddress(address)
    if (!at) throw invalidUrl(SEVERAL_HOSTS)
    parameters.set('host', decodeUrl(at.host))
    parameters.set('port', at.port)
    parameters.set('user', decodeUrl(username ?? ''))
    parameters.set('password', decodeUrl(password ?? ''))
    parameters.set('dbname', decodeUrl(path))
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
    throw invalidUrl('must not hold sslpassword: send tls_private_key without a pass phrase instead')
  }
  if (unknown.length > 0) throw invalidUrl('holds a parameter that is not known; leave out all but sslmode')
}

function placeFrom(parameters: ReadonlyMap<string, string>): Place {
  const value = (key: string): string | undefined => parameters.get(key) || undefined
  for (const file of FILES) {
    if (value(file))
      throw invalidUrl(`must not name a file (${file}): send tls_ca, tls_certificate and the like instead`)
  }
  const host = value('host')
  if (!host) throw invalidUrl('names no host')
  if (host.includes(',')) throw invalidUrl(SEVERAL_HOSTS)
  const username = value('user')
  return {
    host,
    port: portOf(value('port'), DEFAULT_PORT),
    database: value('dbname') ?? 'postgres',
    sslmode: value('sslmode'),
    username: username && isSlot(username) ? undefined : username,
    ignored: [...parameters.keys()].filter((key) => !UNDERSTOOD.has(key)),
  }
}

/** `key=value key='va lue'`, with backslash escapes, as libpq reads them. */
function parsePairs(text: string): [string, string][] {
  const pairs: [string, string][] = []
  const pair =
    /\s*([a-z_]+)\s*=\s*(?:'((?:[^'\\]|\\[\s\S])*)'|((?:\{\{[^}]*\}\}|[^\s'\\]|\\[\s\S])*))(?=\s|$)\s*/gy
  while (pair.lastIndex < text.length) {
    const match = pair.exec(text)
    if (!match) throw invalidUrl('is neither a postgresql:// URL nor a list of key=value pairs')
    const [, key, quoted, bare] = match
    pairs.push([key as string, (quoted ?? bare ?? '').replace(/\\([\s\S])/g, '$1')])
  }
  if (pairs.length === 0) throw invalidUrl('is empty')
  return pairs
}

import { parseDuration } from '../../lib/duration.ts'
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

/** Where a target is, out of a DSN as Go's driver and the dialect write it, or a `mysql://` URL. */
export type Place = {
  host: string
  port: number
  /** Instead of host and port. */
  socketPath: string | undefined
  /** The parameter `tls`, as written. */
  tls: string | undefined
  connectTimeoutMs: number
  /** As written; undefined for none and for a `{{username}}` slot. */
  username: string | undefined
  /** Parameters we have no use for, by name. */
  ignored: string[]
}

const DEFAULT_PORT = 3_306
const CONNECT_TIMEOUT_S = 10
const LONGEST_CONNECT_TIMEOUT_S = 60
const DEFAULT_SOCKET = '/tmp/mysql.sock'

const isUrl = (text: string): boolean => /^(mysql|mariadb):\/\//i.test(text)

type Dsn = {
  username: string
  password: string | undefined
  net: string
  address: string | undefined
  database: string
  query: string
}

/** `user:password@net(address)/database?parameters`, cut where Go's driver cuts: the last `/`, the last `@` before it. */
function splitDsn(text: string): Dsn {
  const slash = text.lastIndexOf('/')
  if (slash < 0)
    throw invalidUrl(
      'has no / before the name of the database, as in {{username}}:{{password}}@tcp(host:3306)/',
    )
  const before = text.slice(0, slash)
  const [, database = '', query = ''] = /^([^?]*)(?:\?(.*))?$/s.exec(text.slice(slash + 1)) ?? []
  const at = before.lastIndexOf('@')
  const [, username = '', password] = at < 0 ? [] : (/^([^:]*)(?::(.*))?$/s.exec(before.slice(0, at)) ?? [])
  const [, net, address] = /^(\w*)(?:\((.*)\))?$/s.exec(before.slice(at + 1)) ?? []
  if (net === undefined) throw invalidUrl('must name the server as tcp(host:port) or unix(/path/of/socket)')
  return { username, password, net, address, database, query }
}

/** Takes a password that stands in the URL out of it, so that nothing usable is stored. */
export function liftPassword(text: string): Lifted {
  if (isUrl(text)) return liftFromUrl(text)
  const { username, password } = splitDsn(text)
  if (!password || isSlot(password)) return { url: text, password: undefined }
  return { url: `${username}:${PASSWORD_SLOT}${text.slice(username.length + 1 + password.length)}`, password }
}

export function parsePlace(text: string): Place {
  if (isUrl(text)) {
    const { username = '', address, query } = splitUrl(text)
    return placeFrom({ username: decodeUrl(username), ...tcpAddress(decodeUrl(address)), query })
  }
  const { username, net, address, query } = splitDsn(text)
  if (net === 'unix') {
    return placeFrom({
      username,
      host: 'localhost',
      port: DEFAULT_PORT,
      socketPath: address ?? DEFAULT_SOCKET,
      query,
    })
  }
  if (net !== 'tcp' && net !== '')
    throw invalidUrl('must name the server as tcp(host:port) or unix(/path/of/socket)')
  return placeFrom({ username, ...tcpAddress(address ?? '127.0.0.1'), query })
}

function tcpAddress(address: string): { host: string; port: number } {
  const at = splitAddress(address)
  if (!at || at.host.includes(','))
    throw invalidUrl('must name one host and port; for a cluster, a name that follows the primary')
  if (at.host === '') throw invalidUrl('names no host')
  return { host: at.host, port: portOf(at.port, DEFAULT_PORT) }
}

const UNDERSTOOD = new Set(['tls', 'timeout'])

/** Of Go's driver: without effect here, and nothing in them is a secret. */
const HARMLESS = new Set(
  `allowAllFiles allowCleartextPasswords allowFallbackToPlaintext allowNativePasswords allowOldPasswords charset
   checkConnLiveness clientFoundRows collation columnsWithAlias compress connectionAttributes interpolateParams loc
   maxAllowedPacket multiStatements parseTime readTimeout rejectReadOnly timeTruncate writeTimeout`.split(
    /\s+/,
  ),
)

/** Whatever we do not know may hold a secret, and would be stored and shown; so its name is not quoted either. */
export function refuseUnknown({ ignored }: Place): void {
  if (ignored.some((name) => !HARMLESS.has(name))) {
    throw invalidUrl('holds a parameter that is not known; leave out all but tls and timeout')
  }
}

function placeFrom({
  query,
  username,
  host,
  port,
  socketPath,
}: {
  query: string
  username: string
  host: string
  port: number
  socketPath?: string
}): Place {
  const parameters = new URLSearchParams(query)
  const timeout = parameters.get('timeout')
  const seconds = timeout === null ? CONNECT_TIMEOUT_S : parseDuration(timeout)
  if (seconds === undefined) throw invalidUrl('has a timeout that is no duration, such as 5s')
  return {
    host,
    port,
    socketPath,
    tls: parameters.get('tls') ?? undefined,
    connectTimeoutMs: Math.min(Math.max(1, seconds), LONGEST_CONNECT_TIMEOUT_S) * 1_000,
    username: username === '' || isSlot(username) ? undefined : username,
    ignored: [...parameters.keys()].filter((key) => !UNDERSTOOD.has(key)),
  }
}

import { isAbsolute, normalize } from 'node:path'
import { holdsCertificates } from '../../lib/certificates.ts'
import { parseDuration } from '../../lib/duration.ts'
import { BrokerError } from '../../lib/errors.ts'
import { isLoopbackHost } from '../../lib/loopback.ts'
import type { FileSettings } from './file.ts'
import type { HttpSettings } from './http.ts'

export type SinkOptions = Readonly<Record<string, string>>

/** A sink's options as the code works with them. */
export type SinkSettings = {
  /** Behind by more events than this, nothing is granted; 0 for no bound. */
  maxBacklog: number
  /** The one machine whose processes ship to it; any, when absent. */
  host: string | undefined
  batch: { events: number; bytes: number }
  /** How long one batch may take. */
  timeoutMs: number
  to:
    | ({ kind: 'file' } & FileSettings)
    | { kind: 'stdout' }
    | { kind: 'discard' }
    | ({ kind: 'http' } & HttpSettings)
}

const refuse = (text: string): BrokerError => new BrokerError('invalid_request', text)

export const DEFAULT_MAX_BACKLOG = 1_000_000
const LOCAL_BATCH = { events: 1_000, bytes: 4 * 1024 * 1024 }
const LOCAL_TIMEOUT_MS = 30_000

const COMMON = ['max_backlog', 'host']
/** What is set elsewhere and means the same here, so that a configuration made for Vault may be kept. */
const FIXED: SinkOptions = {
  format: 'json',
  log_raw: 'false',
  hmac_accessor: 'false',
  elide_list_responses: 'false',
  fallback: 'false',
  prefix: '',
}

const READERS: Record<
  string,
  { own: readonly string[]; read(options: SinkOptions): Omit<SinkSettings, 'maxBacklog' | 'host'> }
> = {
  file: { own: ['file_path', 'path', 'mode'], read: readFile },
  stdout: {
    own: [],
    read: () => ({ batch: LOCAL_BATCH, timeoutMs: LOCAL_TIMEOUT_MS, to: { kind: 'stdout' } }),
  },
  http: {
    own: ['url', 'format', 'batch_size', 'timeout', 'token', 'ca_cert'],
    read: readHttp,
  },
}

/** Throws `invalid_request` with a sentence about the first option that cannot be; it never repeats a value. */
export function readOptions(type: string, options: SinkOptions): SinkSettings {
  if (type === '') throw refuse('type is required: file, stdout or http')
  const reader = Object.hasOwn(READERS, type) ? READERS[type] : undefined
  if (!reader) throw refuse(`unknown backend type: ${JSON.stringify(type)}`)
  for (const [name, value] of Object.entries(options)) {
    if (reader.own.includes(name) || COMMON.includes(name)) continue
    checkFixed(type, name, value, reader.own)
  }
  return {
    maxBacklog: wholeNumber(options, 'max_backlog', {
      min: 0,
      max: 1_000_000_000,
      absent: DEFAULT_MAX_BACKLOG,
    }),
    host: options.host || undefined,
    ...reader.read(options),
  }
}

function checkFixed(type: string, name: string, value: string, own: readonly string[]): void {
  const only = Object.hasOwn(FIXED, name) ? FIXED[name] : undefined
  if (only === undefined) {
    throw refuse(
      `unknown option ${JSON.stringify(name)}: a sink of type ${type} takes ${[...own, ...COMMON].join(', ')}`,
    )
  }
  if (value !== only && !(only === 'false' && value === '0')) {
    throw refuse(
      only === '' ? `${name} is not supported` : `${name} is not supported but as ${JSON.stringify(only)}`,
    )
  }
}

function wholeNumber(
  options: SinkOptions,
  name: string,
  { min, max, absent }: { min: number; max: number; absent: number },
): number {
  const text = options[name]
  if (text === undefined || text === '') return absent
  const value = /^\d{1,16}$/.test(text) ? Number(text) : Number.NaN
  if (value >= min && value <= max) return value
  throw refuse(`${name} must be a whole number from ${min} to ${max}`)
}

/** As Vault, which takes `path` for `file_path` too, and two words instead of a path. */
function readFile(options: SinkOptions): Omit<SinkSettings, 'maxBacklog' | 'host'> {
  const path = options.file_path || options.path
  const common = { batch: LOCAL_BATCH, timeoutMs: LOCAL_TIMEOUT_MS }
  if (!path) throw refuse('file_path is required')
  const mode = modeOf(options.mode)
  if (path === 'stdout' || path === 'discard') return { ...common, to: { kind: path } }
  if (!isAbsolute(path) || path.includes('\0') || path.endsWith('/') || path.length > 4_096) {
    throw refuse('file_path must be the absolute path of a file, or stdout, or discard')
  }
  return { ...common, to: { kind: 'file', path: normalize(path), mode } }
}

const DEFAULT_MODE = 0o600

/** A log that can be executed is a program that every caller has a hand in writing. */
function modeOf(text: string | undefined): number {
  if (text === undefined || text === '') return DEFAULT_MODE
  const mode = /^[0-7]{1,4}$/.test(text) ? Number.parseInt(text, 8) : Number.NaN
  if (!(mode <= 0o777)) throw refuse('mode must be permissions in octal, such as 0640')
  if ((mode & 0o111) !== 0) throw refuse('mode must not make the file executable')
  return mode
}

function readHttp(options: SinkOptions): Omit<SinkSettings, 'maxBacklog' | 'host'> {
  const url = urlOf(options.url)
  const { format = 'lines', ca_cert: ca, token } = options
  if (format !== 'lines' && format !== 'array') throw refuse('format must be lines or array')
  if (token !== undefined && !/^[\x21-\x7e]{1,8192}$/.test(token)) {
    throw refuse('token must be 1 to 8192 printable characters without spaces')
  }
  if (token !== undefined && url.protocol === 'http:' && !isLoopbackHost(url.hostname)) {
    throw refuse('token would be sent in the clear: url must begin with https://')
  }
  if (ca !== undefined) checkCertificates(ca, url)
  return {
    batch: {
      events: wholeNumber(options, 'batch_size', { min: 1, max: 10_000, absent: 500 }),
      bytes: 1024 * 1024,
    },
    timeoutMs: timeoutOf(options.timeout),
    to: { kind: 'http', url, format, ca },
  }
}

function urlOf(text: string | undefined): URL {
  if (!text) throw refuse('url is required')
  const url = URL.canParse(text) ? new URL(text) : undefined
  if (!url || !/^https?:$/.test(url.protocol)) throw refuse('url must begin with https:// or http://')
  // It is shown to whoever lists the sinks.
  if (url.username !== '' || url.password !== '') throw refuse('url must not hold a password; use token')
  if (url.hash !== '') throw refuse('url must not have a fragment')
  return url
}

function checkCertificates(pem: string, url: URL): void {
  if (url.protocol !== 'https:') throw refuse('ca_cert is for a url that begins with https://')
  if (!holdsCertificates(pem)) throw refuse('ca_cert must be certificates in PEM')
}

function timeoutOf(text: string | undefined): number {
  const seconds = text === undefined || text === '' ? 10 : parseDuration(text)
  if (seconds !== undefined && seconds >= 1 && seconds <= 60) return seconds * 1_000
  throw refuse('timeout must be a duration from 1s to 60s')
}

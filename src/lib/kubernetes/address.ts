import { X509Certificate } from 'node:crypto'
import { BrokerError } from '../errors.ts'
import { isLoopback } from '../forms.ts'

/** The two fields that say which API server is meant, under the dialect's names. All throw a `BrokerError`. */

const CERTIFICATE = /-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g

const refused = (message: string): BrokerError => new BrokerError('invalid_request', message)

/** The API server's base URL, without a slash at its end. */
export function serverAddress(host: string): string {
  const url = /^https?:\/\/\S+$/.test(host) && URL.canParse(host) ? new URL(host) : undefined
  if (!url) throw refused('kubernetes_host must be a URL such as https://kube.example:6443')
  // Both would be shown to whoever reads the configuration, and the rest cannot be followed by a path.
  if (url.username !== '' || url.password !== '' || url.hash !== '' || url.search !== '') {
    throw refused('kubernetes_host must hold no user name, password, query or fragment')
  }
  // Every login sends a token there that is worth stealing.
  if (url.protocol === 'http:' && !isLoopback({ host: url.hostname.replace(/^\[|\]$/g, ''), port: 0 })) {
    throw refused('kubernetes_host must be https, unless it is on this machine')
  }
  return `${url.origin}${url.pathname.replace(/\/+$/, '')}`
}

/** Throws when a text that is not empty holds no certificate that can be trusted as an authority. */
export function checkAuthority(pem: string): void {
  if (pem === '') return
  const certificates = pem.match(CERTIFICATE) ?? []
  try {
    for (const certificate of certificates) new X509Certificate(certificate)
    if (certificates.length > 0) return
  } catch {
    // The parser's own words name OpenSSL routines.
  }
  throw refused('The provided CA PEM data contains no valid certificates')
}

import { holdsCertificates } from '../certificates.ts'
import { BrokerError } from '../errors.ts'
import { isLoopbackHost } from '../loopback.ts'

/** The two fields that say which API server is meant, under the dialect's names. All throw a `BrokerError`. */

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
  if (url.protocol === 'http:' && !isLoopbackHost(url.hostname)) {
    throw refused('kubernetes_host must be https, unless it is on this machine')
  }
  return `${url.origin}${url.pathname.replace(/\/+$/, '')}`
}

/** Throws when a text that is not empty holds no certificate that can be trusted as an authority. */
export function checkAuthority(pem: string): void {
  if (pem !== '' && !holdsCertificates(pem)) {
    throw refused('The provided CA PEM data contains no valid certificates')
  }
}

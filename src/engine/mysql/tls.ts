import net from 'node:net'
import type { SslOptions } from 'mysql2'
import type { AdminCredentials } from '../engine.ts'
import type { Target } from './target.ts'

/** The driver's code when the server declines TLS: under `preferred` we then go on without. */
export const NO_TLS_CODE = 'HANDSHAKE_NO_SSL_SUPPORT'

/** A client certificate proves us to nobody over a connection that anyone may have answered: then all is checked. */
export const mustVerify = ({ tls }: Target, { tlsPrivateKey }: AdminCredentials): boolean =>
  tls === 'true' || (tls === 'preferred' && tlsPrivateKey !== undefined)

/** `tls_certificate_key` is certificate and key in one text; each reader takes its own blocks out of it. */
export function tlsOptions(target: Target, credentials: AdminCredentials): SslOptions {
  const bundle = credentials.tlsPrivateKey?.reveal()
  const verify = mustVerify(target, credentials)
  return {
    ...(bundle === undefined ? {} : { cert: bundle, key: bundle }),
    ...(target.tlsCa ? { ca: target.tlsCa } : {}),
    rejectUnauthorized: verify,
    verifyIdentity: verify,
  }
}

const KEEPALIVE_AFTER_MS = 10_000

/**
 * The socket to the server, made here because the driver checks a certificate against the name it connects to, which
 * is not always the name in the certificate.
 */
export function openSocket({ place: { host, port, socketPath } }: Target): net.Socket {
  if (socketPath !== undefined) return net.connect(socketPath)
  const socket = net.connect({
    host,
    port,
    keepAlive: true,
    keepAliveInitialDelay: KEEPALIVE_AFTER_MS,
    noDelay: true,
  })
  // The driver leaves the name out when it is an address, and Node would then look for `localhost` in the certificate.
  return net.isIP(host) ? Object.assign(socket, { _host: host }) : socket
}

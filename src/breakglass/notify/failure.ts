/** Certificates, and what else goes wrong between a name and an encrypted connection to it. */
const TLS =
  /^(ERR_(TLS|SSL|OSSL)_|CERT_|CRL_|UNABLE_TO_|SELF_SIGNED_|DEPTH_ZERO_|HOSTNAME_|INVALID_|PATH_LENGTH_|EPROTO$)/

const CLASSES: readonly [RegExp, string][] = [
  [/^ECONNREFUSED$/, 'the connection was refused'],
  [/^(ENOTFOUND|EAI_.*)$/, 'the name was not found'],
  [/^(ETIMEDOUT|EHOSTUNREACH|EHOSTDOWN|ENETUNREACH|ENETDOWN|EADDRNOTAVAIL)$/, 'it could not be reached'],
  [/^(ECONNRESET|ECONNABORTED|EPIPE)$/, 'the connection was lost'],
  [TLS, 'no TLS connection: its certificate, or what it speaks, is not accepted'],
  [/^HPE_/, 'the answer was no HTTP'],
]

/**
 * What kind of failure it was, for people who have nothing to do with our network: the error itself names addresses and
 * ports inside it, and belongs into the process's log alone.
 */
export function failureWords(error: unknown): string {
  const code = codeOf(error)
  return CLASSES.find(([codes]) => codes.test(code))?.[1] ?? 'it could not be sent'
}

/** Of an error, or of the one it was made from. */
function codeOf(error: unknown): string {
  if (!(error instanceof Error)) return ''
  const { code, cause } = error as NodeJS.ErrnoException
  return typeof code === 'string' ? code : codeOf(cause)
}

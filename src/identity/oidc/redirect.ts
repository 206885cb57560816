/** The loopback addresses, a port, and the rest; a user name before the host does not fit. */
const LOOPBACK = /^(http:\/\/(?:localhost|127\.0\.0\.1|\[::1\]))(?::\d{1,5})?((?:[/?].*)?)$/

/**
 * Whether a role lets a login come back to this address. The texts must be the same, but for the port of a loopback
 * address: a program on the person's machine takes whichever is free (RFC 8252, 7.3).
 */
export function redirectAllowed(redirectUri: string, allowed: readonly string[]): boolean {
  if (!URL.canParse(redirectUri)) return false
  const anyPort = withoutPort(redirectUri)
  return allowed.some((uri) => uri === redirectUri || (anyPort !== undefined && anyPort === withoutPort(uri)))
}

function withoutPort(uri: string): string | undefined {
  const [, host, rest] = LOOPBACK.exec(uri) ?? []
  return host === undefined ? undefined : `${host}${rest}`
}

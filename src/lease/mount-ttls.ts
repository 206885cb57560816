/** A mount's own bounds from its `config`, in seconds; 0 where it states none. */
export function mountTtls(config: Readonly<Record<string, unknown>>): {
  defaultSeconds: number
  maxSeconds: number
} {
  return {
    defaultSeconds: Number(config.default_lease_ttl ?? 0),
    maxSeconds: Number(config.max_lease_ttl ?? 0),
  }
}

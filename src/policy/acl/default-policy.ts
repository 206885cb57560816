/**
 * The document of the policy `default`, which every token has unless it opted out: a token may see to itself. The
 * lease paths are open to all because the lease layer lets a token touch only the leases it made.
 */
export const DEFAULT_POLICY = `# What every token may do: see to itself.

path "auth/token/lookup-self" {
  capabilities = ["read"]
}

path "auth/token/renew-self" {
  capabilities = ["update"]
}

path "auth/token/revoke-self" {
  capabilities = ["update"]
}

path "sys/capabilities-self" {
  capabilities = ["update"]
}

path "sys/internal/ui/resultant-acl" {
  capabilities = ["read"]
}

# Leases: a token may touch the ones it made, and no others. The id may stand in the body or in the path.

path "sys/leases/lookup" {
  capabilities = ["update"]
}

path "sys/leases/renew" {
  capabilities = ["update"]
}

path "sys/leases/renew/*" {
  capabilities = ["update"]
}

# The name of sys/leases/renew in old clients.
path "sys/renew" {
  capabilities = ["update"]
}

path "sys/leases/revoke" {
  capabilities = ["update"]
}

path "sys/leases/revoke/*" {
  capabilities = ["update"]
}

# The same as lists and pages show them: those of the caller alone, one by its id, and several to end at once.
path "sys/leasehold/leases-self" {
  capabilities = ["read"]
}

path "sys/leasehold/leases/*" {
  capabilities = ["read"]
}

path "sys/leasehold/leases/revoke" {
  capabilities = ["update"]
}

# Response wrapping.

path "sys/wrapping/wrap" {
  capabilities = ["update"]
}

path "sys/wrapping/lookup" {
  capabilities = ["update"]
}

path "sys/wrapping/unwrap" {
  capabilities = ["update"]
}

# A store of the token's own.
path "cubbyhole/*" {
  capabilities = ["create", "read", "update", "delete", "list"]
}
`

import { createHash } from 'node:crypto'
import type { Document } from '../../ledger/documents.ts'
import { formatDuration } from '../../lib/duration.ts'
import { SYSTEM_MAX_TTL_SECONDS } from '../../lib/ttl.ts'
import { isInside } from '../cidr.ts'
import { refused, secondsField, type WireFields } from '../jwt/fields.ts'
import { tokenFieldsOf } from '../token-fields.ts'
import { readMetadata } from './metadata.ts'
import { type AppRole, blocksField, usesField } from './role.ts'

/** What a new secret id is to be like. */
export type SecretIdTerms = {
  metadata: Record<string, string>
  cidrs: string[]
  tokenCidrs: string[]
  /** Null for any number. */
  usesLeft: number | null
  /** 0 for no end. */
  ttlSeconds: number
  warnings: string[]
}

/** What the ledger knows a secret id by. A mount's id and a role's name have no slash. */
export const secretIdHash = (mountId: string, roleName: string, text: string): string =>
  createHash('sha256').update(`${mountId}/${roleName}/${text}`).digest('hex')

/** The terms for what was sent, within what the role and the mount allow. Throws the dialect's refusal. */
export function checkSecretIdTerms(
  fields: WireFields,
  { name, spec, mountConfig }: { name: string; spec: Document; mountConfig: Document },
): SecretIdTerms {
  const role = spec as unknown as AppRole
  if (!role.bind_secret_id) throw refused('bind_secret_id is not set on the role')
  const metadata = readMetadata(fields.metadata)
  const cidrs = blocksField(fields, 'cidr_list') ?? []
  checkWithin(name, cidrs, role.secret_id_bound_cidrs)
  const tokenCidrs = blocksField(fields, 'token_bound_cidrs') ?? []
  checkWithin(name, tokenCidrs, tokenFieldsOf(spec).token_bound_cidrs)

  const most = role.secret_id_num_uses
  const uses = usesField(fields, 'num_uses') ?? most
  if (most > 0 && (uses === 0 || uses > most)) {
    throw refused("num_uses cannot be higher than the role's secret_id_num_uses")
  }
  const longest = role.secret_id_ttl
  const asked = secondsField(fields, 'ttl', 0) ?? longest
  if (longest > 0 && (asked === 0 || asked > longest)) {
    throw refused("ttl cannot be longer than the role's secret_id_ttl")
  }
  return { metadata, cidrs, tokenCidrs, usesLeft: uses || null, ...cappedTtl(asked, mountConfig) }
}

function checkWithin(roleName: string, blocks: readonly string[], bounds: readonly string[]): void {
  const outside = bounds.length > 0 && blocks.some((block) => !isInside(bounds, block))
  if (!outside) return
  throw refused(
    `failed to verify subset relationship between CIDR blocks on the role "${roleName}" and CIDR blocks on the secret ID`,
  )
}

function cappedTtl(asked: number, mountConfig: Document): { ttlSeconds: number; warnings: string[] } {
  const most = Number(mountConfig.max_lease_ttl ?? 0) || SYSTEM_MAX_TTL_SECONDS
  if (asked <= most) return { ttlSeconds: asked, warnings: [] }
  const capped = `TTL of "${formatDuration(asked)}" exceeded the effective max_ttl of "${formatDuration(most)}"; TTL value is capped accordingly`
  return { ttlSeconds: most, warnings: [capped] }
}

const MOST_CHARACTERS = 4_096
/** Those that are made here have 190 bits; a chosen text this long may still have too few, but can have enough. */
const FEW_CHARACTERS = 20

/** Throws for a chosen text that nobody could log in with; answers what to warn of. */
export function checkChosenText(text: string): string[] {
  if (text !== text.trim()) throw refused('secret_id cannot begin or end with white space')
  if (text.length > MOST_CHARACTERS) {
    throw refused(`secret_id is longer than maximum of ${MOST_CHARACTERS} characters`)
  }
  if (text.length >= FEW_CHARACTERS) return []
  return [`a secret_id of under ${FEW_CHARACTERS} characters may be guessed; one made by secret-id cannot`]
}

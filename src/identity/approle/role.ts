import { randomUUID } from 'node:crypto'
import { isCidr } from '../cidr.ts'
import { flagField, listField, refused, secondsField, textField, type WireFields } from '../jwt/fields.ts'

/** What it takes to log in under a role, as the wire names it and as it is stored. */
export type AppRole = {
  /** Names the role's principal, from its first write to its end: random, nobody chooses it, and no answer has it. */
  principal: string
  role_id: string
  bind_secret_id: boolean
  /** Says something about clusters of Vault alone; kept, and of no effect. */
  local_secret_ids: boolean
  secret_id_bound_cidrs: string[]
  /** 0 for any number. */
  secret_id_num_uses: number
  /** Seconds; 0 for no end. */
  secret_id_ttl: number
}

const newRole = (): AppRole => ({
  principal: randomUUID(),
  role_id: randomUUID(),
  bind_secret_id: true,
  local_secret_ids: false,
  secret_id_bound_cidrs: [],
  secret_id_num_uses: 0,
  secret_id_ttl: 0,
})

type Sent = { [Name in Exclude<keyof AppRole, 'principal'>]: AppRole[Name] | undefined }

/** The document to store for what was sent, `token_*` fields apart. Throws the dialect's refusal. */
export function checkAppRole(
  fields: WireFields,
  { before, hasBoundCidrs }: { before: AppRole | undefined; hasBoundCidrs: boolean },
): AppRole {
  const sent: Sent = {
    role_id: textField(fields, 'role_id'),
    bind_secret_id: flagField(fields, 'bind_secret_id'),
    local_secret_ids: flagField(fields, 'local_secret_ids'),
    secret_id_bound_cidrs: blocksField(fields, 'secret_id_bound_cidrs'),
    secret_id_num_uses: usesField(fields, 'secret_id_num_uses'),
    secret_id_ttl: secondsField(fields, 'secret_id_ttl', 0),
  }
  const given = Object.entries(sent).filter(([, value]) => value !== undefined)
  const role = { ...(before ?? newRole()), ...(Object.fromEntries(given) as Partial<AppRole>) }
  if (before && role.local_secret_ids !== before.local_secret_ids) {
    throw refused('local_secret_ids can only be modified during role creation')
  }
  checkRoleId(role.role_id)
  if (!role.bind_secret_id && role.secret_id_bound_cidrs.length === 0 && !hasBoundCidrs) {
    throw refused('at least one constraint should be enabled on the role')
  }
  return role
}

/** What nobody could send back, or an index not take, is no role_id. */
export const isRoleId = (text: string): boolean =>
  /^[^\p{Cc}\p{Cs}]{1,256}$/u.test(text) && text === text.trim()

export function checkRoleId(text: string): void {
  if (text === '') throw refused('invalid role_id supplied, or failed to generate a role_id')
  if (!isRoleId(text)) {
    throw refused('role_id must have 1 to 256 characters, none of control and no white space at either end')
  }
}

/** As an integer of the ledger's takes it. */
const MOST_USES = 2_147_483_647

/** How often something may be used; undefined when it was not sent. */
export function usesField(fields: WireFields, name: string): number | undefined {
  const value = fields[name] ?? undefined
  if (value === undefined) return undefined
  if (typeof value !== 'number' || !Number.isSafeInteger(value))
    throw refused(`${name} must be a whole number`)
  if (value < 0) throw refused(`${name} cannot be negative`)
  if (value > MOST_USES) throw refused(`${name} cannot be over ${MOST_USES}`)
  return value
}

/** Each login goes through them all. */
const MOST_BLOCKS = 256

/** Addresses and CIDR blocks; undefined when they were not sent. */
export function blocksField(fields: WireFields, name: string): string[] | undefined {
  const blocks = listField(fields, name)
  if (!blocks) return undefined
  const unreadable = blocks.find((block) => !isCidr(block))
  if (unreadable !== undefined) {
    throw refused(`${name}: ${JSON.stringify(unreadable.slice(0, 64))} is no address or CIDR block`)
  }
  if (blocks.length > MOST_BLOCKS) throw refused(`${name} cannot hold more than ${MOST_BLOCKS} blocks`)
  return blocks
}

import type { Db, Ledger } from '../ledger/db.ts'
import { insertToken, type KnownToken, lockLiveToken, type Token } from '../ledger/tokens.ts'
import { BrokerError } from '../lib/errors.ts'
import { newId, newToken } from '../lib/ids.ts'
import { type Sensitive, sensitive } from '../lib/sensitive.ts'
import type { Principal } from '../policy/principal.ts'
import { tokenIdOf, treeIdOf } from './authenticate.ts'
import { choosePolicies, missingPolicies } from './token-policies.ts'
import { readTokenRole, type TokenRole } from './token-roles.ts'
import { tighter, tokenTerms } from './token-terms.ts'

/** A request to make a token, decoded. Times in seconds, 0 for none. */
export type TokenRequest = {
  /** Where it was asked: `auth/token/create`, `auth/token/create-orphan`, `auth/token/create/<role>`. */
  path: string
  roleName?: string
  /** Whether policy gives the caller `sudo` at that path. */
  sudo: boolean
  /** Asked at `create-orphan`, which policy has let the caller reach. */
  orphan: boolean
  /** The text the token shall have; only for callers with sudo. */
  id: string
  policies: readonly string[]
  metadata: Record<string, string> | null
  noParent: boolean
  noDefaultPolicy: boolean
  renewable: boolean
  ttlSeconds: number
  explicitMaxTtlSeconds: number
  periodSeconds: number
  /** `service`, `batch` or empty. */
  type: string
  displayName: string
  numUses: number
  entityAlias: string
}

export type CreatedToken = { token: Sensitive; entry: Token; warnings: string[] }

/** Makes a token under the caller's, which cannot end before the new one hangs on it. */
export const createToken = (
  ledger: Ledger,
  principal: Principal,
  request: TokenRequest,
): Promise<CreatedToken> => ledger.transaction((db) => create(db, principal, request))

async function create(db: Db, principal: Principal, request: TokenRequest): Promise<CreatedToken> {
  const parent = await lockLiveToken(db, principal.tokenId, 'share')
  if (!parent) throw refused('parent token lookup failed: no parent found')
  const role = await roleOf(db, request)
  const maker = { parent, sudo: request.sudo, role }
  const type = typeOf(request, role)
  refuseUnlessAllowed(maker, request, type)
  const policies = choosePolicies({
    requested: request.policies,
    noDefaultPolicy: request.noDefaultPolicy,
    parent: parent.policies,
    sudo: maker.sudo,
    role,
  })
  if (type === 'batch' && policies.includes('root')) throw refused('batch tokens cannot be root tokens')

  const { terms, warnings } = await termsOf(db, maker, request, policies)
  const text = request.id || newToken()
  const entry: Token = {
    ...descriptionOf(maker, request, type),
    ...terms,
    id: tokenIdOf(text),
    policies,
    // Nothing can renew a batch token, or one that never expires.
    renewable:
      request.renewable && role?.renewable !== false && type === 'service' && terms.expiresAt !== null,
  }
  if (!entry.renewable) entry.hardExpiresAt = entry.expiresAt
  if (terms.expiresAt === null) entry.boundCidrs = []
  if (!(await insertToken(db, entry))) throw refused('cannot create a token with a duplicate ID')
  return { token: sensitive(text), entry, warnings: [...warnings, ...(await missingPolicies(db, policies))] }
}

type Maker = { parent: KnownToken; sudo: boolean; role: TokenRole | undefined }

async function roleOf(db: Db, { roleName }: TokenRequest): Promise<TokenRole | undefined> {
  if (roleName === undefined) return undefined
  const role = await readTokenRole(db, roleName)
  if (!role) throw refused(`unknown role ${roleName}`)
  return role
}

/** The request's wish where the role leaves one. */
function typeOf(request: TokenRequest, role: TokenRole | undefined): 'service' | 'batch' {
  if (role?.tokenType === 'service' || role?.tokenType === 'batch') return role.tokenType
  const type = request.type || (role?.tokenType === 'default-batch' ? 'batch' : 'service')
  if (type !== 'service' && type !== 'batch') throw refused(`invalid 'token_type' value`)
  return type
}

const TOKEN_TEXT = /^[\x21-\x7e]{1,256}$/

function refuseUnlessAllowed(
  { parent, sudo, role }: Maker,
  request: TokenRequest,
  type: 'service' | 'batch',
): void {
  if (parent.type === 'batch') throw refused('batch tokens cannot create more tokens')
  // It could escape its own limit by a child.
  if (parent.usesLeft !== null) throw refused('restricted use token cannot generate child tokens')
  if (type === 'batch') refuseForBatch(request)
  if (request.numUses < 0) throw refused('number of uses cannot be negative')
  if (request.entityAlias !== '' && !role) {
    throw refused(`'entity_alias' is only allowed in combination with token role`)
  }
  if (request.entityAlias !== '') throw refused(`invalid 'entity_alias' value`)
  if (request.id !== '' && !sudo) throw refused('root or sudo privileges required to specify token id')
  if (request.id !== '' && !TOKEN_TEXT.test(request.id)) {
    throw refused('a token id is 1 to 256 printable ASCII characters without spaces')
  }
  if (request.noParent && !role && !sudo) {
    throw refused('root or sudo privileges required to create orphan token')
  }
  if (request.periodSeconds > 0 && !sudo) {
    throw refused('root or sudo privileges required to create periodic token')
  }
}

function refuseForBatch(request: TokenRequest): void {
  const field =
    request.explicitMaxTtlSeconds > 0
      ? 'explicit_max_ttl'
      : request.numUses !== 0
        ? 'num_uses'
        : request.periodSeconds > 0
          ? 'period'
          : undefined
  if (field) throw refused(`batch tokens cannot have "${field}" set`)
}

type Terms = Pick<
  Token,
  'ttlSeconds' | 'explicitMaxTtlSeconds' | 'periodSeconds' | 'expiresAt' | 'hardExpiresAt'
>

async function termsOf(
  db: Db,
  { parent, role }: Maker,
  request: TokenRequest,
  policies: readonly string[],
): Promise<{ terms: Terms; warnings: string[] }> {
  const { explicitMaxTtlSeconds, periodSeconds } = request
  const own = { explicitMaxTtlSeconds, periodSeconds }
  const explicit = tighter(explicitMaxTtlSeconds, role?.tokenExplicitMaxTtl ?? 0)
  const period = tighter(periodSeconds, role?.tokenPeriod ?? 0)
  const isRoot = policies.includes('root')
  // A root token without a time lives for ever, unless an explicit maximum is the time.
  const wish = request.ttlSeconds || (isRoot ? explicit : 0)
  if (isRoot && wish === 0 && period === 0) {
    if (parent.expiresAt) throw refused('expiring root tokens cannot create non-expiring root tokens')
    return { terms: { ...own, ttlSeconds: 0, expiresAt: null, hardExpiresAt: null }, warnings: [] }
  }
  const ttl = await tokenTerms(db, {
    now: parent.now,
    issuedAt: parent.now,
    incrementSeconds: wish,
    ownTtlSeconds: 0,
    ownPeriodSeconds: periodSeconds,
    ownExplicitMaxSeconds: explicitMaxTtlSeconds,
    role,
  })
  const { ttlSeconds, expiresAt, hardExpiresAt, warnings } = ttl
  return {
    terms: { ...own, ttlSeconds, expiresAt, hardExpiresAt },
    warnings: [...lesserWarnings(request, role, { explicit, period }), ...warnings],
  }
}

function lesserWarnings(
  request: TokenRequest,
  role: TokenRole | undefined,
  used: { explicit: number; period: number },
): string[] {
  const warnings: string[] = []
  const both = (what: string, seconds: number) =>
    `${what} specified both during creation call and in role; using the lesser value of ${seconds} seconds`
  if (request.explicitMaxTtlSeconds && role?.tokenExplicitMaxTtl) {
    warnings.push(both('Explicit max TTL', used.explicit))
  }
  if (request.periodSeconds && role?.tokenPeriod) warnings.push(both('Period', used.period))
  return warnings
}

type Description = Pick<
  Token,
  | 'accessor'
  | 'parentId'
  | 'type'
  | 'path'
  | 'displayName'
  | 'metadata'
  | 'role'
  | 'usesLeft'
  | 'boundCidrs'
  | 'entityId'
  | 'treeId'
  | 'identity'
>

function descriptionOf(
  { parent, sudo, role }: Maker,
  request: TokenRequest,
  type: 'service' | 'batch',
): Description {
  const isOrphan = role ? role.orphan : request.orphan || request.noParent
  return {
    accessor: type === 'batch' ? null : newId(),
    parentId: isOrphan ? null : parent.id,
    type,
    path: role?.pathSuffix ? `${request.path}/${role.pathSuffix}` : request.path,
    displayName: displayNameOf(request.displayName),
    metadata: request.metadata,
    role: request.roleName ?? null,
    usesLeft: tighter(request.numUses, role?.tokenNumUses ?? 0) || null,
    // A role's own bounds stand in place of the parent's: a role is how rights may be widened.
    boundCidrs: role ? role.tokenBoundCidrs : isOrphan ? [] : parent.boundCidrs,
    entityId: parent.entityId,
    treeId: beginsTree(parent, isOrphan && sudo) ? null : treeIdOf(parent),
    identity: parent.identity,
  }
}

/** An orphan ends by itself; for it to count by itself as well its maker needs sudo, or anybody could multiply. */
const beginsTree = (parent: KnownToken, orphanBySudo: boolean): boolean =>
  orphanBySudo || parent.policies.includes('root')

const displayNameOf = (asked: string): string =>
  asked === '' ? 'token' : `token-${asked}`.replace(/[^a-zA-Z0-9-]/g, '-').replace(/-$/, '')

const refused = (message: string): BrokerError => new BrokerError('invalid_request', message)

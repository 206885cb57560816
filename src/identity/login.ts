import { entitiesOf, insertLoginTokens, type Subject } from '../ledger/auth.ts'
import type { Behalf, Db, Ledger } from '../ledger/db.ts'
import type { Document } from '../ledger/documents.ts'
import { areDisabled } from '../ledger/identity-events.ts'
import type { Token } from '../ledger/tokens.ts'
import { batcher } from '../lib/batcher.ts'
import { BrokerError } from '../lib/errors.ts'
import { newId, newToken } from '../lib/ids.ts'
import { failed, ok, type Result } from '../lib/result.ts'
import { sensitive } from '../lib/sensitive.ts'
import { tidyPolicies } from '../policy/policy-names.ts'
import { type Identity, personOf } from '../policy/principal.ts'
import { tokenIdOf } from './authenticate.ts'
import { isWithin } from './cidr.ts'
import { LoginRefused } from './jwt/refusal.ts'
import { type Spend, spendAll } from './spending.ts'
import type { CreatedToken } from './token-create.ts'
import type { TokenFields } from './token-fields.ts'
import { unwrittenPolicies, unwrittenWarning } from './token-policies.ts'
import { loginTerms } from './token-terms.ts'

/** Where a login comes in. */
export type AuthMount = { id: string; path: string; accessor: string; config: Document }

/** What a method has proved of a caller. */
export type Proven = Pick<Identity, 'subject' | 'groups' | 'claims' | 'authTime' | 'amr' | 'acr' | 'home'> & {
  kind: Identity['kind']
  /** What names the subject, where that is the role's to say and not the usual: it makes another principal. */
  subjectClaim?: string
  /** How the caller is called, behind the mount's own name: feeds account names. */
  alias: string
  metadata: Record<string, string>
}

export type Login = {
  mount: AuthMount
  /** Null where the mount has no roles. */
  roleName: string | null
  token: TokenFields
  proven: Proven
  sourceAddress: string
  now: Date
  /** Where under the mount it came in. */
  endpoint?: string
  /** What this login uses up. */
  spend?: Spend
  /** Whom another mount knows: they are that very principal, by whichever of the two they come. */
  knownAs?: Pick<Subject, 'mountId' | 'claim' | 'subject'>
}

/**
 * Gives a proven caller a token of its own, without a parent. Logins that arrive together share one transaction.
 * Throws 403 from an address that the role does not allow, and where the mount is gone; `LoginRefused` for somebody whom
 * their issuer has disabled.
 */
export async function logIn(ledger: Ledger, login: Login): Promise<CreatedToken> {
  const { token_bound_cidrs: cidrs } = login.token
  if (cidrs.length > 0 && !isWithin(cidrs, login.sourceAddress)) throw denied()
  return queueOf(ledger)({ planned: planned(login), behalf: ledger.behalf() })
}

const denied = () => new BrokerError('permission_denied', 'permission denied')

const LEDGER_BATCH = 128

type Queue = (asked: Asked) => Promise<CreatedToken>
type Asked = { planned: Planned; behalf: Behalf | undefined }
const queues = new WeakMap<Ledger, Queue>()

/** One queue for each ledger, whatever the method. */
function queueOf(ledger: Ledger): Queue {
  const known = queues.get(ledger)
  if (known) return known
  const queue = batcher<Asked, CreatedToken>((asked) => giveAll(ledger, asked), { max: LEDGER_BATCH })
  queues.set(ledger, queue)
  return queue
}

async function giveAll(ledger: Ledger, asked: readonly Asked[]): Promise<Result<CreatedToken>[]> {
  try {
    return await ledger.transactionFor(
      asked.map(({ behalf }) => behalf),
      (db) =>
        give(
          db,
          asked.map(({ planned }) => planned),
        ),
    )
  } catch (error) {
    // That the ledger is away, all may hear at once. One that it cannot hold must not fail its neighbours.
    if (asked.length === 1 || error instanceof BrokerError) throw error
    const alone = asked.map((one) => giveAll(ledger, [one]).catch((reason) => [failed(reason)]))
    return (await Promise.all(alone)).flat()
  }
}

/** A token that lacks nothing but the entity it is for. */
type Planned = {
  text: string
  entry: Token
  subject: Subject
  /** As `personOf` has it. */
  person: string
  warnings: string[]
  spend: Spend | undefined
}

async function give(db: Db, plans: readonly Planned[]): Promise<Result<CreatedToken>[]> {
  const entities = await entitiesOf(
    db,
    plans.map(({ subject }) => subject),
    newId,
  )
  const people = plans.map(({ person }, i) => ({ id: entities[i] ?? '', person }))
  const disabled = await areDisabled(db, people)
  const mayComeIn = (i: number): boolean => entities[i] !== undefined && !disabled[i]
  const had = await spendAll(
    db,
    plans.map(({ spend }, i) => (mayComeIn(i) ? spend : undefined)),
  )
  const unwritten = await unwrittenPolicies(db, [...new Set(plans.flatMap(({ entry }) => entry.policies))])
  const given = plans.map(({ text, entry, warnings, spend }, i): Result<CreatedToken> => {
    const entityId = entities[i]
    if (entityId === undefined) return failed(denied())
    if (disabled[i]) return failed(new LoginRefused('person_disabled'))
    if (spend && !had[i]) return failed(spend.refusal())
    const without = entry.policies.filter((name) => unwritten.includes(name))
    return ok({
      token: sensitive(text),
      entry: { ...entry, entityId },
      warnings: [...warnings, ...without.map(unwrittenWarning)],
    })
  })
  const entries = given.flatMap((one) => (one.ok ? [one.value.entry] : []))
  if (entries.length > 0) await insertLoginTokens(db, entries)
  return given
}

function planned(login: Login): Planned {
  const { mount, roleName, token, proven, now, spend, knownAs, endpoint = 'login' } = login
  const { kind, subject, subjectClaim: claim = '', alias, metadata } = proven
  const { expiresAt, hardExpiresAt, ttlSeconds, warnings } = loginTerms({
    now,
    issuedAt: now,
    incrementSeconds: undefined,
    token,
    mountConfig: mount.config,
  })
  const type = token.token_type === 'batch' ? 'batch' : 'service'
  const text = newToken()
  const entry: Token = {
    id: tokenIdOf(text),
    accessor: type === 'batch' ? null : newId(),
    parentId: null,
    type,
    policies: tidyPolicies([...token.token_policies, ...(token.token_no_default_policy ? [] : ['default'])]),
    path: `${mount.path}${endpoint}`,
    displayName: displayName(mount.path, alias),
    metadata,
    role: roleName,
    renewable: type === 'service',
    usesLeft: token.token_num_uses || null,
    ttlSeconds,
    explicitMaxTtlSeconds: token.token_explicit_max_ttl,
    periodSeconds: token.token_period,
    boundCidrs: token.token_bound_cidrs,
    expiresAt,
    hardExpiresAt: type === 'batch' ? expiresAt : hardExpiresAt,
    entityId: null,
    treeId: null,
    identity: identityOf(mount, proven) as unknown as Document,
  }
  const who = { mountId: mount.id, claim, subject, ...knownAs, kind }
  return { text, entry, subject: who, person: personOf(proven), warnings, spend }
}

function identityOf(mount: AuthMount, proven: Proven): Identity {
  const { kind, subject, groups, claims, metadata, authTime, amr, acr, home } = proven
  return {
    kind,
    mount: mount.path,
    mountAccessor: mount.accessor,
    subject,
    groups,
    claims,
    metadata,
    ...(authTime !== undefined && { authTime }),
    ...(amr && { amr }),
    ...(acr !== undefined && { acr }),
    ...(home !== undefined && { home }),
  }
}

/** `jwt-alice`, or for `auth/team-a/ci/` `team-a-ci-alice`. */
const displayName = (mountPath: string, alias: string): string =>
  `${mountPath.replace(/^auth\/|\/$/g, '').replaceAll('/', '-')}${alias === '' ? '' : `-${alias}`}`

import { matchesAny } from '../../lib/glob.ts'
import { parseSelector, selects } from '../../lib/kubernetes/selector.ts'
import type { Sensitive } from '../../lib/sensitive.ts'
import type { Claims, Identity } from '../jwt/claims.ts'
import { isObject } from '../jwt/fields.ts'
import { LoginRefused } from '../jwt/refusal.ts'
import { checkJwtRole } from '../jwt/role.ts'
import { checkTimes } from '../jwt/times.ts'
import { verifyLogin } from '../jwt/verify.ts'
import type { Cluster } from './cluster.ts'
import { KubernetesLoginRefused } from './refusal.ts'
import type { KubernetesRole } from './role.ts'
import { readToken, type ServiceAccount, type UnverifiedToken, usernameOf } from './token.ts'

export type KubernetesLoginAttempt = {
  cluster: Cluster
  /** What the secret store holds for the mount; must be given when the configuration says that there is one. */
  reviewerJwt?: Sensitive | undefined
  role: KubernetesRole
  roleName: string
  jwt: string
  now: Date
}

export type KubernetesIdentity = Identity & {
  /** `<namespace>-<account>`, for the token's display name. */
  displayName: string
  /** The end of the token itself, before any skew; undefined for one that has none. */
  expiresAt: Date | undefined
}

/** The issuer of tokens from before clusters had one of their own. */
const OLD_ISSUER = 'kubernetes/serviceaccount'
/** How the JWT method is asked about a token's signature and times; subject and audiences vary with the token. */
const AS_JWT_ROLE = checkJwtRole(
  { user_claim: 'sub', bound_subject: 'system:serviceaccount' },
  { mountType: 'jwt' },
)

/**
 * Whom a service-account token speaks of, once it is proved that it is good and that the role lets its account in.
 * Throws `KubernetesLoginRefused` with the exact reason, also when the API server cannot be asked. Names and
 * namespaces are compared last: only who holds a real token learns how it misses the role.
 */
export async function verifyKubernetesLogin(attempt: KubernetesLoginAttempt): Promise<KubernetesIdentity> {
  const { role, roleName, jwt } = attempt
  const token = readToken(jwt)
  const expiresAt = await checkStated(token, attempt)
  await (attempt.cluster.local ? proveLocally(token, attempt) : proveByReview(token, attempt))
  await checkBounds(token.account, attempt)

  const { namespace, name, uid, secretName } = token.account
  return {
    subject: role.alias_name_source === 'serviceaccount_uid' ? uid : `${namespace}/${name}`,
    metadata: {
      role: roleName,
      service_account_name: name,
      service_account_namespace: namespace,
      service_account_uid: uid,
      service_account_secret_name: secretName,
    },
    // The groups Kubernetes itself puts every service account in, so that both ways of checking give the same.
    groups: ['system:serviceaccounts', `system:serviceaccounts:${namespace}`],
    claims: withBlock(token),
    displayName: `${namespace}-${name}`,
    expiresAt,
  }
}

/** What the token says of itself that rules it out, before anyone is asked. */
async function checkStated(
  { claims, audiences }: UnverifiedToken,
  { cluster: { config }, role, now }: KubernetesLoginAttempt,
): Promise<Date | undefined> {
  const isIssuerBound = !config.disable_iss_validation
  if (isIssuerBound && claims.iss !== (config.issuer || OLD_ISSUER)) {
    throw new KubernetesLoginRefused('wrong_issuer')
  }
  if (role.audience !== '' && !audiences.includes(role.audience)) {
    throw new KubernetesLoginRefused('wrong_audience')
  }
  return hasEnd(claims) ? asOurs(() => checkTimes(claims, AS_JWT_ROLE, now)) : undefined
}

const hasEnd = ({ exp }: Claims): boolean => (exp ?? undefined) !== undefined

/** The audiences to check are the role's or, for a role that names none, whatever the token itself says. */
async function proveByReview(
  { account, audiences }: UnverifiedToken,
  { cluster, reviewerJwt, role, jwt }: KubernetesLoginAttempt,
): Promise<void> {
  const wanted = role.audience === '' ? audiences : [role.audience]
  const user = await cluster.api.review({ jwt, audiences: wanted, reviewerJwt })
  // The payload was read by us and believed by them; the two must have seen the same account.
  if (user.username !== usernameOf(account) || user.uid !== account.uid) {
    throw new KubernetesLoginRefused('reviewed_other_account')
  }
}

async function proveLocally(
  { claims, account, audiences }: UnverifiedToken,
  { cluster: { local }, roleName, jwt, now }: KubernetesLoginAttempt,
): Promise<void> {
  if (!local) throw new Error('the cluster has no keys to check a token with')
  // Only the API server can tell whether a token without an end is still good.
  if (!hasEnd(claims)) throw new KubernetesLoginRefused('no_expiry')
  const role = { ...AS_JWT_ROLE, bound_subject: usernameOf(account), bound_audiences: audiences }
  await asOurs(() => verifyLogin({ ...local, role, roleName, jwt, now }))
}

async function checkBounds(account: ServiceAccount, attempt: KubernetesLoginAttempt): Promise<void> {
  const { cluster, reviewerJwt, role } = attempt
  if (!matchesAny(role.bound_service_account_names, account.name)) {
    throw new KubernetesLoginRefused('name_not_bound')
  }
  if (matchesAny(role.bound_service_account_namespaces, account.namespace)) return
  const selector = role.bound_service_account_namespace_selector
  if (selector === '') throw new KubernetesLoginRefused('namespace_not_bound')
  const requirements = await parseSelector(selector)
  const labels = await cluster.api.namespaceLabels(account.namespace, reviewerJwt)
  if (!selects(requirements, labels)) throw new KubernetesLoginRefused('namespace_not_bound')
}

/** Policies find the account in one place, whatever kind of token it came with. */
function withBlock({ claims, account }: UnverifiedToken): Record<string, unknown> {
  const block = claims['kubernetes.io']
  if (isObject(block) && isObject(block.serviceaccount)) return { ...claims }
  const { namespace, name, uid, secretName } = account
  const own = { namespace, serviceaccount: { name, uid }, secret: { name: secretName } }
  return { ...claims, 'kubernetes.io': own }
}

/** Does what the JWT method does, and refuses in the words of this one. */
async function asOurs<T>(check: () => T | Promise<T>): Promise<T> {
  try {
    return await check()
  } catch (error) {
    throw error instanceof LoginRefused ? new KubernetesLoginRefused(error.reason, error.detail) : error
  }
}

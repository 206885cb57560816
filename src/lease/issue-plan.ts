import type { Asked, EngineType, Spec } from '../engine/engine.ts'
import { idempotencyHash } from '../ledger/idempotency.ts'
import type { Intent } from '../ledger/lease-issue.ts'
import type { Mount } from '../ledger/mounts.ts'
import type { Reading } from '../ledger/reading.ts'
import { BrokerError } from '../lib/errors.ts'
import { matchesAny } from '../lib/glob.ts'
import { newId } from '../lib/ids.ts'
import { SYSTEM_MAX_TTL_SECONDS } from '../lib/ttl.ts'
import { type Principal, principalId } from '../policy/principal.ts'
import type { Issuable } from './issuables.ts'
import { mountTtls } from './mount-ttls.ts'
import { type LeaseTerms, leaseTerms } from './terms.ts'

export type IssueAsk = {
  principal: Principal
  /** The ledger as the request found it; the lease begins then. */
  reading: Reading
  mount: Mount
  /** Which rule let it be; the lease keeps it. */
  allowedBy: unknown
  /** The whole path asked at, without a trailing slash: `database/creds/app`. */
  path: string
  roleName: string
  /** What the request says beyond that, under its wire names. */
  fields?: Spec
  /** Who asks again under the same key, at the same path, gets no second lease while the first may be used. */
  idempotencyKey?: string
  /** The break-glass grant that allows it: the lease ends with it, and is not made once it is over. */
  grant?: IssuingGrant
}

/** `expiresAt`: no lease of it ends later. `toItsEnd`: it lives as long, where it would be shorter by its role's TTL. */
export type IssuingGrant = { id: string; expiresAt: Date; toItsEnd?: true }

/** A create that has not happened by then never may; the sweep ends what is still `issuing` after it. */
export const CREATE_DEADLINE_MS = 20_000
export const DEFAULT_STUCK_FREEZE = 50

/** A lease as it will be, before anything of it is written. */
export type Plan = {
  intent: Intent
  terms: LeaseTerms
  renewable: boolean
  warnings: readonly string[]
  reading: Reading
  targetName: string
  roleSpec: Issuable['roleSpec']
  target: NonNullable<Issuable['target']>
}

/** Throws a `BrokerError` for an ask that cannot be. */
export function planIssue(
  engineTypes: readonly EngineType[],
  ask: IssueAsk,
  found: Issuable | undefined,
): Plan {
  if (!found) throw new BrokerError('invalid_request', `unknown role: ${ask.roleName}`)
  const target = checkTarget(ask, found)
  const type = engineTypes.find(({ name }) => name === target.engine)
  if (!type) throw new BrokerError('invalid_request', `no engine of type "${target.engine}" in this version`)

  const { asked, ttlSeconds, warnings } = checkAsk(type, ask, found.roleSpec, target.spec)
  const { now } = ask.reading
  const outlivesToken = found.roleSpec.lease_outlives_token === true
  const mount = mountTtls(ask.mount.config)
  const terms = leaseTerms({
    now,
    issuedAt: now,
    incrementSeconds: ttlSeconds,
    defaultSeconds: Math.max(
      found.defaultTtlSeconds || mount.defaultSeconds,
      secondsToItsEnd(ask.grant, now),
    ),
    maxima: [
      { name: 'role_max', seconds: found.maxTtlSeconds },
      { name: 'mount_max', seconds: mount.maxSeconds || SYSTEM_MAX_TTL_SECONDS },
      ...tokenMaximum(ask.principal, now, outlivesToken),
      ...grantMaximum(ask.grant, now),
    ],
    tokenExpiresAt: outlivesToken ? null : ask.principal.tokenExpiresAt,
  })
  const id = newId()
  return {
    reading: ask.reading,
    terms,
    renewable: type.renewable?.(found.roleSpec) ?? true,
    warnings,
    target,
    targetName: found.targetName,
    roleSpec: found.roleSpec,
    intent: {
      id,
      path: ask.path,
      mountId: ask.mount.id,
      roleId: found.roleId,
      targetId: target.id,
      tokenId: ask.principal.tokenId,
      principalId: principalId(ask.principal),
      allowedBy: ask.allowedBy,
      outlivesToken,
      account: type.accountName({
        target: target.spec,
        role: found.roleSpec,
        asked,
        roleName: ask.roleName,
        leaseId: id,
        displayName: ask.principal.displayName,
      }),
      asked,
      issuedAt: now,
      expiresAt: terms.expiresAt,
      hardExpiresAt: terms.hardExpiresAt,
      limitedBy: terms.limitedBy,
      hardLimitedBy: terms.hardLimitedBy,
      createDeadline: new Date(now.getTime() + CREATE_DEADLINE_MS),
      stuckFreeze: Number(target.spec.stuck_freeze ?? DEFAULT_STUCK_FREEZE),
      idempotencyKey: ask.idempotencyKey === undefined ? null : idempotencyHash(ask.idempotencyKey),
      grantId: ask.grant?.id ?? null,
    },
  }
}

const checkAsk = (type: EngineType, { roleName, fields = {} }: IssueAsk, role: Spec, target: Spec): Asked =>
  type.checkAsk?.({ target, role, roleName, fields }) ?? { asked: {}, warnings: [] }

/** Permanent faults answer 400, where Vault says 500, so that clients do not retry them into three accounts. */
function checkTarget(ask: IssueAsk, found: Issuable): NonNullable<Issuable['target']> {
  const { target } = found
  if (!target) {
    throw new BrokerError(
      'invalid_request',
      `failed to find entry for connection with name: "${found.targetName}"`,
    )
  }
  if (!matchesAny(target.allowedRoles, ask.roleName)) {
    throw new BrokerError('invalid_request', `"${ask.roleName}" is not an allowed role`)
  }
  return target
}

function tokenMaximum(
  principal: Principal,
  now: Date,
  outlivesToken: boolean,
): { name: 'token'; seconds: number }[] {
  if (outlivesToken || !principal.tokenHardExpiresAt) return []
  return [{ name: 'token', seconds: (principal.tokenHardExpiresAt.getTime() - now.getTime()) / 1_000 }]
}

function grantMaximum(grant: IssuingGrant | undefined, now: Date): { name: 'grant'; seconds: number }[] {
  if (!grant) return []
  const seconds = (grant.expiresAt.getTime() - now.getTime()) / 1_000
  // Less than a second is no lease, and none at all would pass for no bound.
  if (seconds < 1) throw grantOver()
  return [{ name: 'grant', seconds }]
}

const secondsToItsEnd = (grant: IssuingGrant | undefined, now: Date): number =>
  grant?.toItsEnd ? Math.floor((grant.expiresAt.getTime() - now.getTime()) / 1_000) : 0

export const grantOver = (state?: string): BrokerError =>
  new BrokerError(
    'conflict',
    state && state !== 'active' && state !== 'activating'
      ? `the break-glass grant is ${state}: nothing is issued under it`
      : 'the break-glass grant is over: nothing is issued under it',
  )

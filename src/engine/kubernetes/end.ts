import { messageOf } from '../../lib/errors.ts'
import { pause } from '../../lib/pause.ts'
import { failed, ok, type Result } from '../../lib/result.ts'
import type { Sensitive } from '../../lib/sensitive.ts'
import { type Account, type Ending, type EndStep, EngineError, type Evidence, type Spec } from '../engine.ts'
import { type Api, isAbsent, KubernetesRefusal } from './api.ts'
import { deleteObjects } from './delete.ts'
import { ACCESS_KINDS, type Kind, kindsOf } from './objects.ts'
import { type Mode, readMode } from './role.ts'
import type { Target } from './target.ts'
import { holderOf, isAccepted, requestToken } from './tokens.ts'

/** How a target's leases are ended. Remembers what it needs between the steps; a step without that takes longer. */
export type EndAccounts = (step: EndStep, endings: readonly Ending[]) => Promise<Result<Evidence>[]>

/** What is known of a lease between the steps of its ending, in this process. */
type Cut = {
  atMs: number
  /**
   * Bound as the lease's own tokens are, and shown to nobody, so that no API server remembers it as good. A plain text
   * says why there is none; an empty one, that there was nothing to bind it to.
   */
  probe: Sensitive | string
  /** The Secret is marked as deleted and still there; API servers go by it for another minute. */
  isHeld: boolean
}

const CANARY_SECONDS = 600
/** The deletion waits for it. */
const CANARY_WITHIN_MS = 3_000
const POLL_MS = 100
/** An API server hears of a deletion within milliseconds; this one hears of nothing any more. */
const HEARD_WITHIN_MS = 10_000
const REMEMBERED_MS = 10 * 60_000

export function openEnding(api: Api, { tokenCacheMs }: Pick<Target, 'tokenCacheMs'>): EndAccounts {
  const cuts = new Map<string, Cut>()

  const note = (leaseId: string, cut: Cut): void => {
    for (const [id, { atMs }] of cuts) {
      if (cut.atMs - atMs < REMEMBERED_MS) break
      cuts.delete(id)
    }
    cuts.delete(leaseId)
    cuts.set(leaseId, cut)
  }
  /** It gave out tokens once, and who took them back was not here. */
  const isUnseen = ({ leaseId, targetRef }: Account): boolean => targetRef !== null && !cuts.has(leaseId)

  const steps: Record<EndStep, (ending: Ending) => Promise<Evidence>> = {
    async disable(ending) {
      const { account } = ending
      const kinds = kindsFor(ending.role)
      const probe = await canary(api, ending)
      const found = await deleteObjects(
        api,
        kinds.filter((kind) => ACCESS_KINDS.includes(kind)),
        account,
      )
      const deleted = found.map(({ kind }) => kind)
      const isHeld = found.some(({ kind, isHeld }) => kind === 'Secret' && isHeld)
      if (deleted.length > 0) note(account.leaseId, { atMs: performance.now(), probe, isHeld })
      // Of a deletion nobody here saw, all that is known is that it is over now.
      else if (isUnseen(account) || cuts.get(account.leaseId)?.isHeld) note(account.leaseId, unseenCut())
      if (deleted.length === 0) return { account: 'absent' }
      return {
        account: 'tokens revoked',
        was_disabled_before: !deleted.includes('Secret'),
        deleted: deleted.map((kind) => `${kind} ${account.name}`),
      }
    },
    disconnect: (ending) => refusedNow(api, cuts.get(ending.account.leaseId), tokenCacheMs),
    async remove({ account, role }) {
      const deleted = await deleteObjects(api, kindsFor(role), account)
      return { deleted: deleted.map(({ kind }) => `${kind} ${account.name}`) }
    },
    async verify(ending) {
      if (ending.createWithinMs > 0) {
        throw new EngineError('pending', 'a create of this account may still be under way')
      }
      const { account, role } = ending
      const kinds = kindsFor(role)
      const found = await deleteObjects(api, kinds, account)
      if (found.length > 0)
        throw new EngineError(
          'blocked',
          `${found.map(({ kind }) => kind).join(', ')} "${account.name}" was still there`,
        )
      if (isUnseen(account)) note(account.leaseId, unseenCut())
      const cut = cuts.get(account.leaseId)
      // By then no API server lets in a token that it checked while the Secret was there.
      if (cut) await pause(Math.max(0, cut.atMs + tokenCacheMs - performance.now()))
      return { absent: kinds.map((kind) => `${kind} ${account.name}`), token_cache_expired: true }
    },
  }
  return (step, endings) => Promise.all(endings.map((ending) => steps[step](ending).then(ok, failed)))
}

const unseenCut = (): Cut => ({ atMs: performance.now(), probe: '', isHeld: false })

/** The kinds that a lease of the role can have; of a lease whose role is not known, all. */
function kindsFor(role: Spec): readonly Kind[] {
  const isKnown = ['service_account_name', 'kubernetes_role_name', 'generated_role_rules'].some(
    (name) => role[name] !== undefined,
  )
  const mode: Mode | undefined = isKnown ? readMode(role) : undefined
  return kindsOf(mode)
}

/**
 * Asked for before the Secret goes, so that it can be seen afterwards that what hangs on it opens nothing: the lease's
 * own tokens we do not have. Ending must not depend on it.
 */
async function canary(api: Api, { account, role }: Ending): Promise<Cut['probe']> {
  const holder = holderOf(role, account)
  try {
    const ask = {
      holder,
      secretUid: account.targetRef,
      audiences: [],
      seconds: CANARY_SECONDS,
      withinMs: CANARY_WITHIN_MS,
    }
    return (await requestToken(api, 'ending', ask)).text
  } catch (error) {
    if (isAbsent(error, holder.secretName, holder.serviceAccount)) return ''
    if (error instanceof EngineError) return messageOf(error)
    throw error
  }
}

const RESIDUAL_STREAMS =
  'requests that were open when access ended, such as a watch, a log or an exec, go on until they close'

function residual(tokenCacheMs: number): string[] {
  const seconds = Math.ceil(tokenCacheMs / 1_000)
  return [
    `for ${seconds} s after access ended, an API server that had checked a token just before may have let it in once more`,
    RESIDUAL_STREAMS,
  ]
}

/** Looks until an API server that has to look afresh refuses what hung on the lease's Secret. */
async function refusedNow(api: Api, cut: Cut | undefined, tokenCacheMs: number): Promise<Evidence> {
  const left = cut ? { residual: residual(tokenCacheMs) } : {}
  if (!cut || cut.probe === '')
    return { token_refused: 'not asked: there was nothing left to hang a token on', ...left }
  const unproved = (why: string): Evidence => {
    if (!cut.isHeld) return { token_refused: `not asked: ${why}`, ...left }
    throw new EngineError(
      'blocked',
      `something holds the Secret, and whether tokens still work is not seen: ${why}`,
    )
  }
  if (typeof cut.probe === 'string') return unproved(cut.probe)
  const untilMs = performance.now() + HEARD_WITHIN_MS
  for (let asked = 1; ; asked += 1) {
    try {
      if (!(await isAccepted(api, cut.probe))) {
        // It has heard of the deletion by now: from here on counts what it remembers.
        cut.atMs = performance.now()
        return { token_refused: true, times_asked: asked, ...left }
      }
    } catch (error) {
      if (error instanceof KubernetesRefusal && error.kind === 'denied') {
        return unproved(messageOf(error))
      }
      throw error
    }
    if (performance.now() > untilMs) {
      throw new EngineError('blocked', 'the API server still takes tokens of a Secret that was deleted')
    }
    await pause(POLL_MS)
  }
}

import { messageOf } from '../../lib/errors.ts'
import { isObject } from '../../lib/objects.ts'
import { failed, ok, type Result } from '../../lib/result.ts'
import { type Created, EngineError, type Term, type Ticket } from '../engine.ts'
import { type Api, KubernetesRefusal } from './api.ts'
import { readTie } from './ask.ts'
import { deleteObject } from './delete.ts'
import { placeOf } from './name.ts'
import { type Kind, ownedBy, type Planned, pathOf, plannedObjects } from './objects.ts'
import { parseRules, readMode } from './role.ts'
import { holderOf, leaseToken, requestToken } from './tokens.ts'

/** Makes what each ticket names, side by side. One that fails takes away again what it had made, as far as it can. */
export const createAccounts = (api: Api, tickets: readonly Ticket[]): Promise<Result<Created>[]> =>
  Promise.all(tickets.map((ticket) => createOne(api, ticket).then(ok, failed)))

async function createOne(api: Api, ticket: Ticket): Promise<Created> {
  const { account, role, asked } = ticket
  const made: Kind[] = []
  const startedMs = performance.now()
  /** What is left until nothing may come into being any more. */
  const left = (): number => {
    const ms = Math.floor(ticket.createWithinMs - (performance.now() - startedMs))
    if (ms <= 0) throw new EngineError('late', 'the create deadline has passed')
    return ms
  }
  const make = async ({ kind, body }: Planned, owner: { planned: Planned; uid: string } | undefined) => {
    const ownerReferences = owner ? [ownedBy(owner.planned, owner.uid)] : body.metadata?.ownerReferences
    const withOwner = { ...body, metadata: { ...body.metadata, ...(ownerReferences && { ownerReferences }) } }
    const uid = await createObject(api, kind, placeOf(account).namespace, withOwner, left())
    made.push(kind)
    return { kind, uid }
  }
  try {
    left()
    const mode = readMode(role)
    const [first, ...others] = plannedObjects({
      account,
      role,
      mode,
      rules: mode.kind === 'generated' ? await parseRules(mode.rulesText) : [],
      clusterWide: asked.cluster_role_binding === true && mode.kind !== 'existing',
      tie: readTie(asked),
    }) as [Planned, ...Planned[]]
    const root = await make(first, undefined)
    const rest = await allOf(others.map((each) => make(each, { planned: first, uid: root.uid })))
    const secretUid = [root, ...rest].find(({ kind }) => kind === 'Secret')?.uid ?? ''
    const lifetimeMs = ticket.lifetimeMs - (performance.now() - startedMs)
    const term = { account, role, asked, secretUid, lifetimeMs, withinMs: left() }
    const created = await leaseToken(api, term).catch((error: unknown) => {
      throw about(error, tokenFailure(ticket))
    })
    const { lifetimeMs: given } = created
    // From the call on, as the lease counts.
    return given === undefined ? created : { ...created, lifetimeMs: given + ticket.lifetimeMs - lifetimeMs }
  } catch (error) {
    // What stays is found by the lease's end, which follows: this only makes it quick.
    await Promise.allSettled(made.map((kind) => deleteObject(api, 'issuing', kind, account)))
    throw error
  }
}

/** Waits for all, so that nothing is being made any more when the first failure is acted on. */
async function allOf<T>(work: Promise<T>[]): Promise<T[]> {
  const settled = await Promise.allSettled(work)
  return settled.map((each) => {
    if (each.status === 'rejected') throw each.reason
    return each.value
  })
}

async function createObject(
  api: Api,
  kind: Kind,
  namespace: string,
  body: Planned['body'],
  withinMs: number,
): Promise<string> {
  const path = pathOf(kind, namespace)
  const { body: made } = await api
    .ask('issuing', { method: 'POST', path, body, withinMs })
    .catch((error: unknown) => {
      throw about(error, `failed to create ${kind} ${namespace}/${body.metadata?.name}`)
    })
  const uid = isObject(made.metadata) ? made.metadata.uid : undefined
  if (typeof uid !== 'string')
    throw new EngineError('blocked', `the API server answers a ${kind} without a UID`)
  return uid
}

function tokenFailure({ role, account }: Pick<Ticket, 'role' | 'account'>): string {
  const { namespace, serviceAccount } = holderOf(role, account)
  return `failed to create a service account token for ${namespace}/${serviceAccount}`
}

/** The same error, with what was being done before it. */
function about(error: unknown, doing: string): unknown {
  if (error instanceof KubernetesRefusal)
    return new KubernetesRefusal(error.status, `${doing}: ${error.message}`)
  if (error instanceof EngineError) {
    return new EngineError(error.kind, `${doing}: ${messageOf(error)}`, { cause: error })
  }
  return error
}

/** Tokens end by themselves, so there is nothing to move; but a lease whose Secret is gone must not be renewed. */
export const extendAccounts = (api: Api, terms: readonly Term[]): Promise<Result<void>[]> =>
  Promise.all(
    terms.map(async ({ account, role }) => {
      const holder = holderOf(role, account)
      try {
        // Asking for a token is what it takes to see the Secret without the right to read it. It goes to nobody.
        await requestToken(api, 'issuing', {
          holder,
          secretUid: account.targetRef,
          audiences: [],
          seconds: 600,
        })
        return ok(undefined)
      } catch (error) {
        return failed(about(error, `"${account.name}" cannot be renewed`))
      }
    }),
  )

/** A fresh token on the Secret that the lease has had from its beginning. */
export const rearmAccounts = (
  api: Api,
  terms: readonly (Term & { asked: Ticket['asked'] })[],
): Promise<Result<Created>[]> =>
  Promise.all(
    terms.map((term) =>
      leaseToken(api, { ...term, secretUid: term.account.targetRef ?? '' }).then(ok, (error: unknown) =>
        failed(about(error, tokenFailure(term))),
      ),
    ),
  )

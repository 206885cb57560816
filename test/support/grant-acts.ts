import type { Caller } from '../../src/breakglass/access-parts.ts'
import { findPendingExtension } from '../../src/ledger/grant-extensions.ts'
import { httpStatus } from '../../src/lib/errors.ts'
import type { Login, Name } from './grant-people.ts'
import { type Asked, asRequest, type GrantServer, type GrantWorld } from './grant-world.ts'

/** Everything that somebody may try to do to a grant, by the code that serves it over HTTP. */
export const ACTS = [
  'approve',
  'narrow',
  'deny',
  'withdraw',
  'witness',
  'cancel',
  'activate',
  'collect',
  'extend',
  'approve-extension',
  'deny-extension',
  'suspend',
  'resume',
  'end',
  'ratify',
  'refuse-ratification',
  'abandon',
  'review-ok',
  'review-rotate',
  'review-flagged',
  'reopen',
  'incident-closed',
  'incident-system',
] as const

export type ActName = (typeof ACTS)[number]
export type Try = { does: ActName; by: Name; login: Login; seen: 'right' | 'stale' }

export const EXTENSION_SECONDS = 300
export const NARROWED_BY_SECONDS = 60

const CHECKLIST = { actions_match_reason: true, ticket_true: true, data_touched: true, follow_up: true }

/** What somebody has seen of a grant before they do something to it. */
export type Seen = {
  planHash: string
  durationSeconds: number
  state: string
  version: number
  extensionHash?: string | undefined
}

/** Undefined when it was let be; otherwise the status that its refusal has on the wire. */
export async function attempt(
  world: GrantWorld,
  server: GrantServer,
  asked: Asked,
  { does, by, login, seen }: Try,
  before?: Seen,
): Promise<number | undefined> {
  const actor = world.actor(by, login, asked)
  const { requests, access } = server
  const { planHash, durationSeconds, state, version, extensionHash } = before ?? (await look(world, asked))
  const hash = (right: string) => (seen === 'right' ? right : 'f'.repeat(64))
  const act = { actor, grantId: asked.id }
  const vote = { ...act, planHash: hash(planHash), comment: 'because' }
  const why = { ...act, reason: 'because', evidence: 'the ticket of its removal' }
  const caller = () => callerOf(world, server, actor)
  const review = (outcome: 'ok' | 'flagged', rotate: boolean) =>
    access.review({
      ...act,
      ...{
        outcome,
        checklist: { ...CHECKLIST, rotate },
        finding: 'odd',
        caseId: 'C-1',
        ticketVerified: true,
        // Each version is an event.
        eventsSeen: seen === 'right' ? version : version - 1,
      },
    })
  const doing: Record<ActName, () => Promise<unknown>> = {
    approve: () => requests.approve(vote),
    narrow: () =>
      requests.approve({ ...vote, narrow: { durationSeconds: durationSeconds - NARROWED_BY_SECONDS } }),
    deny: () => requests.deny(vote),
    withdraw: () => requests.withdraw(act),
    witness: () => requests.witness(vote),
    cancel: () => (state === 'activating' ? access.cancel(act) : requests.cancel(act)),
    activate: async () => access.activate(await caller(), { grantId: asked.id }),
    collect: async () => access.collect(await caller(), { grantId: asked.id }),
    extend: () => access.extensions.ask({ ...why, seconds: EXTENSION_SECONDS }),
    'approve-extension': () =>
      access.extensions.approve({ ...vote, planHash: hash(extensionHash ?? planHash) }),
    'deny-extension': () => access.extensions.deny(vote),
    suspend: () => access.suspend(why),
    resume: () => access.resume(vote),
    end: () => access.end(why),
    ratify: () => access.ratifications.ratify(vote),
    'refuse-ratification': () => access.ratifications.refuse(vote),
    abandon: () => access.abandon(why),
    'review-ok': () => review('ok', false),
    'review-rotate': () => review('ok', true),
    'review-flagged': () => review('flagged', false),
    reopen: () => access.reopen(why),
    'incident-closed': () => access.incidentClosed(why, { isIncidentSystem: false }),
    'incident-system': () => access.incidentClosed({ ...why, seesAll: true }, { isIncidentSystem: true }),
  }
  return asRequest(doing[does]).then(
    () => undefined,
    (error) => httpStatus(error),
  )
}

async function look(world: GrantWorld, { id }: Asked): Promise<Seen> {
  const extension = await findPendingExtension(world.lease.ledger, id)
  return { ...(await world.grant(id)), extensionHash: extension?.planHash }
}

/** Policy lets everybody read every path: what is tried here is what the grant lets them. */
async function callerOf(
  { lease }: GrantWorld,
  { process }: GrantServer,
  actor: Caller['actor'],
): Promise<Caller> {
  const { reading } = await process.tokens.identify(undefined)
  return {
    actor,
    principal: lease.root,
    reading,
    decide: async () => ({ allowed: true, why: 'allowed', by: null, conditions: [] }) as never,
    onUndelivered: () => {},
  }
}

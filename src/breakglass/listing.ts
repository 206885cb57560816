import type { Db } from '../ledger/db.ts'
import { countGrants, type GrantFilter, listGrants } from '../ledger/grant-listing.ts'
import { ledgerNow } from '../ledger/installation.ts'
import { BrokerError } from '../lib/errors.ts'
import { type GrantAction, judged } from './actions.ts'
import type { Actor } from './actor.ts'
import { sightOf } from './sight.ts'
import { type Situation, situationsOf } from './situation.ts'
import { GRANT_STATES, type GrantState } from './states.ts'
import { quorumOf, shortRequest } from './view.ts'

export type ListView = 'inbox' | 'mine' | 'all' | 'reviews'

export type ListAsk = {
  view: ListView
  states: readonly string[]
  policy: string | undefined
  role: string | undefined
  requester: string | undefined
  limit: number
  cursor: string | undefined
}

/** What somebody else waits for: their voice, and nothing that only ends or looks. */
const VOICES: ReadonlySet<string> = new Set([
  'approve',
  'deny',
  'witness',
  'approve-extension',
  'deny-extension',
  'resume',
  'abandon',
  'ratify',
  'refuse-ratification',
])
const MAY_NEED_VOICE: readonly GrantState[] = [
  'pending',
  'active',
  'suspended',
  'ending',
  'ending_stuck',
  'review_due',
]
const OPEN: readonly GrantState[] = [
  'pending',
  'approved',
  'activating',
  'active',
  'suspended',
  'ending',
  'ending_stuck',
]
const REVIEWS: readonly GrantState[] = ['review_due', 'review_overdue']
/** An inbox is looked through so far for its count. */
const INBOX_COUNTED = 200

const VIEW_STATES: Readonly<Record<ListView, readonly GrantState[] | null>> = {
  inbox: MAY_NEED_VOICE,
  mine: null,
  all: null,
  reviews: REVIEWS,
}

/** A page of what the actor may see, the newest first. A page of the inbox may be short and still have a next one. */
export async function listRequests(
  db: Db,
  { actor, seesAll }: { actor: Actor; seesAll: boolean },
  ask: ListAsk,
  actions: readonly GrantAction[],
) {
  const sight = await sightOf(db, actor, seesAll)
  const own = { requesterId: actor.id, person: actor.person }
  const look = async (filter: GrantFilter): Promise<Situation[]> =>
    situationsOf(db, await listGrants(db, sight, own, filter), actor)
  const waiting = await look(WAITING)
  const found = isWithin(ask) ? waiting : await look({ ...filterOf(ask), limit: ask.limit + 1 })
  const page = found.slice(0, ask.limit)
  const shown = ask.view === 'inbox' ? page.filter((one) => needsVoice(one, actions)) : page
  const last = found.length > ask.limit ? page.at(-1) : undefined
  return {
    requests: shown.map((one) => ({
      ...shortRequest(one),
      quorum: quorumOf(one),
      ...judged(actions, one),
    })),
    cursor: last ? cursorOf(last) : null,
    counts: {
      inbox: waiting.filter((one) => needsVoice(one, actions)).length,
      ...countsOf(await countGrants(db, sight, own, [...OPEN, ...REVIEWS])),
    },
    now: (page[0]?.now ?? (await ledgerNow(db))).toISOString(),
  }
}

/** What an inbox is counted by: the newest of what may wait for somebody. */
const WAITING: GrantFilter = {
  mine: false,
  states: MAY_NEED_VOICE,
  policy: null,
  role: null,
  requester: null,
  after: null,
  limit: INBOX_COUNTED,
}

/** The first page of an inbox is among what is counted, and need not be read twice. */
const isWithin = ({ view, states, policy, role, requester, cursor, limit }: ListAsk): boolean =>
  view === 'inbox' &&
  states.length === 0 &&
  [policy, role, requester, cursor].every((narrowing) => narrowing === undefined) &&
  limit < INBOX_COUNTED

/** Whether the actor's word is wanted, even if they have to log in again for it. */
function needsVoice(situation: Situation, actions: readonly GrantAction[]): boolean {
  const wanted = actions.filter(({ name }) => VOICES.has(name))
  const { allowed, refused } = judged(wanted, situation)
  if (allowed.length > 0) return !hasVoted(situation)
  return Object.values(refused).some((why) => why.startsWith('log in '))
}

/** Who has said yes already may still say no, and is not asked to. */
const hasVoted = ({ grant, votes, actor }: Situation): boolean =>
  grant.state === 'pending' &&
  votes.some(({ round, endedAt, voterId }) => round === 0 && endedAt === null && voterId === actor.id)

function countsOf(byState: Awaited<ReturnType<typeof countGrants>>) {
  const sum = (states: readonly string[], which: 'all' | 'mine') =>
    byState.filter(({ state }) => states.includes(state)).reduce((total, row) => total + row[which], 0)
  return {
    mine_open: sum(OPEN, 'mine'),
    reviews_due: sum(['review_due'], 'all'),
    reviews_overdue: sum(['review_overdue'], 'all'),
  }
}

function filterOf({ view, states, policy, role, requester, limit, cursor }: ListAsk): GrantFilter {
  const unknown = states.find((state) => !(GRANT_STATES as readonly string[]).includes(state))
  if (unknown !== undefined) throw refused('state', `has ${JSON.stringify(unknown)}, which is no state`)
  const ofView = VIEW_STATES[view]
  const wanted =
    states.length > 0 ? states.filter((state) => ofView?.includes(state as GrantState) ?? true) : ofView
  return {
    mine: view === 'mine',
    states: wanted,
    policy: policy ?? null,
    role: role ?? null,
    requester: requester ?? null,
    after: cursor === undefined ? null : readCursor(cursor),
    limit,
  }
}

const cursorOf = ({ grant }: Situation): string =>
  Buffer.from(`${grant.requestedAt.toISOString()} ${grant.id}`).toString('base64url')

function readCursor(cursor: string): GrantFilter['after'] {
  const [time = '', id = ''] = Buffer.from(cursor, 'base64url').toString('utf8').split(' ')
  const requestedAt = new Date(time)
  if (Number.isNaN(requestedAt.getTime()) || id === '') throw refused('cursor', 'is none of ours')
  return { requestedAt, id }
}

const refused = (field: string, what: string): BrokerError =>
  new BrokerError('invalid_request', `Field validation failed: field "${field}" ${what}`)

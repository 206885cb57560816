/** The states a lease may be asked for by, in the words of the API. `revoked` stands alone: the ended are another listing. */
export const LEASE_STATES = ['issuing', 'active', 'revoking', 'stuck', 'revoked'] as const
export type LeaseStateFilter = (typeof LEASE_STATES)[number]

/** Within what time a lease is due to end, in seconds, by its word in the address. */
export const TIME_LEFT = { '5m': 300, '15m': 900, '1h': 3_600, '1d': 86_400 } as const
export type TimeLeft = keyof typeof TIME_LEFT

/** What the table of leases shows. Empty means any; it is all in the page's address, and nothing in it is secret. */
export type LeaseFilters = {
  states: LeaseStateFilter[]
  principal: string
  /** The path leases were asked at, or the beginning of it: `database/creds/app`. */
  role: string
  target: string
  grant: string
  left: TimeLeft | ''
}

const TEXTS = ['principal', 'role', 'target', 'grant'] as const
const MAX_TEXT = 200

/** What an address asks for. What it cannot mean is left out: an address is typed by people. */
export function filtersOf(query: URLSearchParams): LeaseFilters {
  const [principal, role, target, grant] = TEXTS.map((name) => textOf(query, name)) as [
    string,
    string,
    string,
    string,
  ]
  const left = query.get('left') ?? ''
  const states = (query.get('state') ?? '').split(',').filter(isState)
  return { states: settled(states), principal, role, target, grant, left: isTimeLeft(left) ? left : '' }
}

/** The address for it, without what is not set. */
export function addressOf(filters: LeaseFilters): URLSearchParams {
  const query = new URLSearchParams()
  if (filters.states.length > 0) query.set('state', filters.states.join(','))
  for (const name of TEXTS) if (filters[name]) query.set(name, filters[name])
  if (filters.left) query.set('left', filters.left)
  return query
}

/** What to ask the API for it: one page after `cursor`. */
export function listingOf(
  filters: LeaseFilters,
  page: { limit: number; cursor: string | null },
): URLSearchParams {
  const query = new URLSearchParams()
  if (filters.states.length > 0) query.set('state', filters.states.join(','))
  if (filters.role) query.set('prefix', filters.role)
  for (const name of ['principal', 'target', 'grant'] as const)
    if (filters[name]) query.set(name, filters[name])
  query.set('limit', String(page.limit))
  if (page.cursor) query.set('cursor', page.cursor)
  return query
}

/** Of several states that were chosen, those that can be listed together: `revoked` only when it is alone. */
export function settled(states: readonly LeaseStateFilter[]): LeaseStateFilter[] {
  const chosen = LEASE_STATES.filter((state) => states.includes(state))
  return chosen.length > 1 ? chosen.filter((state) => state !== 'revoked') : chosen
}

/** How many filters are set, for the button that opens them on a phone. */
export const howMany = (filters: LeaseFilters): number => [...addressOf(filters).keys()].length

/**
 * Leases come soonest first, so those due within a time are the head of the listing, and once one is due later there is
 * no next page.
 */
export function dueWithin<Row extends { next_action_at: string | null }>(
  rows: readonly Row[],
  { left, now, cursor }: { left: TimeLeft | ''; now: Date; cursor: string | null },
): { rows: Row[]; cursor: string | null } {
  if (!left) return { rows: [...rows], cursor }
  const until = now.getTime() + TIME_LEFT[left] * 1_000
  const within = rows.filter(({ next_action_at: at }) => at !== null && new Date(at).getTime() <= until)
  return { rows: within, cursor: within.length < rows.length ? null : cursor }
}

const textOf = (query: URLSearchParams, name: string): string =>
  (query.get(name) ?? '').trim().slice(0, MAX_TEXT)

const isState = (text: string): text is LeaseStateFilter => LEASE_STATES.some((state) => state === text)

const isTimeLeft = (text: string): text is TimeLeft => Object.hasOwn(TIME_LEFT, text)

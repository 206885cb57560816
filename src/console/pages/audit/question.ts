/** The kinds of events, with what a person calls them. */
export const EVENT_TYPES = {
  request: 'requests',
  login: 'logins',
  lease_step: 'steps of ending leases',
  system: 'what the broker did by itself',
  close: 'ends of chains',
} as const
export type EventType = keyof typeof EVENT_TYPES

/** What is asked of the log. All of it is in the page's address; empty means any. Times RFC 3339. */
export type AuditQuestion = {
  from: string
  to: string
  principal: string
  path: string
  lease_id: string
  grant: string
  target: string
  type: EventType | ''
  /** Oldest first, as it happened; else the newest first. */
  oldest: boolean
}

const TEXTS = ['principal', 'path', 'lease_id', 'grant', 'target'] as const
const MAX_TEXT = 500

/** What an address asks for; what it cannot mean is left out. */
export function questionOf(query: URLSearchParams): AuditQuestion {
  const text = (name: string) => (query.get(name) ?? '').trim().slice(0, MAX_TEXT)
  const type = text('type')
  return {
    from: timeOf(text('from')),
    to: timeOf(text('to')),
    principal: text('principal'),
    path: text('path'),
    lease_id: text('lease_id'),
    grant: text('grant'),
    target: text('target'),
    type: Object.hasOwn(EVENT_TYPES, type) ? (type as EventType) : '',
    oldest: query.get('order') === 'oldest',
  }
}

/** The address for it, without what is not set. */
export function addressOf(question: AuditQuestion): URLSearchParams {
  const query = new URLSearchParams()
  for (const name of ['from', 'to', ...TEXTS, 'type'] as const)
    if (question[name]) query.set(name, question[name])
  if (question.oldest) query.set('order', 'oldest')
  return query
}

/** What to send for a page of it; `after` is what the page before gave as next. */
export function askedOf(
  question: AuditQuestion,
  page: { limit: number; after: string | null },
): URLSearchParams {
  const query = addressOf(question)
  query.delete('order')
  if (!question.oldest) query.set('newest', 'true')
  query.set('limit', String(page.limit))
  if (page.after) query.set('after', page.after)
  return query
}

export const isNarrowed = (question: AuditQuestion): boolean =>
  [...addressOf({ ...question, oldest: false }).keys()].length > 0

const timeOf = (text: string): string => {
  const time = new Date(text)
  return text === '' || Number.isNaN(time.getTime()) ? '' : time.toISOString()
}

/** A time for an input of the browser's, which knows only the reader's zone: to the minute; empty for none. */
export function localInput(at: string): string {
  if (at === '') return ''
  const time = new Date(at)
  const two = (value: number) => String(value).padStart(2, '0')
  return `${time.getFullYear()}-${two(time.getMonth() + 1)}-${two(time.getDate())}T${two(time.getHours())}:${two(time.getMinutes())}`
}

/** Back from such an input: in the reader's zone, as it says nothing of one. Empty for what is no time. */
export const fromLocalInput = (typed: string): string => timeOf(typed)

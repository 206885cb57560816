import { CUT, canonicalJson, type Detail } from './canonical.ts'
import type { StoredEvent } from './chain.ts'

export type { Detail }

/**
 * What an audit event says; the names are those of the stored text and of the API. Times are not in here: an event
 * is dated by the chain it stands in.
 */
export type AuditEvent = {
  /** `close` is written by the chain alone, as a writer's last event. */
  type: 'request' | 'login' | 'lease_step' | 'system' | 'close'
  request_id?: string | undefined
  /** What the caller calls the request: their word. */
  client_request_id?: string | undefined
  who?: AuditedCaller | undefined
  what: {
    /** The operation or the step: `update`, `login`, `disconnect`. */
    operation: string
    path?: string | undefined
    /** Only as `auditParameters` gives them. */
    parameters?: Detail
  }
  /** The rule that decided; absent where none was asked. */
  decision?: AuditedDecision | undefined
  outcome: { status?: number | undefined; error?: string | undefined; message?: string | undefined }
  lease_id?: string | undefined
  target?: string | undefined
  role?: string | undefined
  /** What else is worth knowing. Never a secret: nothing here is hashed. */
  details?: { [name: string]: Detail } | undefined
  /** Which parts were left out because the event would have been too large. */
  cut?: string[] | undefined
}

export type AuditedCaller = {
  principal?: string | undefined
  kind?: 'human' | 'workload' | undefined
  issuer?: string | undefined
  mount?: string | undefined
  subject?: string | undefined
  display_name?: string | undefined
  /** The token's accessor, never the token. */
  accessor?: string | undefined
  source_address?: string | undefined
}

export type AuditedDecision = {
  allowed: boolean
  policy?: string | undefined
  version?: number | undefined
  pattern?: string | undefined
  line?: number | undefined
}

/** UTF-8 bytes of one event's text. */
export const MAX_BODY_BYTES = 16 * 1024
/** What a long text is cut to, and, if need be, every text: then all fields fit, however their characters are escaped. */
const LONG_TEXT_CHARACTERS = 512
const ANY_TEXT_CHARACTERS = 80

/**
 * The text of an event that is stored and hashed: canonical JSON of at most `MAX_BODY_BYTES`. Never throws, since a
 * request must not escape its record by being large: what does not fit is left out, what its caller sent before what we
 * found, and `cut` says so.
 */
export function canonical(event: AuditEvent): string {
  for (const shape of [
    whole,
    withoutParameters,
    withoutDetails,
    withShortTexts(LONG_TEXT_CHARACTERS),
    withShortTexts(ANY_TEXT_CHARACTERS),
  ]) {
    const text = canonicalJson(shape(event))
    if (Buffer.byteLength(text) <= MAX_BODY_BYTES) return text
  }
  return canonicalJson({ type: event.type, cut: ['all'] })
}

const whole = (event: AuditEvent): AuditEvent => event

function withoutParameters({ what: { parameters: _, ...what }, ...event }: AuditEvent): AuditEvent {
  return { ...event, what, cut: ['what.parameters'] }
}

function withoutDetails({ details, ...event }: AuditEvent): AuditEvent {
  const { parameters, ...what } = event.what
  const cut = [...(parameters === undefined ? [] : ['what.parameters']), ...(details ? ['details'] : [])]
  return { ...event, what, cut }
}

/** Fields are few once parameters and details are gone, so a bound on each bounds the event. */
const withShortTexts =
  (characters: number) =>
  (event: AuditEvent): unknown => {
    const { cut = [], ...bare } = withoutDetails(event)
    return { ...(shortened(bare, characters) as object), cut: [...cut, 'long texts'] }
  }

function shortened(value: unknown, characters: number): unknown {
  if (typeof value === 'string') return shortText(value, characters)
  if (typeof value !== 'object' || value === null) return value
  return Object.fromEntries(
    Object.entries(value).map(([name, member]) => [name, shortened(member, characters)]),
  )
}

/** At most `characters` of a text, and a mark where the rest was. */
export const shortText = (text: string, characters: number): string =>
  text.length <= characters ? text : `${text.slice(0, characters - CUT.length)}${CUT}`

/** What a writer's last event says. */
export const CLOSING: AuditEvent = { type: 'close', what: { operation: 'writer_closed' }, outcome: {} }

const FIELD = '"type":"close"'

/** Whether a stored text is that of a writer's last event. */
export const isClosing = (body: string): boolean => body.includes(FIELD) && fieldOf(body, 'type') === 'close'

/** The request an event belongs to, when its text still says so; never text that could disturb a terminal. */
export function requestIdOf(body: string): string | undefined {
  const id = fieldOf(body, 'request_id')
  return typeof id === 'string' && /^[\w.:-]{1,64}$/.test(id) ? id : undefined
}

/** Whether what a ledger repeats of a stored event is what the event says. Of one that was cut, that cannot be told. */
export function copiesAgree({ at, body, copies }: StoredEvent): boolean {
  if (!copies) return true
  const { who, ...event } = parsed(body)
  if ('cut' in event) return true
  const principal = (who as { principal?: unknown } | undefined)?.principal
  return (
    copies.at === at &&
    copies.type === event.type &&
    copies.principal === (principal ?? null) &&
    copies.lease_id === (event.lease_id ?? null) &&
    copies.target === (event.target ?? null)
  )
}

function parsed(body: string): Record<string, unknown> {
  try {
    return (JSON.parse(body) as Record<string, unknown> | null) ?? {}
  } catch {
    return {}
  }
}

const fieldOf = (body: string, name: string): unknown => parsed(body)[name]

/** An event of the audit log as it is answered; what a body says is in docs/audit.md. One that somebody spoilt is text. */
export type LoggedEvent = { writer: string; seq: number; at: string; hash: string; body: unknown }

type Body = {
  type?: string
  request_id?: string
  who?: {
    display_name?: string
    principal?: string
    subject?: string
    mount?: string
    source_address?: string
  }
  what?: { operation?: string; path?: string }
  decision?: { allowed?: boolean; policy?: string; version?: number; pattern?: string; line?: number }
  outcome?: { status?: number; error?: string; message?: string }
  lease_id?: string
  target?: string
  role?: string
  details?: Record<string, unknown>
}

export type EventWords = {
  who: string
  did: string
  /** `refused`: it was not allowed or did not work. */
  outcome: 'done' | 'refused'
  because: string
  leaseId: string
  grantId: string
  facts: [string, string][]
}

/** An event in words. Nothing is taken for granted of its shape: whoever can write to the ledger may have changed it. */
export function eventWords(event: LoggedEvent): EventWords {
  const body = shapeOf(event.body)
  if (body === undefined) return SPOILT
  const { who, what, decision, outcome } = body
  const refused = decision?.allowed === false || outcome?.error !== undefined || (outcome?.status ?? 0) >= 400
  return {
    who: nameOf(body),
    did: [text(what?.operation).replaceAll('_', ' '), text(what?.path)].filter(Boolean).join(' '),
    outcome: refused ? 'refused' : 'done',
    because: refused ? text(outcome?.message) || text(outcome?.error) || reasonOf(body) : '',
    leaseId: text(body.lease_id),
    grantId: text(body.details?.grant_id),
    facts: factsOf([
      ['Kind', body.type],
      ['From', who?.source_address],
      [body.type === 'lease_step' ? 'Lease of' : 'Principal', who?.principal],
      ['Subject', who?.subject && `${who.subject}${who.mount ? ` at ${who.mount}` : ''}`],
      ['Decided by', decision?.policy && `policy ${decision.policy}, version ${decision.version ?? '?'}`],
      ['Rule', decision?.pattern && `${decision.pattern} (line ${decision.line ?? '?'})`],
      ['Status', outcome?.status],
      ['Target', body.target],
      ['Role', body.role],
      ['Request', body.request_id],
      ['Chain', `${event.writer}, event ${event.seq}`],
      ['Hash', event.hash],
    ]),
  }
}

const SPOILT: EventWords = {
  who: 'unknown',
  did: 'this event cannot be read: it was changed after it was written',
  outcome: 'refused',
  because: 'run leasehold audit verify',
  leaseId: '',
  grantId: '',
  facts: [],
}

function shapeOf(body: unknown): Body | undefined {
  return typeof body === 'object' && body !== null && !Array.isArray(body) ? (body as Body) : undefined
}

/** Who did it: steps of ending a lease name whose lease it was, and are the broker's doing. */
function nameOf({ who, type }: Body): string {
  if (type === 'lease_step') return 'the broker'
  const name = text(who?.display_name) || text(who?.principal)
  if (name) return name
  return type === 'request' || type === 'login' ? 'somebody unproven' : 'the broker'
}

const reasonOf = (body: Body): string => text(body.details?.reason) || 'not allowed'

const text = (said: unknown): string =>
  typeof said === 'string' ? said : typeof said === 'number' ? String(said) : ''

const factsOf = (lines: [string, unknown][]): [string, string][] =>
  lines.map(([name, said]): [string, string] => [name, text(said)]).filter(([, said]) => said !== '')

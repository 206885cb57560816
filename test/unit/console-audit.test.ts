import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { chainVerdict } from '../../src/console/pages/audit/chain.ts'
import { eventWords, type LoggedEvent } from '../../src/console/pages/audit/event.ts'
import {
  type AuditQuestion,
  addressOf,
  askedOf,
  fromLocalInput,
  isNarrowed,
  localInput,
  questionOf,
} from '../../src/console/pages/audit/question.ts'

const ALL: AuditQuestion = questionOf(new URLSearchParams())

describe('a question to the audit log', () => {
  test('is in the address, and nothing else is', () => {
    const question: AuditQuestion = {
      ...ALL,
      from: '2026-01-01T00:00:00.000Z',
      principal: 'p 1&',
      path: 'sys/',
      lease_id: 'database/creds/app/x',
      grant: 'g',
      type: 'login',
      oldest: true,
    }
    expect(questionOf(new URLSearchParams(addressOf(question).toString()))).toEqual(question)
    expect(addressOf(ALL).toString()).toBe('')
  })

  test('leaves out what an address cannot mean', () => {
    expect(questionOf(new URLSearchParams('from=yesterday&type=toString&token=abc'))).toEqual(ALL)
  })

  test('asks for the newest first unless told otherwise', () => {
    expect(Object.fromEntries(askedOf(ALL, { limit: 50, after: null }))).toEqual({
      newest: 'true',
      limit: '50',
    })
    const next = askedOf({ ...ALL, oldest: true, target: 'pg' }, { limit: 50, after: 'n' })
    expect(Object.fromEntries(next)).toEqual({ target: 'pg', limit: '50', after: 'n' })
  })

  test('knows whether it is narrowed: the order alone is not', () => {
    expect(isNarrowed({ ...ALL, oldest: true })).toBe(false)
    expect(isNarrowed({ ...ALL, target: 'pg' })).toBe(true)
  })

  test('a time goes to the input and back, to the minute', () => {
    fc.assert(
      fc.property(
        fc.date({ min: new Date('2000-01-01'), max: new Date('2100-01-01'), noInvalidDate: true }),
        (time) => {
          const minute = new Date(Math.floor(time.getTime() / 60_000) * 60_000).toISOString()
          // An hour that is there twice, when clocks are set back, has one spelling only.
          const back = fromLocalInput(localInput(minute))
          expect(Math.abs(Date.parse(back) - Date.parse(minute)) % 3_600_000).toBe(0)
          expect(localInput(back)).toBe(localInput(minute))
        },
      ),
    )
    expect(localInput('')).toBe('')
    expect(fromLocalInput('')).toBe('')
  })
})

const at = '2026-01-01T00:00:00.000001Z'
const event = (body: unknown): LoggedEvent => ({ writer: 'w', seq: 7, at, hash: 'h', body })

describe('an event in words', () => {
  test('says who did what, and that it was done', () => {
    const words = eventWords(
      event({
        type: 'request',
        who: { display_name: 'alice', principal: 'p', source_address: '10.0.0.1' },
        what: { operation: 'read', path: 'database/creds/app' },
        decision: { allowed: true, policy: 'ops', version: 2, pattern: 'database/*', line: 3 },
        outcome: { status: 200 },
        lease_id: 'database/creds/app/x',
        details: { grant_id: 'g' },
      }),
    )
    expect(words).toMatchObject({
      who: 'alice',
      did: 'read database/creds/app',
      outcome: 'done',
      because: '',
      leaseId: 'database/creds/app/x',
      grantId: 'g',
    })
    expect(words.facts).toContainEqual(['Decided by', 'policy ops, version 2'])
    expect(words.facts).toContainEqual(['From', '10.0.0.1'])
    expect(words.facts).toContainEqual(['Chain', 'w, event 7'])
  })

  test('says that it was refused, and why', () => {
    const denied = { type: 'request', what: { operation: 'read' }, decision: { allowed: false } }
    expect(eventWords(event(denied))).toMatchObject({
      who: 'somebody unproven',
      outcome: 'refused',
      because: 'not allowed',
    })
    const failed = { type: 'request', outcome: { status: 400, error: 'invalid', message: 'ttl: too long' } }
    expect(eventWords(event(failed))).toMatchObject({ outcome: 'refused', because: 'ttl: too long' })
  })

  test('what the broker does by itself is its own', () => {
    expect(eventWords(event({ type: 'system', what: { operation: 'reconcile' } })).who).toBe('the broker')
    const step = eventWords(event({ type: 'lease_step', who: { principal: 'p1' } }))
    expect(step.who).toBe('the broker')
    expect(step.facts).toContainEqual(['Lease of', 'p1'])
  })

  test('takes nothing for granted: an event that somebody spoilt is shown too', () => {
    expect(eventWords(event('}{')).did).toMatch(/cannot be read/)
    fc.assert(
      fc.property(fc.jsonValue(), (body) => {
        const { who, did, because } = eventWords(event(body))
        expect([typeof who, typeof did, typeof because]).toEqual(['string', 'string', 'string'])
      }),
    )
    const odd = {
      who: 'x',
      what: { operation: { a: 1 }, path: ['b'] },
      outcome: 'no',
      details: 3,
      lease_id: {},
    }
    expect(eventWords(event(odd))).toMatchObject({ did: '', leaseId: '', grantId: '' })
  })
})

const SAYS = { number: 3, at: '2026-01-01T00:00:05Z', heads: { w: { seq: 9, hash: 'x' } } }
const behindBy = (seconds: number) => Date.parse('2026-01-01T00:00:05Z') + seconds * 1_000

describe('the state of the chain', () => {
  test('is good where the newest checkpoint is ours and nothing old is behind it', () => {
    const checked = { payload: SAYS, signature: 'valid' } as const
    expect(chainVerdict(checked, { firstUnsealedAt: null, now: behindBy(9_999) }).tone).toBe('good')
    const firstUnsealedAt = '2026-01-01T00:00:06Z'
    expect(chainVerdict(checked, { firstUnsealedAt, now: behindBy(60) }).tone).toBe('good')
    expect(chainVerdict(checked, { firstUnsealedAt, now: behindBy(62) })).toMatchObject({
      tone: 'warning',
      headline: 'Sealing is behind',
    })
  })

  test('is bad with a foreign signature, however new it is', () => {
    const forged = { payload: SAYS, signature: 'invalid' } as const
    expect(chainVerdict(forged, { firstUnsealedAt: null, now: behindBy(1) }).tone).toBe('bad')
  })

  test('claims nothing that it cannot know', () => {
    const unchecked = { payload: SAYS, signature: 'unchecked' } as const
    expect(chainVerdict(unchecked, { firstUnsealedAt: null, now: behindBy(1) }).tone).toBe('unknown')
    expect(chainVerdict(undefined, { firstUnsealedAt: null, now: behindBy(1) }).tone).toBe('unknown')
  })
})

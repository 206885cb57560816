import { createHmac } from 'node:crypto'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { urlFault } from '../../src/breakglass/notify/destinations.ts'
import { headlineOf } from '../../src/breakglass/notify/events.ts'
import { failureWords } from '../../src/breakglass/notify/failure.ts'
import type { Message } from '../../src/breakglass/notify/message.ts'
import { signatureOf } from '../../src/breakglass/notify/sign.ts'
import { slackBody } from '../../src/breakglass/notify/slack.ts'
import { GRANT_EVENTS } from '../../src/breakglass/states.ts'
import { sensitive } from '../../src/lib/sensitive.ts'

const message = (changes: Partial<Message['request']> = {}, detail: Message['detail'] = {}): Message => ({
  id: 'n1',
  event: 'submit',
  at: '2026-01-01T00:00:00.000Z',
  request: {
    id: 'g1',
    state: 'pending',
    version: 1,
    lane: 'break_glass',
    policy: 'prod',
    policy_version: 1,
    requester: { display_name: 'Ada L', subject: 'ada', mount: 'auth/oidc/' },
    roles: [{ path: 'database/creds/admin', target: 'shop', environment: 'prod' }],
    reason: 'orders are stuck',
    ticket: 'INC-1',
    ticket_state: 'verified',
    duration_seconds: 1_800,
    plan_hash: 'h',
    end_reason: null,
    ratification: 'none',
    requested_at: null,
    pending_expires_at: '2026-01-01T00:15:00.000Z',
    activate_by: null,
    started_at: null,
    expires_at: null,
    ended_at: null,
    review_due_at: null,
    review_overdue_at: null,
    ratify_by: null,
    ...changes,
  },
  actor: null,
  detail,
})

describe('a signature', () => {
  test('is over the time and the very bytes of the body', () => {
    const body = Buffer.from('{"a":"ä"}')
    const mac = createHmac('sha256', 'key').update('1700000000.{"a":"ä"}').digest('hex')
    expect(signatureOf(sensitive('key'), body, 1_700_000_000)).toBe(`t=1700000000,v1=${mac}`)
  })
})

describe('a failure', () => {
  const withCode = (code: string) => Object.assign(new Error('connect 10.1.2.3:443 hooks.inside'), { code })

  test.each([
    ['ECONNREFUSED', 'the connection was refused'],
    ['ENOTFOUND', 'the name was not found'],
    ['EAI_AGAIN', 'the name was not found'],
    ['EHOSTUNREACH', 'it could not be reached'],
    ['ECONNRESET', 'the connection was lost'],
    ['DEPTH_ZERO_SELF_SIGNED_CERT', expect.stringMatching(/^no TLS/)],
    ['CERT_HAS_EXPIRED', expect.stringMatching(/^no TLS/)],
    ['ERR_TLS_CERT_ALTNAME_INVALID', expect.stringMatching(/^no TLS/)],
    ['HPE_INVALID_CONSTANT', 'the answer was no HTTP'],
    ['EMFILE', 'it could not be sent'],
  ])('%s is told as what it is, and never where', (code, words) => {
    const bare = withCode(code)
    const wrapped = new Error(bare.message, { cause: bare })
    const several = Object.assign(new AggregateError([bare, bare]), { code })
    for (const error of [bare, wrapped, several]) expect(failureWords(error)).toEqual(words)
  })

  test('that is of no kind says nothing of itself', () => {
    for (const error of [new Error('10.1.2.3'), '10.1.2.3', undefined, { code: 7 }]) {
      expect(failureWords(error)).toBe('it could not be sent')
    }
  })
})

describe('a Slack message', () => {
  /** Every text that Slack reads as markup. */
  const markup = (value: unknown, inPlain = false): string[] => {
    if (typeof value === 'string') return inPlain ? [] : [value]
    if (Array.isArray(value)) return value.flatMap((one) => markup(one, inPlain))
    if (!value || typeof value !== 'object') return []
    const plain = (value as { type?: string }).type === 'plain_text'
    return Object.entries(value).flatMap(([name, one]) => (name === 'type' ? [] : markup(one, plain)))
  }

  test.each([
    '<!channel> wake up',
    '<https://evil.example|the runbook>',
    '@everyone <@U123> &lt;!here&gt;',
    '*bold* `code` https://evil.example',
  ])('lets %s of a reason, a ticket, a comment or a name do nothing', (text) => {
    const body = slackBody(
      message(
        { reason: text, ticket: text, requester: { display_name: text, subject: text, mount: 'auth/x/' } },
        { comment: text },
      ),
    )
    expect(markup(body)).toEqual(['Break-glass: access is asked for (somebody, g1)'])
    expect(JSON.stringify(body.blocks)).toContain(JSON.stringify(text).slice(1, -1))
  })

  test('has the words of a person only where nothing is markup, whatever they are', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary' }), (text) => {
        const body = slackBody(
          message({ reason: text, requester: { display_name: text, subject: '', mount: '' } }),
        )
        for (const one of markup(body)) expect(one).not.toMatch(/[<>@*`~_]|https?:/)
      }),
    )
  })

  test('says to those who are asked later who has agreed, in plain text', () => {
    const { blocks } = slackBody(message({}, { sets: ['owners'], approved_by: ['Ben', '<!channel>'] }))
    expect(blocks).toContainEqual({
      type: 'section',
      text: { type: 'plain_text', text: 'Approved so far by: Ben, <!channel>', emoji: false },
    })
  })

  test('fits what Slack takes, however long the texts are', () => {
    const { blocks } = slackBody(message({ reason: 'x'.repeat(2_000), ticket: 'y'.repeat(5_000) }))
    expect(blocks.length).toBeLessThanOrEqual(50)
    for (const block of blocks) {
      const { type, text } = block as { type: string; text?: { text: string } }
      if (text) expect(text.text.length).toBeLessThanOrEqual(type === 'header' ? 150 : 3_000)
    }
  })

  test.each(GRANT_EVENTS)('has a line for %s', (event) => {
    expect(headlineOf(event)).toMatch(/^\S.*\S$/)
    expect(headlineOf(event)).not.toContain('_')
  })
})

test.each([
  ['https://hooks.example/x?y=1', undefined],
  ['http://127.0.0.1:8080/x', undefined],
  ['http://localhost/x', undefined],
  ['http://[::1]:1/', undefined],
  ['http://hooks.example/x', 'must begin with https://'],
  ['http://169.254.169.254/latest/meta-data/', 'must begin with https://'],
  ['http://127.0.0.1.evil.example/', 'must begin with https://'],
  ['file:///etc/passwd', 'must begin with https://'],
  ['https://user:pass@hooks.example/', 'must not hold a user name or a password'],
  ['https://hooks.example/#x', 'must not have a fragment'],
  ['hooks', 'must be a URL'],
])('the URL %s: %s', (url, fault) => expect(urlFault(url)).toBe(fault))

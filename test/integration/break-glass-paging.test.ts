import { afterEach, describe, expect, test } from 'vitest'
import { type Listener, openListener } from '../support/http-listener.ts'
import { type AccessWorld, type GlassRequest, openAccessWorld } from './break-glass-access-world.ts'

/** Who is told of what, and when: of a request that waits, the sets one after another; and at once, not at the next sweep. */

let at: AccessWorld
const opened: Listener[] = []
afterEach(async () => {
  await at.close()
  for (const one of opened.splice(0)) await one.close()
})

const listen = async (...answer: Parameters<typeof openListener>): Promise<Listener> => {
  const listener = await openListener(...answer)
  opened.push(listener)
  return listener
}
type Message = { event: string; request: GlassRequest; detail: Record<string, unknown> }
const messages = ({ heard }: Listener): Message[] => heard.map(({ body }) => JSON.parse(body))
const events = (listener: Listener): string[] => messages(listener).map(({ event }) => event)
const hook = (name: string, { url }: Pick<Listener, 'url'>, more = {}) => ({
  name,
  type: 'webhook',
  url,
  ...more,
})

/** Longer than any test: what is heard was not told by a sweep. */
const NO_SWEEP_MS = 3_600_000

describe('without a sweep', () => {
  const openWith = async (...notify: object[]) => {
    at = await openAccessWorld({ notify }, { worker: true, sweepIntervalMs: NO_SWEEP_MS })
    // A worker's first round is at its start.
    await at.sweep()
  }
  const patient = { timeout: 20_000 }

  test('each move is told when it has been made', async () => {
    const pager = await listen()
    await openWith(hook('pager', pager))
    const { id, plan_hash } = await at.ask()
    await expect.poll(() => events(pager), patient).toEqual(['submit'])
    await at.act(at.ann, id, 'approve', { plan_hash })
    await expect.poll(() => events(pager), patient).toEqual(['submit', 'approve'])
    await at.act(at.rita, id, 'cancel')
    await expect.poll(() => events(pager), patient).toEqual(['submit', 'approve', 'cancel'])
  })

  test('what a receiver did not take is told again when its next try is due', async () => {
    const tries: string[] = []
    const pager = await listen((res, { headers }) => {
      tries.push(String(headers['leasehold-delivery']))
      res.writeHead(tries.length === 1 ? 503 : 204).end()
    })
    await openWith(hook('pager', pager))
    const { id } = await at.ask()
    await expect.poll(() => tries.length, patient).toBe(2)
    expect(new Set(tries).size).toBe(1)
    await expect
      .poll(async () => (await at.look(id)).deliveries.map((one: GlassRequest) => one.state), patient)
      .toEqual(['delivered'])
    const failed = (await at.look(id)).events.filter((one: GlassRequest) => one.event === 'delivery_failed')
    expect(failed).toMatchObject([{ detail: { error: 'the answer was HTTP 503' } }])
  })

  test('a receiver that hangs, and one that is not there, hold up no other, nor any move', async () => {
    const [hanging, pager] = [await listen(() => {}), await listen()]
    await openWith(
      hook('a-hanging', hanging),
      hook('b-gone', { url: 'http://127.0.0.1:9' }),
      hook('pager', pager),
    )
    const { id, plan_hash } = await at.ask()
    await expect.poll(() => [events(hanging), events(pager)], patient).toEqual([['submit'], ['submit']])
    await at.act(at.ann, id, 'approve', { plan_hash })
    await at.act(at.rita, id, 'cancel')
    await expect.poll(() => events(pager), patient).toEqual(['submit', 'approve', 'cancel'])
    expect(events(hanging)).toEqual(['submit'])
    const gone = (await at.look(id)).deliveries.filter((one: GlassRequest) => one.destination === 'b-gone')
    for (const one of gone) {
      expect(one).toMatchObject({
        state: 'waiting',
        last_error: expect.toBeOneOf([null, 'the connection was refused']),
      })
    }
  })
})

describe('a destination of some sets', () => {
  const STEPS = { approver_sets_escalation: [['oncall'], ['owners'], ['officers']] }

  test('is told of what waits for people when its sets are asked, with all it takes to decide', async () => {
    const [first, second, third, all] = [await listen(), await listen(), await listen(), await listen()]
    at = await openAccessWorld({
      ...STEPS,
      pending_ttl: '15m',
      notify: [
        hook('first', first, { sets: ['oncall'] }),
        hook('second', second, { sets: ['reviewers', 'owners'] }),
        hook('third', third, { sets: ['officers'] }),
        hook('all', all),
      ],
    })
    const request = await at.ask()
    await at.act(at.ann, request.id, 'approve', { plan_hash: request.plan_hash })
    await at.sweep()
    expect([first, second, third, all].map(events)).toEqual([
      ['submit', 'approve'],
      [],
      [],
      ['submit', 'approve'],
    ])

    await at.ledger.advance(5 * 60)
    await at.sweep()
    await at.sweep()
    expect([first, second, third, all].map((one) => events(one).at(-1))).toEqual([
      'escalate',
      'escalate',
      undefined,
      'escalate',
    ])
    expect(messages(second)).toMatchObject([
      {
        request: {
          id: request.id,
          state: 'pending',
          plan_hash: request.plan_hash,
          reason: request.reason,
          roles: [{ path: 'database/creds/app' }],
          pending_expires_at: request.pending_expires_at,
        },
        detail: { sets: ['owners'], approved_by: [expect.stringContaining('ann')] },
      },
    ])

    await at.act(at.ann, request.id, 'withdraw')
    await at.act(at.rita, request.id, 'cancel')
    await at.sweep()
    expect(events(second)).toEqual(['escalate', 'withdraw', 'cancel'])
    expect(events(third)).toEqual([])
    expect(events(all)).toEqual(['submit', 'approve', 'escalate', 'withdraw', 'cancel'])
  })

  test('is told of two steps at once where nobody looked in between', async () => {
    const [second, third] = [await listen(), await listen()]
    at = await openAccessWorld({
      ...STEPS,
      pending_ttl: '15m',
      notify: [hook('second', second, { sets: ['owners'] }), hook('third', third, { sets: ['officers'] })],
    })
    await at.ask()
    await at.ledger.advance(11 * 60)
    await at.sweep()
    await at.sweep()
    for (const one of [second, third]) {
      expect(messages(one)).toMatchObject([
        { event: 'escalate', detail: { sets: ['owners', 'officers'], approved_by: [] } },
      ])
    }
  })

  test('hears of access whoever was asked, and of an emergency from the first', async () => {
    const third = await listen()
    at = await openAccessWorld({
      ...STEPS,
      sealed: true,
      notify: [hook('third', third, { sets: ['officers'] })],
    })
    await at.active()
    await at.sweep()
    expect(events(third)).toEqual(['activate', 'activated'])
    third.heard.length = 0

    const rita = await at.people.person('rita', { amr: ['pwd', 'hwk'] })
    await at.ask(rita, { lane: 'sealed', duration: '10m' })
    await at.sweep()
    expect(events(third)).toEqual(['submit_sealed'])
  })

  test('is asked from the first where the policy asks everybody at once', async () => {
    const third = await listen()
    at = await openAccessWorld({ notify: [hook('third', third, { sets: ['officers'] })] })
    await at.ask()
    await at.sweep()
    expect(events(third)).toEqual(['submit'])
    expect((await at.api('GET', 'break-glass/policies/db')).json.data.notify).toMatchObject([
      { sets: ['officers'] },
    ])
  })
})

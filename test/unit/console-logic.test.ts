import { describe, expect, test } from 'vitest'
import { queryText } from '../../src/console/api.ts'
import { errorFrom } from '../../src/console/api-error.ts'
import {
  askBody,
  askProblems,
  type EligiblePolicy,
  emptyAsk,
  maxMinutes,
} from '../../src/console/ask-limits.ts'
import { countdownText, durationWords, makeServerClock, secondsUntil } from '../../src/console/clock.ts'
import { type Credential, commandFor, partsOf } from '../../src/console/commands.ts'
import { ACTIONS, actionBody, isAboutLogin, TEXT_MAX, textProblems } from '../../src/console/grant-actions.ts'
import type { Grant, Plan, PlanRole, Quorum, QuorumPart, Vote } from '../../src/console/grant-types.ts'
import { narrowingProblem, narrowOf, wholePlan } from '../../src/console/narrowing.ts'
import { concerns } from '../../src/console/topics.ts'
import {
  askWords,
  changesOf,
  deadlineOf,
  missingWords,
  openSets,
  withLocalTimes,
} from '../../src/console/words.ts'

const NOW = '2026-11-23T02:40:00.000Z'
const at = (seconds: number) => new Date(Date.parse(NOW) + seconds * 1_000).toISOString()

/** A browser whose wall clock is wrong by so many hours, and whose steady clock can be moved. */
function browser({ hoursWrong }: { hoursWrong: number }) {
  let steady = 5_000
  const clock = makeServerClock(
    () => steady,
    () => Date.parse(NOW) + hoursWrong * 3_600_000,
  )
  const pass = (ms: number) => {
    steady += ms
  }
  return { clock, pass }
}

describe('the clock of the console', () => {
  test.each([-30, 0, 7])('counts down by the server where the own clock is %s hours wrong', (hoursWrong) => {
    const { clock, pass } = browser({ hoursWrong })
    clock.learn(NOW)
    expect(secondsUntil(at(90), clock.now())).toBe(90)
    pass(30_000)
    expect(secondsUntil(at(90), clock.now())).toBe(60)
    pass(90_000)
    expect(secondsUntil(at(90), clock.now())).toBe(0)
  })

  test('an answer that was long on its way does not set it back', () => {
    const { clock, pass } = browser({ hoursWrong: 0 })
    clock.learn(NOW)
    pass(1_500)
    clock.learn(at(0.2))
    expect(clock.now()).toBe(Date.parse(at(1.5)))
  })

  test('a machine that slept is told the time by the next answer', () => {
    const { clock } = browser({ hoursWrong: 0 })
    clock.learn(NOW)
    clock.learn(at(3_600))
    expect(clock.now()).toBe(Date.parse(at(3_600)))
  })

  test('what is no time is not learnt', () => {
    const { clock } = browser({ hoursWrong: 0 })
    clock.learn(NOW)
    clock.learn('soon')
    expect(clock.now()).toBe(Date.parse(NOW))
  })

  test('a time that is not there has no countdown', () => {
    expect(secondsUntil(null, 0)).toBeUndefined()
    expect(secondsUntil('never', 0)).toBeUndefined()
  })

  test.each([
    [0, '0:00'],
    [65, '1:05'],
    [3_661, '1:01:01'],
    [172_800, '2 days'],
  ])('%s seconds left read %s', (seconds, text) => {
    expect(countdownText(seconds)).toBe(text)
  })

  test.each([
    [0, 'no time'],
    [1, '1 second'],
    [1_800, '30 minutes'],
    [5_400, '1 hour 30 minutes'],
    [259_200, '3 days'],
  ])('%s seconds are %s', (seconds, words) => {
    expect(durationWords(seconds)).toBe(words)
  })
})

describe('errors of the API', () => {
  const none = { get: () => null }

  test('a sentence in multierror form is told without the form', () => {
    const text = '1 error occurred:\n\t* a vote needs a login of at most 5 minutes ago\n\n'
    expect(errorFrom(403, { errors: [text] }, none).message).toBe(
      'a vote needs a login of at most 5 minutes ago',
    )
  })

  test('several sentences are kept apart', () => {
    const text = '2 errors occurred:\n\t* permission denied\n\t* invalid token\n\n'
    expect(errorFrom(403, { errors: [text, 'third'] }, none).texts).toEqual([
      'permission denied',
      'invalid token',
      'third',
    ])
  })

  test('data, the time to wait and the id of the request come along', () => {
    const headers = new Headers({ 'Retry-After': '7', 'Leasehold-Request-Id': 'r-1' })
    const error = errorFrom(409, { errors: ['the request is expired'], data: { state: 'expired' } }, headers)
    expect(error).toMatchObject({
      status: 409,
      data: { state: 'expired' },
      retryAfterSeconds: 7,
      requestId: 'r-1',
    })
  })

  test.each([[null], ['<html>'], [{ errors: 'no list' }], [{ errors: [7] }]])(
    'a body of %j leaves the status to speak',
    (body) => {
      expect(errorFrom(404, body, none).message).toBe('There is nothing here, or it is not yours to see')
    },
  )

  test('filters that are not set are not sent', () => {
    expect(queryText({ view: 'mine', state: '', cursor: null, limit: undefined, role: 'a b&c' })).toBe(
      '?view=mine&role=a+b%26c',
    )
    expect(queryText()).toBe('')
  })
})

describe('what an event re-reads', () => {
  const change = { topic: 'grants', ids: ['g1'] } as const

  test.each([
    [['grants', 'list', { view: 'inbox' }], true],
    [['grants', 'one', 'g1'], true],
    [['grants', 'one', 'g2'], false],
    [['leases', 'one', 'g1'], false],
    [['session'], false],
  ])('%j: %s', (key, concerned) => {
    expect(concerns({ ...change, ids: [...change.ids] }, key)).toBe(concerned)
  })

  test('a change of many concerns each', () => {
    expect(concerns({ topic: 'grants', ids: null }, ['grants', 'one', 'g2'])).toBe(true)
  })
})

const role = (path: string, target: string): PlanRole => ({
  path,
  mount: 'database/',
  name: path.slice(path.lastIndexOf('/') + 1),
  target,
  engine: 'postgres',
  environment: null,
  privileges: [],
  revocability: 'immediate',
})

const PLAN: Plan = {
  lane: 'break_glass',
  roles: [role('database/creds/a', 'orders'), role('database/creds/b', 'payments')],
  duration_seconds: 1_800,
  reason: 'r',
  ticket: '',
}

const POLICY: EligiblePolicy = {
  name: 'prod',
  lane: 'break_glass',
  roles: PLAN.roles.map((one) => ({ ...one, kubernetes_namespaces: null })),
  limits: {
    reason_min_length: 20,
    ticket_required: true,
    ticket_pattern: 'INC-[0-9]+',
    default_duration_seconds: 1_800,
    max_duration_seconds: 14_400,
    pending_ttl_seconds: 900,
    activate_within_seconds: 600,
    sealed: true,
    sealed_solo: false,
    sealed_max_duration_seconds: 900,
    drill: true,
  },
  approvals_words: '2 people',
  blocked: null,
}

const GOOD = {
  ...emptyAsk(POLICY),
  roles: ['database/creds/a'],
  reason: 'orders are stuck since 02:40',
  ticket: 'INC-1',
}

describe('the form of an ask', () => {
  test('is sent with seconds and trimmed texts, without a lane where it is the ordinary one', () => {
    expect(askProblems(POLICY, GOOD)).toEqual({})
    expect(askBody(POLICY, { ...GOOD, reason: ` ${GOOD.reason} `, ticket: ' INC-1 ' })).toEqual({
      policy: 'prod',
      roles: ['database/creds/a'],
      reason: GOOD.reason,
      ticket: 'INC-1',
      duration: 1_800,
    })
    expect(askBody(POLICY, { ...GOOD, lane: 'drill' })).toMatchObject({ lane: 'drill' })
  })

  test.each([
    ['roles', { roles: [] }],
    ['minutes', { minutes: 0 }],
    ['minutes', { minutes: 1.5 }],
    ['minutes', { minutes: '' }],
    ['minutes', { minutes: 241 }],
    ['reason', { reason: `   ${'x'.repeat(19)}   ` }],
    ['reason', { reason: 'x'.repeat(2_001) }],
    ['ticket', { ticket: '  ' }],
    ['ticket', { ticket: 'INC-1 and more' }],
    ['ticket', { ticket: `INC-${'1'.repeat(128)}` }],
  ])('%s is found wrong in %j', (field, change) => {
    expect(Object.keys(askProblems(POLICY, { ...GOOD, ...change }))).toEqual([field])
  })

  test('practice needs no ticket, but one that is given has to be one', () => {
    expect(askProblems(POLICY, { ...GOOD, lane: 'drill', ticket: '' })).toEqual({})
    expect(askProblems(POLICY, { ...GOOD, lane: 'drill', ticket: 'x' })).toHaveProperty('ticket')
  })

  test('the sealed lane is short and for one target', () => {
    expect(maxMinutes(POLICY, 'sealed')).toBe(15)
    expect(emptyAsk(POLICY, 'sealed').minutes).toBe(15)
    expect(
      askProblems(POLICY, {
        ...GOOD,
        lane: 'sealed',
        minutes: 15,
        roles: PLAN.roles.map(({ path }) => path),
      }),
    ).toEqual({ roles: 'The sealed lane is for one target' })
  })

  test('a pattern that this browser cannot read is left to the server', () => {
    const odd = { ...POLICY, limits: { ...POLICY.limits, ticket_pattern: '(' } }
    expect(askProblems(odd, GOOD)).toEqual({})
  })
})

describe('narrowing', () => {
  test('the whole plan is no narrowing', () => {
    expect(narrowingProblem(PLAN, wholePlan(PLAN))).toBeUndefined()
    expect(narrowOf(PLAN, wholePlan(PLAN))).toBeUndefined()
  })

  test('sends only what is less', () => {
    const whole = wholePlan(PLAN)
    expect(narrowOf(PLAN, { ...whole, minutes: 10 })).toEqual({ duration: 600 })
    expect(narrowOf(PLAN, { ...whole, roles: ['database/creds/b'] })).toEqual({ roles: ['database/creds/b'] })
  })

  test('a plan of odd seconds is not widened by counting minutes', () => {
    const odd = { ...PLAN, duration_seconds: 100 }
    expect(narrowOf(odd, wholePlan(odd))).toBeUndefined()
    expect(narrowOf(odd, { ...wholePlan(odd), minutes: 1 })).toEqual({ duration: 60 })
  })

  test.each([[{ roles: [] }], [{ minutes: 31 }], [{ minutes: 0 }], [{ minutes: '' }], [{ minutes: 2.5 }]])(
    '%j may not be sent',
    (change) => {
      expect(narrowingProblem(PLAN, { ...wholePlan(PLAN), ...change })).toBeTypeOf('string')
    },
  )
})

describe('actions on a request', () => {
  const spec = (name: string) => ACTIONS.find(({ action }) => action === name) as (typeof ACTIONS)[number]

  test('a vote names the plan that was seen', () => {
    expect(actionBody(spec('approve'), { plan_hash: 'h' }, { comment: ' fine ' })).toEqual({
      comment: 'fine',
      plan_hash: 'h',
    })
    expect(actionBody(spec('cancel'), { plan_hash: 'h' }, { comment: 'left over' })).toEqual({})
  })

  test('a denial says why, at no greater length than the API takes', () => {
    expect(textProblems(spec('deny'), { comment: '  ' })).toHaveProperty('comment')
    expect(textProblems(spec('deny'), { comment: 'no' })).toEqual({})
    expect(textProblems(spec('approve'), { comment: 'x'.repeat(TEXT_MAX + 1) })).toHaveProperty('comment')
  })

  test.each([
    ['log in again: your login is older than the 5 minutes allowed', true],
    ['a vote needs a login with a second factor of at most 5 minutes ago', true],
    ['you asked for it yourself', false],
    ['blogging is off', false],
  ])('%s is about the login: %s', (text, about) => {
    expect(isAboutLogin(text)).toBe(about)
  })
})

describe('a request in words', () => {
  const requester = { id: 'p', kind: 'human', display_name: 'alice', subject: 'a', mount: 'm' }

  test('says who asks for what, where and how long', () => {
    const asked = { requester, plan: PLAN, duration_seconds: 1_800 }
    const what = 'a on orders and b on payments for 30 minutes'
    expect(askWords({ ...asked, state: 'pending' })).toBe(`alice asks for ${what}`)
    expect(askWords({ ...asked, state: 'active' })).toBe(`alice asked for ${what}`)
  })

  test('tells what changed since a vote', () => {
    const voter = { display_name: 'carol', subject: 'c', mount: 'm' }
    const vote = { round: 0, voter, current: false, ended_because: 'narrowed' } as Vote
    const dave = { ...voter, display_name: 'dave' }
    const events = [
      { event: 'narrow', actor: dave, detail: { seconds_before: 1_800, roles_removed: ['pg/creds/a'] } },
      { event: 'narrow', actor: dave, detail: {} },
    ] as Grant['events']
    expect(changesOf({ events, votes: [vote, { ...vote, current: true }] })).toEqual([
      'dave narrowed the plan (it was for 30 minutes, without pg/creds/a): what is below is what is left of it.',
      'dave narrowed the plan: what is below is what is left of it.',
      'The vote of carol does not count any more: narrowed.',
    ])
  })

  test('who may still vote is of the sets that are short; of any, where only people are', () => {
    const set = (name: string, have: number, needed = 1): QuorumPart => ({
      ...{ set: name, needed, have, met: have >= needed },
      voters: [],
      may_still_vote: [],
    })
    const all = (...parts: QuorumPart[]): QuorumPart => ({
      ...{ needed: 2, have: 1, met: false },
      all_of: parts,
    })
    const any = (met: boolean, ...parts: QuorumPart[]): QuorumPart => ({
      ...{ needed: 1, have: met ? 1 : 0, met },
      any_of: parts,
    })
    const open = (tree: QuorumPart) => openSets({ tree } as Quorum).map((one) => one.set)
    expect(open(all(set('a', 1), set('b', 0)))).toEqual(['b'])
    expect(open(all(set('a', 1), set('b', 2)))).toEqual(['a', 'b'])
    expect(open(all(any(true, set('a', 1), set('b', 0)), set('c', 0)))).toEqual(['c'])
    expect(open(any(false, set('a', 0), set('b', 0)))).toEqual(['a', 'b'])
    expect(openSets({ tree: null } as Quorum)).toEqual([])

    expect(missingWords(any(false, set('owner', 0), set('managers', 0, 2)))).toBe(
      '1 of owner, or 2 of managers',
    )
    expect(missingWords(all(set('a', 0), any(true, set('b', 1), set('c', 0))))).toBe('1 of a')
    expect(missingWords(all(set('a', 1, 2), set('b', 0)))).toBe('1 more of a and 1 of b')
    expect(missingWords(all(set('a', 1), set('b', 1)))).toBe('1 more of a or b')
    expect(missingWords(any(true, set('a', 1), set('b', 0)))).toBe('')
  })

  test("a time in the server's words is shown in the reader's zone", () => {
    const local = new Date(NOW).toLocaleTimeString('en-GB')
    expect(withLocalTimes(`more time can be asked for from ${NOW} on`)).toBe(
      `more time can be asked for from ${local} on`,
    )
  })

  test('counts down to what ends the present state, and to nothing when it is over', () => {
    const grant = { pending_expires_at: at(1), expires_at: at(2), activate_by: null } as Grant
    expect(deadlineOf({ ...grant, state: 'pending' }, Date.parse(NOW))?.at).toBe(at(1))
    expect(deadlineOf({ ...grant, state: 'active' }, Date.parse(NOW))?.at).toBe(at(2))
    expect(deadlineOf({ ...grant, state: 'approved' }, Date.parse(NOW))).toBeUndefined()
    expect(deadlineOf({ ...grant, state: 'closed_ok' }, Date.parse(NOW))).toBeUndefined()
  })
})

describe('connection details', () => {
  const credential = (more: Partial<Credential>): Credential => ({
    path: 'database/creds/a',
    lease_id: 'database/creds/a/1',
    lease_duration: 60,
    renewable: false,
    data: { username: 'v_a', password: 'p4ss word' },
    ...more,
  })
  const connect = { host: 'db', port: 5432, database: 'orders' }

  test.each([
    [credential({ engine: 'postgres', connect }), 'psql -h db -p 5432 -U v_a -d orders -W'],
    [credential({ engine: 'postgres' }), 'psql -h HOST -U v_a -d postgres -W'],
    [credential({ engine: 'mysql', connect }), 'mysql -h db -P 5432 -u v_a -p -D orders'],
  ])('%# a command asks for the password and does not hold it', (given, command) => {
    expect(commandFor(given)).toBe(command)
  })

  test('a token is typed in unseen, not written into the command', () => {
    const data = { service_account_token: 's3cret', service_account_namespace: 'pay' }
    const command = commandFor(
      credential({ engine: 'kubernetes', data, connect: { server: 'https://k:6443' } }),
    )
    expect(command).toBe('read -rs TOKEN && kubectl --server https://k:6443 --token "$TOKEN" -n pay get pods')
  })

  test('what a target named is one word to the shell', () => {
    const given = credential({ engine: 'postgres', connect: { host: "a'; rm -rf ~ #", database: '$(id)' } })
    expect(commandFor(given)).toBe(`psql -h 'a'\\''; rm -rf ~ #' -U v_a -d '$(id)' -W`)
  })

  test('secrets are covered until asked for, and other engines show what they gave', () => {
    const given = credential({
      data: { password: 'x', service_account_name: 'sa', nested: { a: 1 } },
      connect: null,
    })
    expect(commandFor(given)).toBeUndefined()
    expect(partsOf(given)).toEqual([
      { label: 'Password', value: 'x', secret: true },
      { label: 'Service account', value: 'sa', secret: false },
    ])
  })
})

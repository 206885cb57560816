import { describe, expect, test } from 'vitest'
import { draftOf, forgetDraft, keepDraft } from '../../src/console/ask-draft.ts'
import {
  askable,
  askBody,
  askProblems,
  askRefusals,
  type EligiblePolicy,
  emptyAsk,
  restoredAsk,
} from '../../src/console/ask-limits.ts'
import { othersWords } from '../../src/console/ask-namespaces.ts'
import { ACTIONS, type ActionSpec, isInQuestion, sayingOf } from '../../src/console/grant-actions.ts'
import type { GrantAction, PlanRole, Quorum, ShortGrant } from '../../src/console/grant-types.ts'
import {
  canHelp,
  deadlineOf,
  decisionWords,
  endWords,
  isAccessOver,
  isEndReason,
  roleWords,
  stepsWords,
  tellingParts,
  voterWords,
} from '../../src/console/words.ts'

const NOW = Date.parse('2026-11-23T02:40:00.000Z')
const at = (seconds: number) => new Date(NOW + seconds * 1_000).toISOString()

const ROLE = {
  path: 'database/creds/a',
  target: 'orders',
  engine: 'postgres',
  privileges: [],
  revocability: 'immediate',
  environment: null,
  kubernetes_namespaces: null,
}
const POLICY: EligiblePolicy = {
  name: 'prod',
  lane: 'break_glass',
  roles: [ROLE],
  limits: {
    reason_min_length: 1,
    ticket_required: false,
    ticket_pattern: null,
    default_duration_seconds: 1_800,
    max_duration_seconds: 14_400,
    pending_ttl_seconds: 900,
    activate_within_seconds: 600,
    sealed: false,
    sealed_solo: false,
    sealed_max_duration_seconds: 900,
    drill: true,
  },
  approvals_words: '2 people',
  blocked: null,
}

function shelf() {
  const held = new Map<string, string>()
  return {
    getItem: (key: string) => held.get(key) ?? null,
    setItem: (key: string, value: string) => void held.set(key, value),
    removeItem: (key: string) => void held.delete(key),
    held,
  }
}

describe('a form put aside for a fresh login', () => {
  const form = { ...emptyAsk(POLICY), minutes: 45, reason: 'orders are stuck', ticket: 'INC-1' }
  const draft = { principal: 'alice', policy: 'prod', form }

  test('comes back to whom it belongs, until it is forgotten', () => {
    const kept = shelf()
    keepDraft(draft, () => kept)
    expect(draftOf('alice', () => kept)).toEqual(draft)
    expect(draftOf('bob', () => kept)).toBeUndefined()
    forgetDraft(() => kept)
    expect(draftOf('alice', () => kept)).toBeUndefined()
    expect(kept.held.size).toBe(0)
  })

  test('is nothing where something else stands in its place, or the browser keeps nothing', () => {
    const kept = shelf()
    for (const text of ['{', 'null', '{"principal":"alice"}', '{"principal":"alice","form":{"roles":1}}']) {
      kept.held.set('leasehold.ask-draft', text)
      expect(draftOf('alice', () => kept)).toBeUndefined()
    }
    const closed = {
      ...kept,
      setItem: () => {
        throw new DOMException('full', 'QuotaExceededError')
      },
    }
    expect(() => keepDraft(draft, () => closed)).not.toThrow()
  })

  test('keeps what the policy still has', () => {
    expect(restoredAsk(POLICY, form)).toEqual(form)
    expect(
      restoredAsk(POLICY, { ...form, lane: 'sealed', roles: ['database/creds/gone', ROLE.path] }),
    ).toEqual({ ...form, lane: 'ordinary' })
    expect(restoredAsk(POLICY, { ...form, lane: 'drill' }).lane).toBe('drill')
  })
})

describe('what may be asked for', () => {
  test('begins with what is for an emergency, without policies that have no role', () => {
    const policies = [
      { ...POLICY, name: 'change', lane: 'standard' as const },
      { ...POLICY, name: 'empty', roles: [] },
      POLICY,
    ]
    expect(askable(policies).map(({ name }) => name)).toEqual(['prod', 'change'])
  })

  test('one character is one', () => {
    expect(askProblems(POLICY, emptyAsk(POLICY))).toEqual({
      reason: 'At least 1 character; so far it has 0',
    })
  })
})

describe('roles that may be had in one of several namespaces', () => {
  const role = (path: string, choice: { listed?: string[]; any?: boolean; selector?: string }) => ({
    ...ROLE,
    path,
    engine: 'kubernetes',
    kubernetes_namespaces: { listed: [], any: false, selector: '', ...choice },
  })
  const [listed, labelled] = [
    role('kubernetes/creds/listed', { listed: ['shop', 'bank'] }),
    role('kubernetes/creds/labelled', { selector: 'team=shop' }),
  ]
  const policy = { ...POLICY, roles: [ROLE, listed, labelled] }
  const form = { ...emptyAsk(policy), reason: 'orders', roles: [ROLE.path, listed.path, labelled.path] }
  const problemsOf = (namespaces: Record<string, string>) =>
    askProblems(policy, { ...form, namespaces }).namespaces ?? {}

  test('are asked for with where, each of them, and nothing else is', () => {
    expect(Object.keys(problemsOf({}))).toEqual([listed.path, labelled.path])
    expect(Object.keys(problemsOf({ [listed.path]: 'elsewhere', [labelled.path]: 'shop' }))).toEqual([
      listed.path,
    ])
    expect(Object.keys(problemsOf({ [listed.path]: 'bank', [labelled.path]: 'No Name' }))).toEqual([
      labelled.path,
    ])
    const namespaces = { [listed.path]: 'bank', [labelled.path]: ' shop ', 'kubernetes/creds/gone': 'x' }
    expect(problemsOf(namespaces)).toEqual({})
    expect(askBody(policy, { ...form, namespaces }).roles).toEqual([
      ROLE.path,
      { path: listed.path, kubernetes_namespace: 'bank' },
      { path: labelled.path, kubernetes_namespace: 'shop' },
    ])
  })

  test('are not asked about while they are not chosen, nor kept by a draft of before there were any', () => {
    expect(askProblems(policy, { ...form, roles: [ROLE.path] })).toEqual({})
    const { namespaces: _, ...old } = form
    expect(restoredAsk(policy, old as typeof form).namespaces).toEqual({})
  })

  test('say what will do besides those listed', () => {
    const words = [
      { any: true },
      { any: true, listed: ['a'] },
      { selector: 'x=y' },
      { selector: 'x=y', listed: ['a'] },
    ]
    expect(words.map((choice) => othersWords(role('', choice).kubernetes_namespaces))).toEqual([
      'Any of the cluster',
      'One of the list, or any other of the cluster',
      'One whose labels match x=y',
      'One of the list, or one whose labels match x=y',
    ])
  })

  test('what the server refuses stands at the field that it names', () => {
    const refused = (text: string) => askRefusals([`Field validation failed: field ${text}`], form)
    const why = "kubernetes_namespace 'x' is not present in role's allowed_kubernetes_namespaces"
    expect(refused(`"roles" "${listed.path}": ${why}`)).toEqual({ namespaces: { [listed.path]: why } })
    expect(refused('"roles" the sealed lane opens one target')).toEqual({
      roles: 'the sealed lane opens one target',
    })
    expect(refused('"duration" may be 4h at most')).toEqual({ minutes: 'may be 4h at most' })
    expect(refused('"lane" the policy has no sealed lane')).toEqual({})
    expect(askRefusals(['you are blocked'], form)).toEqual({})
  })
})

describe('credentials on the screen', () => {
  test.each([
    ['approved', null, false],
    ['activating', null, false],
    ['active', at(1), false],
    ['active', at(0), true],
    ['suspended', at(60), true],
    ['ending', at(60), true],
    ['ending_stuck', at(60), true],
    ['review_due', at(60), true],
  ] as const)('of a request that is %s until %s: over %s', (state, expires_at, over) => {
    expect(isAccessOver({ state, expires_at }, NOW)).toBe(over)
  })
})

describe('a request on the page', () => {
  const specOf = (name: GrantAction) => ACTIONS.find(({ action }) => action === name) as ActionSpec

  const set = (name: string, have: number) => ({
    set: name,
    needed: 1,
    have,
    met: have > 0,
    voters: [],
    may_still_vote: [name],
  })

  test('asks only sets that can still help, and is silent about those it did without', () => {
    const both = [set('security', 1), set('owner', 0)]
    const tree = { all_of: both, needed: 2, have: 1, met: false }
    const open = { met: false, tree } as unknown as Quorum
    expect(both.map((one) => canHelp(open, one))).toEqual([false, true])
    expect(tellingParts(open, both)).toEqual(both)
    expect(tellingParts({ met: true }, both)).toEqual([both[0]])
  })

  test('names the namespace of a role of a cluster, and who was told one after another', () => {
    const role = { name: 'debug', path: 'k8s/prod/creds/debug', target: 'config', engine: 'kubernetes' }
    const placed = { ...role, kubernetes_namespace: 'shop' } as PlanRole
    expect(roleWords(placed)).toBe('debug on k8s/prod, namespace shop')
    expect(roleWords({ ...role, engine: 'mysql' } as PlanRole)).toBe('debug on config')
    expect(stepsWords([['oncall'], ['owners', 'officers']])).toBe('oncall; then owners and officers')
  })

  test('says when its review is due, and from then on when it is overdue', () => {
    const grant = { state: 'review_due', review_due_at: at(60), review_overdue_at: at(120) } as ShortGrant
    expect(deadlineOf(grant, NOW)).toEqual({ at: at(60), label: 'review due in' })
    expect(deadlineOf(grant, NOW + 60_000)).toEqual({ at: at(120), label: 'review due; overdue in' })
  })

  test('a vote that no person cast says so, and an end is in words', () => {
    const voter = { display_name: 'incident system', subject: '', mount: '' }
    expect(voterWords({ decision: 'on_call', voter })).toBe('The incident system')
    expect(voterWords({ decision: 'approve', voter })).toBe('incident system')
    expect(decisionWords('on_call')).toBe('found the requester on call')
    expect([null, 'returned', 'new_word'].map(endWords)).toEqual(['', 'given back', 'new word'])
    expect([isEndReason('expired'), isEndReason('constructor')]).toEqual([true, false])
  })

  test('says why one may not do what there is to do, and nothing of what there is not', () => {
    expect(isInQuestion(specOf('ratify'), { ratification: 'none' }, [])).toBe(false)
    expect(isInQuestion(specOf('ratify'), { ratification: 'due' }, [])).toBe(true)
    expect(isInQuestion(specOf('approve-extension'), { ratification: 'none' }, [{ state: 'denied' }])).toBe(
      false,
    )
    expect(isInQuestion(specOf('approve-extension'), { ratification: 'none' }, [{ state: 'pending' }])).toBe(
      true,
    )
    expect(isInQuestion(specOf('approve'), { ratification: 'none' }, [])).toBe(true)
  })

  test('does not say that access ends where none began', () => {
    const closed = specOf('incident-closed')
    expect(sayingOf(closed, { state: 'pending' }).confirm).toBe('Close the request for')
    expect(sayingOf(closed, { state: 'active' }).confirm).toBe('End access to')
  })
})

import { describe, expect, test } from 'vitest'
import { checkPolicy, mostSeconds, type Policy, shownPolicy } from '../../src/breakglass/policies.ts'

const LEAST = {
  roles: ['database/creds/*'],
  sets: { oncall: { groups: ['oncall'] }, security: { subjects: ['oidc#sam'] } },
  approvals: { set: 'oncall', count: 2 },
  security_officers: ['security'],
}

const HOOK = { name: 'x', type: 'webhook', url: 'https://x.example/' }

const policyOf = (written: Record<string, unknown>): Policy => ({
  id: 'p',
  name: 'orders',
  version: 1,
  isLive: true,
  spec: checkPolicy({ ...LEAST, ...written }).spec,
})

describe('a policy', () => {
  test('says everything once it is kept', () => {
    expect(checkPolicy(LEAST).spec).toMatchObject({
      lane: 'break_glass',
      min_approvers: 2,
      pending_ttl: 900,
      activate_within: 600,
      default_duration: 1_800,
      max_duration: 14_400,
      max_extension: 1_800,
      fresh_login_max_age: 300,
      reason_min_length: 20,
      ticket_required: true,
      review: true,
      review_due: 86_400,
      review_overdue: 259_200,
      reviewers: ['security'],
      sealed: false,
      max_live: 3,
    })
    expect(checkPolicy({ ...LEAST, lane: 'standard' }).spec).toMatchObject({
      min_approvers: 1,
      pending_ttl: 14_400,
      ticket_required: false,
      reason_min_length: 1,
      review: false,
    })
  })

  test('keeps no secret', () => {
    const { spec, secrets } = checkPolicy({
      ...LEAST,
      ticket_check_url: 'https://incidents.example/check',
      ticket_check_secret: 'one',
      notify: [{ name: 'hook', type: 'webhook', url: 'https://hook.example/', secret: 'two' }],
    })
    expect(JSON.stringify(spec)).not.toMatch(/"one"|"two"/)
    expect(secrets).toEqual({ ticketCheck: 'one', notify: new Map([['hook', 'two']]) })
  })

  test('does not show where a chat takes messages from whoever knows the address', () => {
    const notify = [{ name: 'chat', type: 'slack', url: 'https://hooks.slack.com/services/T0/B0/secret' }]
    expect(shownPolicy(policyOf({ notify })).notify).toEqual([
      { name: 'chat', type: 'slack', url: 'https://hooks.slack.com/…' },
    ])
  })

  test.each([
    ['roles', { roles: [] }],
    ['lane', { lane: 'fast' }],
    ['min_approvers', { min_approvers: 1 }],
    ['deny_threshold', { deny_threshold: 2 }],
    ['pending_ttl', { pending_ttl: '61m' }],
    ['max_duration', { max_duration: '5h' }],
    ['default_duration', { default_duration: '2h', max_duration: '1h' }],
    ['incident_grace', { incident_grace: '6m' }],
    ['fresh_login_max_age', { fresh_login_max_age: '6m' }],
    ['reason_min_length', { reason_min_length: 5 }],
    ['review_due', { review_due: '25h' }],
    ['review_overdue', { review_due: '2h', review_overdue: '1h' }],
    ['sealed_max_duration', { sealed: true, sealed_max_duration: '16m' }],
    ['sealed_solo', { sealed_solo: true }],
    ['ratify_within', { ratify_within: '25h' }],
    ['hardware_amr', { hardware_amr: [] }],
    ['approvals', { approvals: { set: 'nobody', count: 1 } }],
    ['approvals', { approvals: { all_of: [] } }],
    ['approvals', { approvals: undefined }],
    ['reviewers', { security_officers: [] }],
    ['security_officers', { security_officers: ['nobody'] }],
    ['ticket_pattern', { ticket_pattern: '(a+)+$' }],
    ['ticket_check_url', { ticket_check_url: 'http://incidents.example/' }],
    ['allow_from', { allow_from: ['10.0.0.0/33'] }],
    ['on_call', { on_call: { set: 'oncall', roles: ['*'] } }],
    ['requesters', { requesters: { kinds: ['workload'] } }],
    ['notify', { notify: [{ name: 'x', type: 'webhook', url: 'file:///etc/passwd' }] }],
    ['notify', { notify: [{ name: 'x', type: 'webhook', url: 'https://x.example/', events: ['nothing'] }] }],
    ['notify', { notify: [{ ...HOOK, sets: [] }] }],
    ['notify', { notify: [{ ...HOOK, sets: ['nobody'] }] }],
    ['notify', { approver_sets_escalation: ['oncall', 'oncall'], notify: [{ ...HOOK, sets: ['security'] }] }],
    ['approver_sets_escalation', { approver_sets_escalation: ['oncall', 'security', 'oncall', 'security'] }],
    ['roles', { control_group: true, roles: ['database/*'] }],
    ['roles', { control_group: true, roles: ['database/creds/a', 'database/static-creds/b'] }],
    ['sets', { sets: { oncall: { groups: ['oncall'], everyone: true } } }],
  ])('is refused by the name of the field: %s of %j', (field, changes) => {
    expect(() => checkPolicy({ ...LEAST, ...changes })).toThrow(
      expect.objectContaining({
        code: 'invalid_request',
        message: expect.stringContaining(`field "${field}"`),
      }),
    )
  })

  test('bounds access with all its extensions', () => {
    expect(mostSeconds(policyOf({}), { durationSeconds: 600 })).toBe(1_200)
    expect(mostSeconds(policyOf({}), { durationSeconds: 7_200 })).toBe(9_000)
    expect(mostSeconds(policyOf({ max_extension: '4h' }), { durationSeconds: 10_800 })).toBe(14_400)
    expect(
      mostSeconds(policyOf({ lane: 'standard', max_extension: '10h', max_duration: '10h' }), {
        durationSeconds: 36_000,
      }),
    ).toBe(72_000)
  })
})

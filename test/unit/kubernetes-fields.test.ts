import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import type { Spec } from '../../src/engine/engine.ts'
import { checkAsk } from '../../src/engine/kubernetes/ask.ts'
import { accountName } from '../../src/engine/kubernetes/name.ts'
import { accountOf, plannedObjects } from '../../src/engine/kubernetes/objects.ts'
import { checkRole, parseRules, readMode } from '../../src/engine/kubernetes/role.ts'
import { checkTarget, missingFromEnvironment } from '../../src/engine/kubernetes/target.ts'
import { newId } from '../../src/lib/ids.ts'

const ROLE: Spec = { allowed_kubernetes_namespaces: ['shop'], service_account_name: 'api' }
const RULES = '{"rules": [{"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]}]}'

describe('a role', () => {
  test.each([
    [{ allowed_kubernetes_namespaces: [] }, 'one (at least) of allowed_kubernetes_namespaces or'],
    [{ service_account_name: '' }, 'one (and only one) of service_account_name, kubernetes_role_name or'],
    [{ kubernetes_role_name: 'view' }, 'one (and only one) of service_account_name, kubernetes_role_name or'],
    [{ service_account_name: 'No' }, 'service_account_name is not a name'],
    [{ service_account_name: '', kubernetes_role_name: 'a/b' }, 'kubernetes_role_name is not a name'],
    [{ kubernetes_role_type: 'role binding' }, "kubernetes_role_type must be either 'Role' or 'ClusterRole'"],
    [
      { token_default_ttl: 7_200, token_max_ttl: 3_600 },
      'token_default_ttl 2h cannot be greater than token_max_ttl 1h',
    ],
    [{ allowed_kubernetes_namespaces: ['a/b'] }, 'allowed_kubernetes_namespaces holds something'],
    [
      { allowed_kubernetes_namespace_selector: 'matchLabel: {}' },
      "failed to parse 'allowed_kubernetes_namespace_selector'",
    ],
    [{ extra_labels: { 'a b': 'c' } }, 'extra_labels'],
    [{ extra_annotations: { '': 'c' } }, 'extra_annotations'],
    [{ name_template: '{{.Nobody}}' }, 'invalid username template'],
  ])('with %o is refused by name', async (fields, text) => {
    await expect(checkRole({ ...ROLE, ...fields })).rejects.toMatchObject({
      code: 'invalid_request',
      message: expect.stringContaining(text),
    })
  })

  test.each([
    ['no rules', '{}', 'it needs a list "rules"'],
    ['rules that are none', 'rules: []', 'it needs a list "rules"'],
    ['neither JSON nor YAML', '{"rules":', 'it is neither JSON nor YAML'],
    ['a rule without verbs', '{"rules": [{"resources": ["pods"]}]}', 'a rule needs verbs'],
    [
      'a field that is spelled wrong',
      '{"rules": [{"verbs": ["get"], "resourceName": ["x"]}]}',
      'a rule has no field "resourceName"',
    ],
    ['a verb that is no text', '{"rules": [{"verbs": [1]}]}', 'verbs must be a list of texts'],
    [
      'a few lines that stand for very many',
      `x: &x [${'"abcdefgh",'.repeat(200)} "a"]\nrules:\n- &r {verbs: *x, resources: *x}\n${'- *r\n'.repeat(200)}`,
      'its rules hold more than',
    ],
    ['far too much', ' '.repeat(20_000), 'it is longer than'],
  ])('generated from %s is refused', async (_, text, problem) => {
    await expect(parseRules(text)).rejects.toMatchObject({ message: expect.stringContaining(problem) })
  })

  test('is kept as it was written, and checks again to the same', async () => {
    const yaml = 'rules:\n- apiGroups: [""]\n  resources: [pods]\n  verbs: [get]\n'
    const { spec } = await checkRole({
      allowed_kubernetes_namespace_selector: '{"matchLabels": {"team": "shop"}}',
      generated_role_rules: yaml,
      kubernetes_role_type: 'clusterrole',
      renewable: true,
    })
    expect(spec).toMatchObject({
      generated_role_rules: yaml,
      kubernetes_role_type: 'ClusterRole',
      renewable: true,
    })
    expect((await checkRole(spec)).spec).toEqual(spec)
    expect(await parseRules(yaml)).toEqual(await parseRules(RULES))
  })
})

describe('an ask', () => {
  const asked = (fields: Spec, role: Spec = ROLE) => checkAsk({ role, fields })

  test('keeps what was sent, under its own names', () => {
    const fields = { kubernetes_namespace: 'shop', ttl: 900, audiences: ['a'] }
    expect(asked(fields)).toEqual({ asked: fields, ttlSeconds: 900, warnings: [] })
    expect(asked({})).toEqual({ asked: {}, warnings: [] })
  })

  test.each([
    [{ allowed_kubernetes_namespaces: ['a', 'b'] }, {}],
    [{ allowed_kubernetes_namespaces: ['*'] }, {}],
    [{ allowed_kubernetes_namespace_selector: '{}' }, {}],
  ])('of a role with %o has to name a namespace', (fields, sent) => {
    expect(() => asked(sent, { ...ROLE, ...fields })).toThrow("'kubernetes_namespace' is required unless")
  })

  test('names a namespace of the role, or one that its labels may let in', () => {
    expect(() => asked({ kubernetes_namespace: 'lab' })).toThrow(
      "kubernetes_namespace 'lab' is not present in",
    )
    expect(
      asked({ kubernetes_namespace: 'lab' }, { ...ROLE, allowed_kubernetes_namespaces: ['*'] }).asked,
    ).toEqual({
      kubernetes_namespace: 'lab',
    })
    const byLabels = { service_account_name: 'api', allowed_kubernetes_namespace_selector: '{}' }
    expect(asked({ kubernetes_namespace: 'lab' }, byLabels).asked).toEqual({ kubernetes_namespace: 'lab' })
  })

  test.each([
    [{ bound_object_kind: 'Pod', bound_object_name: 'a' }, 'go together'],
    [{ bound_object_kind: 'Node', bound_object_name: 'a', bound_object_uid: 'b' }, 'must be one of Pod, Job'],
    [
      { bound_object_kind: 'Pod', bound_object_name: '../a', bound_object_uid: 'b' },
      'bound_object_name is not',
    ],
    [
      { bound_object_kind: 'Pod', bound_object_name: 'a', bound_object_uid: 'b/c' },
      'bound_object_uid is not',
    ],
  ])('with %o is refused', (fields, text) => {
    expect(() => asked(fields)).toThrow(text)
  })
})

describe('a name', () => {
  const LABEL = /^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/

  test('is one that every kind of object takes, and holds the lease id, whatever is called what', () => {
    fc.assert(
      fc.property(
        fc.string(),
        fc.string(),
        fc.constantFrom(undefined, '{{.DisplayName}}-{{.RoleName}}', '{{random 60}}', '-'),
        (roleName, displayName, template) => {
          const leaseId = newId()
          const role = { ...ROLE, ...(template !== undefined && { name_template: template }) }
          const [namespace, name = ''] = accountName({
            role,
            asked: {},
            roleName,
            leaseId,
            displayName,
          }).split('/')
          expect(namespace).toBe('shop')
          expect(name).toMatch(LABEL)
          expect(name).toContain(leaseId)
        },
      ),
    )
  })
})

describe('what is made', () => {
  const planned = (role: Spec, clusterWide = false) => {
    const account = { leaseId: newId(), name: 'shop/v-x', targetRef: null }
    return plannedObjects({ account, role, mode: readMode(role), rules: [], clusterWide, tie: undefined })
  }

  test.each([
    ['existing account', { service_account_name: 'api' }, false, ['Secret']],
    ['role', { kubernetes_role_name: 'x' }, false, ['Secret', 'ServiceAccount', 'RoleBinding']],
    [
      'cluster-wide role',
      { kubernetes_role_name: 'x', kubernetes_role_type: 'ClusterRole' },
      true,
      ['ClusterRoleBinding', 'Secret', 'ServiceAccount'],
    ],
    ['rules', { generated_role_rules: RULES }, false, ['Secret', 'Role', 'ServiceAccount', 'RoleBinding']],
    [
      'cluster-wide rules',
      { generated_role_rules: RULES, kubernetes_role_type: 'ClusterRole' },
      true,
      ['ClusterRole', 'Secret', 'ServiceAccount', 'ClusterRoleBinding'],
    ],
  ])('for a %s begins with what can own the rest', (_, role, clusterWide, kinds) => {
    expect(planned(role, clusterWide).map(({ kind }) => kind)).toEqual(kinds)
  })

  test('carries our marks, whatever labels a role wants', () => {
    const role = { service_account_name: 'api', extra_labels: { 'leasehold/lease-id': 'forged', team: 'a' } }
    for (const { body } of planned(role)) {
      expect(body.metadata?.labels).toMatchObject({ team: 'a', 'app.kubernetes.io/managed-by': 'leasehold' })
      expect(body.metadata?.labels?.['leasehold/lease-id']).not.toBe('forged')
    }
  })
})

describe('what carries our mark', () => {
  const id = newId()
  const marked = (leaseId: string, rest: object) =>
    accountOf({ labels: { 'leasehold/lease-id': leaseId }, ...rest })

  test('is the account of its lease', () => {
    const name = `v-x-${id}`
    const account = { leaseId: id, name: `shop/${name}`, targetRef: null }
    expect(marked(id, { namespace: 'shop', name })).toEqual(account)
    expect(marked(id, { name, annotations: { 'leasehold/account': `shop/${name}` } })).toEqual(account)
  })

  test.each([
    ["somebody's own object", 'prod', { namespace: 'shop', name: 'prod-db' }],
    ['a name without the id', id, { namespace: 'shop', name: 'cluster-admin' }],
    [
      "another object's annotation",
      id,
      { name: 'admin', annotations: { 'leasehold/account': `shop/v-${id}` } },
    ],
    ['a path', id, { name: `v-${id}`, annotations: { 'leasehold/account': `../x/v-${id}` } }],
    ['no namespace', id, { name: `v-${id}` }],
  ])('is not ours when it is %s, as all of that name would be ended with it', (_, leaseId, rest) => {
    expect(marked(leaseId, rest)).toBeUndefined()
  })
})

describe('a cluster', () => {
  const env = { KUBERNETES_SERVICE_HOST: 'fd00::1', KUBERNETES_SERVICE_PORT_HTTPS: '443' }

  test('is that of the pod unless it is named', () => {
    expect(checkTarget({}, env).spec.kubernetes_host).toBe('https://[fd00::1]:443')
    expect(checkTarget({ kubernetes_host: 'https://kube:6443' }, env).spec.kubernetes_host).toBe(
      'https://kube:6443',
    )
    expect(() => checkTarget({}, {})).toThrow(
      'kubernetes_host was unset and could not be determined from environment variables',
    )
    expect(missingFromEnvironment({})).toEqual(Object.keys(env))
    expect(missingFromEnvironment(env)).toEqual([])
  })

  test.each([
    [{ kubernetes_host: 'http://kube:6443' }, 'kubernetes_host must be https'],
    [{ kubernetes_host: 'https://a:b@kube' }, 'kubernetes_host must hold no user name'],
    [{ kubernetes_ca_cert: 'x' }, 'no valid certificates'],
    [{ tls_certificate: 'x' }, 'no valid certificates'],
    [{ token_cache: -1 }, 'token_cache must be between'],
  ])('with %o is refused', (fields, text) => {
    expect(() => checkTarget({ kubernetes_host: 'https://kube:6443', ...fields }, {})).toThrow(text)
  })
})

import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { checkKubernetesRole } from '../../src/identity/kubernetes/role.ts'
import { parseSelector, selects } from '../../src/lib/kubernetes/selector.ts'

const FIELDS = { bound_service_account_names: ['app'], bound_service_account_namespaces: ['team-*'] }
const SELECTOR = 'bound_service_account_namespace_selector'

describe('a Kubernetes role is written', () => {
  test('with defaults', async () => {
    expect(await checkKubernetesRole(FIELDS)).toEqual({
      ...FIELDS,
      bound_service_account_namespace_selector: '',
      audience: '',
      alias_name_source: 'serviceaccount_uid',
    })
  })

  test('and written again in part: what is not sent stays, what is sent empty goes', async () => {
    const before = await checkKubernetesRole({
      ...FIELDS,
      [SELECTOR]: '{"matchLabels":{"a":"b"}}',
      audience: 'broker',
      alias_name_source: 'serviceaccount_name',
    })
    expect(await checkKubernetesRole({}, before)).toEqual(before)
    const changes = { bound_service_account_namespaces: [], audience: '' }
    expect(await checkKubernetesRole(changes, before)).toEqual({ ...before, ...changes })
    await expect(checkKubernetesRole({ ...changes, [SELECTOR]: ' ' }, before)).rejects.toThrow(/can not be/)
  })

  test('with a selector that reads back as it was written', async () => {
    const yaml = '  matchLabels:\n    a: b\n  matchExpressions:\n  - {key: c, operator: Exists}\n'
    const role = await checkKubernetesRole({ bound_service_account_names: ['*'], [SELECTOR]: yaml })
    expect(role[SELECTOR]).toBe(yaml)
  })

  test.each([
    [{ bound_service_account_names: [] }, '"bound_service_account_names" can not be empty'],
    [{ bound_service_account_names: ['*', 'app'] }, 'can not mix "*" with values'],
    [{ bound_service_account_namespaces: ['app', '*'] }, 'can not mix "*" with values'],
    [
      { bound_service_account_namespaces: [] },
      '"bound_service_account_namespaces" can not be empty if "bound_service_account_namespace_selector" is not set',
    ],
    [
      { alias_name_source: 'pod' },
      'invalid alias_name_source, must be one of: serviceaccount_uid, serviceaccount_name',
    ],
    [{ [SELECTOR]: 'a' }, `invalid "${SELECTOR}" configured: it must be a map`],
  ])('not with %j', async (fields, message) => {
    await expect(checkKubernetesRole({ ...FIELDS, ...fields })).rejects.toMatchObject({
      code: 'invalid_request',
      message,
    })
  })
})

const written = (expression: object) => JSON.stringify({ matchExpressions: [expression] })

describe('a label selector', () => {
  test.each([
    ['{"matchLabels":{"env":"dev"}}', true],
    ['{"matchLabels":{"env":"prod"}}', false],
    ['{matchLabels: {env: dev}}', true],
    ['matchLabels:\n  env: dev\n  team: b\n', false],
    [written({ key: 'env', operator: 'In', values: ['dev', 'test'] }), true],
    [written({ key: 'owner', operator: 'In', values: ['dev'] }), false],
    [written({ key: 'env', operator: 'NotIn', values: ['dev'] }), false],
    [written({ key: 'owner', operator: 'NotIn', values: ['dev'] }), true],
    [written({ key: 'env', operator: 'Exists' }), true],
    [written({ key: 'owner', operator: 'Exists', values: [] }), false],
    [written({ key: 'owner', operator: 'DoesNotExist' }), true],
    [written({ key: 'env', operator: 'DoesNotExist', values: null }), false],
    [written({ key: 'example.com/tier', operator: 'Exists' }), true],
    // A member every object has is no label.
    [written({ key: 'constructor', operator: 'Exists' }), false],
    [
      '{"matchLabels":{"env":"dev"},"matchExpressions":[{"key":"team","operator":"NotIn","values":["a"]}]}',
      false,
    ],
  ])('%s', async (text, isMet) => {
    const labels = { env: 'dev', team: 'a', 'example.com/tier': '' }
    expect(selects(await parseSelector(text), labels)).toBe(isMet)
  })

  test.each([
    ['', 'it is neither JSON nor YAML'],
    ['{', 'it is neither JSON nor YAML'],
    ['a: b\n---\nc: d', 'it is neither JSON nor YAML'],
    ['[]', 'it must be a map'],
    ['{}', 'it asks for nothing; for every namespace, bind "*"'],
    ['matchLabels:', 'it asks for nothing; for every namespace, bind "*"'],
    ['{"matchLabels":[]}', 'matchLabels must be a map'],
    ['{"matchLabel":{"a":"b"}}', 'it has no field "matchLabel"'],
    ['matchLabels: {a: 1}', 'a number is not a label value; it must be text'],
    ['matchLabels: {a: true}', 'a boolean is not a label value; it must be text'],
    ['matchLabels: {a: &x [*x]}', 'a null, map or list is not a label value; it must be text'],
    ['{"matchLabels":{"a b":"c"}}', '"a b" is not a label key'],
    ['{"matchLabels":{"a":"-"}}', '"-" is not a label value; it must be text'],
    ['{"matchExpressions":{}}', 'matchExpressions must be a list'],
    ['{"matchExpressions":["a"]}', 'each of matchExpressions must be a map'],
    [written({ key: 'a', operator: 'Equals' }), 'operator must be one of In, NotIn, Exists, DoesNotExist'],
    [written({ key: 'a', operator: 'In' }), 'operator In needs values'],
    [written({ key: 'a', operator: 'NotIn', values: [] }), 'operator NotIn needs values'],
    [written({ key: 'a', operator: 'Exists', values: ['b'] }), 'operator Exists takes no values'],
    [written({ key: 'a', operator: 'In', values: 'b' }), 'values must be a list'],
    [written({ key: 'a', operator: 'In', value: ['b'] }), 'matchExpressions have no field "value"'],
    [
      written({ key: 'a', operator: 'In', values: Array(257).fill('b') }),
      'values cannot hold more than 256 items',
    ],
    [`{"matchLabels":{"a":"${'b'.repeat(16_384)}"}}`, 'it is longer than 16384 characters'],
  ])('is refused: %s', async (text, message) => {
    await expect(parseSelector(text)).rejects.toThrow(new Error(message))
  })

  test('means the same written as JSON and as YAML', async () => {
    const word = fc.stringMatching(/^[a-z]([a-z0-9_.-]{0,8}[a-z0-9])?$/)
    const operator = fc.constantFrom('In', 'NotIn', 'Exists', 'DoesNotExist')
    const expression = fc.record({
      key: word,
      operator,
      values: fc.array(word, { minLength: 1, maxLength: 3 }),
    })
    const list = fc.array(expression, { minLength: 1, maxLength: 4 })
    const check = fc.asyncProperty(list, fc.dictionary(word, word), async (expressions, labels) => {
      const lines = expressions.map(({ key, operator: name, values }) => {
        const taken = name.endsWith('In') ? values : []
        return { key, operator: name, values: taken }
      })
      const yaml = lines
        .map(({ key, operator: name, values }) => {
          const items = values.map((value) => `\n  - "${value}"`).join('')
          return `- key: "${key}"\n  operator: ${name}\n  values: ${items === '' ? '[]' : items}\n`
        })
        .join('')
      const json = await parseSelector(JSON.stringify({ matchExpressions: lines }))
      expect(await parseSelector(`matchExpressions:\n${yaml}`)).toEqual(json)
      const has = (key: string) => Object.hasOwn(labels, key)
      const fails = lines.filter(({ key, operator: name, values }) => {
        const isListed = has(key) && values.includes(labels[key] as string)
        return { In: !isListed, NotIn: isListed, Exists: !has(key), DoesNotExist: has(key) }[name]
      })
      expect(selects(json, labels)).toBe(fails.length === 0)
    })
    await fc.assert(check, { numRuns: 50 })
  })
})

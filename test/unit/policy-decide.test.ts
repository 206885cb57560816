import { describe, expect, test } from 'vitest'
import { capabilities, decide, isRoot, type Operation } from '../../src/policy/decide.ts'
import { tidyPolicies } from '../../src/policy/policy-names.ts'

const ROOT = { policies: ['root'] }
const ANYONE = { policies: ['app', 'default'] }
const STRIPPED = { policies: ['app'] }
const OPERATIONS: Operation[] = ['create', 'read', 'update', 'patch', 'delete', 'list', 'sudo']

const OWN: [Operation, string][] = [
  ['read', 'auth/token/lookup-self'],
  ['update', 'auth/token/renew-self'],
  ['update', 'auth/token/revoke-self'],
  ['update', 'sys/capabilities-self'],
  ['update', 'sys/leases/lookup'],
  ['update', 'sys/leases/renew'],
  ['update', 'sys/leases/renew/database/creds/app/0123456789abcdefghjkmnpq'],
  ['update', 'sys/leases/revoke'],
  ['update', 'sys/leases/revoke/database/creds/app/0123456789abcdefghjkmnpq'],
]

const OTHERS = [
  'database/creds/app',
  'database/config/shop',
  'auth/token/create',
  'auth/token/lookup',
  'auth/token/lookup-self/x',
  'auth/token/renew',
  'auth/token/revoke',
  'auth/token/revoke-orphan',
  'auth/token/accessors/',
  'sys/capabilities',
  'sys/leases/lookup/database/creds/',
  'sys/leases/revoke-prefix/database/',
  'sys/leases/revoke-force/database/',
  'sys/leases/revoke/',
  'sys/leases/renewal',
  'sys/mounts',
  'x/sys/leases/renew',
  '/sys/leases/renew',
  '',
]

describe('root', () => {
  test.each(OPERATIONS)('may %s anything', (operation) => {
    for (const path of OTHERS) expect(decide(ROOT, operation, path)).toBe('allow')
    expect(isRoot(ROOT)).toBe(true)
  })

  test('is shown as root', () => expect(capabilities(ROOT, 'sys/mounts')).toEqual(['root']))
})

describe('any other token', () => {
  test.each(OWN)('may %s %s, and only that', (allowed, path) => {
    for (const operation of OPERATIONS) {
      expect(decide(ANYONE, operation, path)).toBe(operation === allowed ? 'allow' : 'deny')
    }
    expect(capabilities(ANYONE, path)).toEqual([allowed])
  })

  test.each(OTHERS)('may do nothing at "%s"', (path) => {
    for (const operation of OPERATIONS) expect(decide(ANYONE, operation, path)).toBe('deny')
    expect(capabilities(ANYONE, path)).toEqual(['deny'])
  })

  test('without the default policy may do nothing at all', () => {
    for (const [operation, path] of OWN) expect(decide(STRIPPED, operation, path)).toBe('deny')
    expect(decide({ policies: [] }, 'read', 'auth/token/lookup-self')).toBe('deny')
  })

  test('is not root for having a policy that looks like it', () => {
    for (const policies of [['Root'], ['root '], ['roots']]) expect(isRoot({ policies })).toBe(false)
  })
})

test('policy names are trimmed, lower-cased, sorted and each there once; root swallows the rest', () => {
  expect(tidyPolicies(['b', ' A', 'a', '', 'B '])).toEqual(['a', 'b'])
  expect(tidyPolicies(['app', 'ROOT', 'default'])).toEqual(['root'])
})

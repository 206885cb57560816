import { describe, expect, test } from 'vitest'
import { bySpecificity, countsOf, covers, type LeaseQuota } from '../../src/lease/quota-scope.ts'
import { sourceKey } from '../../src/lease/rate-limits.ts'

describe('the path of a quota', () => {
  test.each([
    ['', 'anything/at/all', true],
    ['database/', 'database/creds/app', true],
    ['database/', 'database', true],
    ['database/', 'database2/creds/app', false],
    ['database/creds/app', 'database/creds/app', true],
    ['database/creds/app', 'database/creds/app2', false],
    ['database/creds/app', 'database/creds/app/more', false],
    ['database/creds/app*', 'database/creds/app2', true],
    ['database/creds/app*', 'database/creds/ap', false],
    ['database/*', 'database/creds/app', true],
  ])('%j about %j: %s', (path, asked, expected) => {
    expect(covers({ path }, asked)).toBe(expected)
  })

  test('comes before less specific ones', () => {
    const paths = ['', 'a/', 'a/*', 'a/b*', 'a/bc*', 'a/bcd', 'a/b']
    const quotas = paths.map((path) => ({ path }))
    expect(quotas.toSorted(bySpecificity).map(({ path }) => path)).toEqual([
      'a/bcd',
      'a/b',
      'a/bc*',
      'a/b*',
      'a/*',
      'a/',
      '',
    ])
  })
})

describe('what a lease is counted by', () => {
  const quota = (id: string, path: string, more: Partial<LeaseQuota> = {}): LeaseQuota => ({
    id,
    path,
    mountPath: path === '' ? '' : `${path.split('/')[0]}/`,
    maxLeases: 5,
    ...more,
  })
  const ask = { path: 'db/creds/app', principalId: 'alice', targetName: 'main', targetId: 't1' }
  const keys = (quotas: LeaseQuota[], changes: Partial<typeof ask> = {}) =>
    countsOf(quotas, { ...ask, ...changes }).map(({ key }) => key)

  test('one of each kind, by principal and connection', () => {
    const quotas = [
      quota('all', ''),
      quota('mount', 'db/'),
      quota('each', '', { principal: '*' }),
      quota('main', 'db/', { target: 'main' }),
      quota('both', 'db/', { target: 'main', principal: '*' }),
    ]
    expect(keys(quotas)).toEqual(['mount', 'each alice', 'main t1', 'both alice t1'])
    expect(keys(quotas, { targetName: 'other', targetId: 't2' })).toEqual(['mount', 'each alice'])
    expect(keys(quotas, { path: 'db2/creds/app' })).toEqual(['all', 'each alice'])
  })

  test('leaves out what more specific ones of its kind count', () => {
    const quotas = [
      quota('all', ''),
      quota('mount', 'db/'),
      quota('role', 'db/creds/special'),
      quota('x', 'x/'),
    ]
    expect(countsOf(quotas, ask)).toEqual([
      {
        key: 'mount',
        max: 5,
        where: { prefix: 'db/' },
        except: [{ path: 'db/creds/special' }],
        principalId: null,
        targetId: null,
      },
    ])
  })

  test('one that names the principal goes before one on each', () => {
    const quotas = [
      quota('each', 'db/creds/app', { principal: '*' }),
      quota('hers', '', { principal: 'alice' }),
    ]
    expect(keys(quotas)).toEqual(['hers alice'])
    expect(keys(quotas, { principalId: 'bob' })).toEqual(['each bob'])
  })
})

test.each([
  ['192.0.2.7', '192.0.2.7'],
  ['2001:db8:1:2:3:4:5:6', '2001:db8:1:2::/64'],
  ['2001:DB8:1:2::9', '2001:db8:1:2::/64'],
  ['2001:db8::', '2001:db8:0:0::/64'],
  ['::1', '0:0:0:0::/64'],
  ['fe80::1%eth0', 'fe80:0:0:0::/64'],
  ['', ''],
])('the source %j counts as %j', (address, key) => {
  expect(sourceKey(address)).toBe(key)
})

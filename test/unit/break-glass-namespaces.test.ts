import fc from 'fast-check'
import { expect, test } from 'vitest'
import { namespaceChoice } from '../../src/breakglass/namespaces.ts'
import { privilegesOf } from '../../src/breakglass/privileges.ts'
import { checkAsk } from '../../src/engine/kubernetes/ask.ts'

const SPECS = fc.record({
  service_account_name: fc.constant('debug'),
  allowed_kubernetes_namespaces: fc.uniqueArray(fc.constantFrom('shop', 'bank', 'post', '*')),
  allowed_kubernetes_namespace_selector: fc.constantFrom(undefined, '{"matchLabels": {"team": "shop"}}'),
})

const isTaken = (role: Record<string, unknown>, fields: Record<string, unknown>): boolean => {
  try {
    checkAsk({ role, fields })
    return true
  } catch {
    return false
  }
}

test('a choice is offered exactly where the engine does not know by itself, and of what it takes', () => {
  fc.assert(
    fc.property(SPECS, (spec) => {
      const choice = namespaceChoice({ engine: 'kubernetes', spec })
      expect(choice === null).toBe(isTaken(spec, {}))
      if (!choice) return
      for (const name of choice.listed) expect(isTaken(spec, { kubernetes_namespace: name })).toBe(true)
      expect(choice.any || choice.selector !== '').toBe(isTaken(spec, { kubernetes_namespace: 'elsewhere' }))
      expect(isTaken(spec, { kubernetes_namespace: '*' })).toBe(false)
    }),
  )
})

test('a role of a database has none, and the words of a role of a cluster have them all', () => {
  expect(
    namespaceChoice({ engine: 'postgres', spec: { allowed_kubernetes_namespaces: ['a', 'b'] } }),
  ).toBeNull()
  const spec = { service_account_name: 'debug', allowed_kubernetes_namespaces: ['shop', '*'] }
  expect(privilegesOf({ engine: 'kubernetes', spec }).at(-1)).toBe('in namespaces shop, *')
})

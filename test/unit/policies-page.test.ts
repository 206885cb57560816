import { readFileSync } from 'node:fs'
import { describe, expect, test } from 'vitest'
import { parsePolicy } from '../../src/policy/acl/document.ts'
import { compileCondition } from '../../src/policy/condition.ts'
import { FUNCTIONS } from '../../src/policy/condition-functions.ts'
import { fieldsOf, VARIABLE_NAMES } from '../../src/policy/condition-values.ts'

// What docs/policies.md shows is what the code takes, and all of it.

const page = readFileSync('docs/policies.md', 'utf8')

const section = (heading: string): string => page.split(`\n## ${heading}\n`)[1]?.split('\n## ')[0] ?? ''

const blocks = (text: string, language: string): string[] =>
  [...text.matchAll(/^```(\w*)\n([\s\S]*?)^```$/gm)]
    .filter(([, said]) => said === language)
    .map(([, , body = '']) => body)

/** `role.name`, `.mount`: a name that begins with a dot is of the variable before it. */
function wholeNames(cell: string): string[] {
  const names = [...cell.matchAll(/`([\w.]+)`/g)].map(([, name = '']) => name)
  const variable = names[0]?.split('.')[0]
  return names.map((name) => (name.startsWith('.') ? `${variable}${name}` : name))
}

describe('the page about policies', () => {
  test('has a row for every field a condition may name, and for no other', () => {
    const cells = [...section('What a condition may read').matchAll(/^\| (`.*?) \|/gm)]
    const shown = cells.flatMap(([, cell = '']) => wholeNames(cell))
    const known = VARIABLE_NAMES.flatMap((name) => fieldsOf(name).map((field) => `${name}.${field}`))
    expect([...shown].sort()).toEqual([...known].sort())
  })

  test('names every function a condition may call, and no other', () => {
    const cells = [...section('Functions').matchAll(/^\| (`.*?) \|/gm)].map(([, cell = '']) => cell)
    const rest = [...section('Functions').matchAll(/^\| `.*?\|(.*)\|$/gm)].map(([, cell = '']) => cell)
    const shown = [...cells, ...rest].flatMap((cell) =>
      [...cell.matchAll(/(\w+)\(/g)].map(([, name]) => name),
    )
    expect([...new Set(shown)].sort()).toEqual([...FUNCTIONS].sort())
  })

  test.each(blocks(page, 'hcl'))('shows policies that can be written: %#', (text) => {
    expect(parsePolicy(text, compileCondition).rules.length).toBeGreaterThan(0)
  })

  test.each(blocks(section('Conditions'), '').flatMap((text) => text.trim().split('\n')))(
    'shows conditions that can be written: %s',
    (text) => {
      expect(compileCondition(text).text).toBe(text)
    },
  )

  test('shows the message of a fault as it is', () => {
    const [shown = ''] = blocks(section('Write one'), '')
    const policy = `path "a" {\n  capabilities = ["read"]\n  condition = "role.nme == 'a'"\n}`
    expect(() => parsePolicy(policy, compileCondition)).toThrow(shown.trim())
  })
})

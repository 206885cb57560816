import { createHash } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { describe, expect, test } from 'vitest'
import { link, startChain } from '../../src/audit/chain.ts'

// What docs/audit.md says is what the code does, and all of it.

const read = (file: string): string => readFileSync(file, 'utf8')
const page = read('docs/audit.md')

const section = (heading: string): string => page.split(`\n## ${heading}\n`)[1]?.split('\n## ')[0] ?? ''

/** Every name in backticks in one cell of each row of a section's table. */
const namesInCells = (heading: string, column: number): string[] =>
  [...section(heading).matchAll(/^\| .* \|$/gm)].flatMap(([row]) => {
    const cell = row.split(/(?<!\\)\|/)[column + 1] ?? ''
    return [...cell.matchAll(/`([\w-]+)[^`]*`/g)].map(([, name = '']) => name)
  })

const sorted = (names: Iterable<string>): string[] => [...new Set(names)].sort()

/** The names that a pattern finds in a piece of source, between two texts. */
function namesIn(file: string, from: string, to: string, pattern: RegExp): string[] {
  const [, after = ''] = read(file).split(from)
  const names = [...(after.split(to)[0] ?? '').matchAll(pattern)].map(([, name = '']) => name)
  expect(names.length).toBeGreaterThan(2)
  return sorted(names)
}

describe('the page about the audit log', () => {
  test('says how each problem shows', () => {
    const kinds = namesIn(
      'src/audit/problems.ts',
      'export type ProblemKind =',
      'export type Problem =',
      /'(\w+)'/g,
    )
    expect(sorted(namesInCells('How tampering shows', 1))).toEqual(kinds)
  })

  test('has a row for every field of an event', () => {
    const fields = namesIn('src/audit/event.ts', 'export type AuditEvent = {', '\n}', /^ {2}(\w+)\??:/gm)
    expect(sorted(namesInCells('An event', 0))).toEqual(fields)
  })

  test('has a row for every parameter of a question', () => {
    const fields = namesIn('src/http/sys-audit-log.ts', 'const QUESTION_FIELDS = {', '}', /^ {2}(\w+):/gm)
    expect(sorted(namesInCells('Ask', 0))).toEqual(fields)
  })

  test('has a row for every option of verify', () => {
    const options = namesIn(
      'src/cli.ts',
      ".command('verify')\n  .description(\n    \"check the ledger",
      '.action',
      /'(--\w+)/g,
    )
    expect(sorted(namesInCells('Verify', 0))).toEqual(options)
  })

  test('names the messages that are logged', () => {
    const source = read('src/audit/checkpoints.ts')
    const messages = [...section('Trouble').matchAll(/^\| (?:warn|info) \| `([^`]+)`/gm)].map(
      ([, text = '']) => text,
    )
    expect(messages).toHaveLength(2)
    for (const message of messages) expect(source).toContain(`'${message}'`)
  })

  test('says how an event is hashed', () => {
    const [, recipe = ''] = /^```\n([\s\S]*?)\n```$/m.exec(section('How tampering shows')) ?? []
    const sha256 = (text: string) => createHash('sha256').update(text).digest('hex')
    const event = { writer: 'w1', seq: '1', at: '2026-01-01T00:00:00.000000Z', body: '{"type":"request"}' }
    const said: Record<string, string> = {
      'hash of the event before': sha256('leasehold audit chain v1\nw1'),
      ...event,
    }
    const text = recipe.replace(/<([^>]+)>/g, (_, name: string) => said[name] ?? '')
    expect(sha256(text)).toBe(link(startChain('w1'), event).event.hash)
  })
})

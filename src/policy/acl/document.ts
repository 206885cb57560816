import { invalidKey, stringOf } from './fields.ts'
import { parseHcl } from './hcl.ts'
import { parseJson } from './json.ts'
import { type CompileCondition, type PathRule, readRule } from './rule.ts'
import { quoted, type Source, sourceOf } from './source.ts'
import type { Entry, ObjectValue, Value } from './value.ts'

/** A parsed policy: its rules, in the order written. */
export type PolicyDocument<C> = {
  /** The name the document gives itself; nothing depends on it. */
  name: string | undefined
  rules: readonly PathRule<C>[]
}

/** In UTF-16 units. A policy is read by people; one of this size is a mistake or an attack. */
export const MAX_DOCUMENT_LENGTH = 256 * 1_024

const TOP_KEYS = ['path', 'name']

/** In one document, repeated paths counted each time. */
export const MAX_RULES = 1_000

/**
 * Reads a policy in HCL or, when it starts with a brace, in JSON. Conditions are compiled, templates and patterns
 * checked. Throws `PolicyError` for anything wrong in the document, the first fault only.
 */
export function parsePolicy<C>(text: string, compileCondition: CompileCondition<C>): PolicyDocument<C> {
  const source = sourceOf(text)
  if (text.length > MAX_DOCUMENT_LENGTH)
    source.fail(MAX_DOCUMENT_LENGTH, `longer than ${MAX_DOCUMENT_LENGTH} characters`)
  const root = /^[\s\uFEFF]*\{/.test(text) ? parseJson(source) : parseHcl(source)
  return readDocument(source, root, compileCondition)
}

function readDocument<C>(
  source: Source,
  root: ObjectValue,
  compileCondition: CompileCondition<C>,
): PolicyDocument<C> {
  for (const { key } of root.entries) {
    if (!TOP_KEYS.includes(key.value)) invalidKey(source, key, TOP_KEYS)
  }
  const entries = (key: string) => root.entries.filter((entry) => entry.key.value === key)
  const [name, again] = entries('name')
  if (again) source.fail(again.key.at, 'the key "name" may be set only once')
  const rules: PathRule<C>[] = []
  for (const { key: path, value } of entries('path').flatMap((entry) => blocks(source, entry))) {
    if (rules.length === MAX_RULES) source.fail(path.at, `more than ${MAX_RULES} path rules`)
    rules.push(readRule(source, path, value, compileCondition))
  }
  return { name: name && stringOf(source, name, '').value, rules }
}

/** The paths under `path`, each with its fields. JSON that was made from HCL has lists around the objects. */
function blocks(source: Source, { value }: Entry): { key: Entry['key']; value: ObjectValue }[] {
  const found: { key: Entry['key']; value: ObjectValue }[] = []
  for (const paths of objectsOf(source, value, 'path must be a block with a path: path "secret/foo" { … }')) {
    for (const { key, value: fields } of paths.entries) {
      const complaint = `path ${quoted(key.value)}: must be a block in braces`
      for (const block of objectsOf(source, fields, complaint)) found.push({ key, value: block })
    }
  }
  return found
}

function objectsOf(source: Source, value: Value, complaint: string): ObjectValue[] {
  const items = value.kind === 'list' ? value.items : [value]
  return items.map((item) => (item.kind === 'object' ? item : source.fail(item.at, complaint)))
}

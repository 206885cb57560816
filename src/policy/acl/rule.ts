import { CAPABILITIES, type CapabilitySet, isCapability, OLD_POLICIES, setOf } from './capabilities.ts'
import { durationOf, entriesByKey, guess, parameterRulesOf, stringOf, stringsOf } from './fields.ts'
import type { Constraints } from './parameters.ts'
import { type Pattern, patternFault, patternOf } from './pattern.ts'
import { lineStarts, quoted, type Source } from './source.ts'
import { isTemplated, templateFault, withoutTemplates } from './template.ts'
import { type Entry, type ObjectValue, offsetOf, type StringValue } from './value.ts'

/** A condition over a context C. `holds` never throws: whatever goes wrong in it is a no. */
export type Condition<C> = {
  text: string
  holds(context: C): boolean
  /** Conditions that have to hold each for itself, and are all there is to it: what several conditions share is asked once. */
  parts?: readonly { text: string; holds(context: C): boolean }[]
}

/** Throws an error with `line` and `column` (1-based, within the text) when the text is no condition. */
export type CompileCondition<C> = (text: string) => Condition<C>

export type PathRule<C> = {
  /** The path as written. */
  path: string
  /** Undefined for a path with templates: it is compiled once they are filled. */
  pattern: Pattern | undefined
  /** Where the path stands in the document, 1-based. */
  line: number
  capabilities: CapabilitySet
  /** Undefined when the rule has none, as every rule that denies: nothing is left to constrain. */
  constraints: Constraints | undefined
  condition: Condition<C> | undefined
}

const KEYS = [
  'capabilities',
  'policy',
  'allowed_parameters',
  'denied_parameters',
  'required_parameters',
  'min_wrapping_ttl',
  'max_wrapping_ttl',
  'condition',
  'comment',
] as const

type Block = {
  source: Source
  entries: ReadonlyMap<string, Entry>
  /** How a message about this block starts. */
  where: string
}

/** Reads the block of one path. Throws `PolicyError`. */
export function readRule<C>(
  source: Source,
  path: StringValue,
  fields: ObjectValue,
  compileCondition: CompileCondition<C>,
): PathRule<C> {
  const where = `path ${quoted(path.value)}: `
  checkPath(source, path, where)
  const block: Block = { source, entries: entriesByKey(source, fields, KEYS, where), where }
  const capabilities = readCapabilities(block)
  const constraints = readConstraints(block)
  const comment = block.entries.get('comment')
  if (comment) stringOf(source, comment, where)
  return {
    path: path.value,
    pattern: isTemplated(path.value) ? undefined : patternOf(path.value),
    line: source.position(path.at).line,
    capabilities,
    constraints: capabilities === DENY ? undefined : constraints,
    condition: readCondition(block, compileCondition),
  }
}

const DENY = setOf(['deny'])

function checkPath(source: Source, path: StringValue, where: string): void {
  const fault = templateFault(path.value) ?? patternFault(withoutTemplates(path.value))
  if (fault) source.fail(offsetOf(path, fault.index), where + fault.reason)
}

/** A rule that denies anything denies everything. */
function readCapabilities({ source, entries, where }: Block): CapabilitySet {
  const [list, old] = [entries.get('capabilities'), entries.get('policy')]
  const names = list ? stringsOf(source, list, where) : []
  const granted = names.map(({ value, at }) =>
    isCapability(value)
      ? value
      : source.fail(at, `${where}invalid capability ${quoted(value)}${guess(value, CAPABILITIES)}`),
  )
  if (old) {
    const { value, at } = stringOf(source, old, where)
    const words = OLD_POLICIES.get(value)
    granted.push(...(words ?? source.fail(at, `${where}invalid policy ${quoted(value)}`)))
  }
  return granted.includes('deny') ? DENY : setOf(granted)
}

function readConstraints({ source, entries, where }: Block): Constraints | undefined {
  const read = <T>(
    key: (typeof KEYS)[number],
    as: (source: Source, entry: Entry, where: string) => T,
  ): T | undefined => {
    const entry = entries.get(key)
    return entry && as(source, entry, where)
  }
  const allowed = read('allowed_parameters', parameterRulesOf)
  const denied = read('denied_parameters', parameterRulesOf)
  const required = read('required_parameters', stringsOf)
  const min = read('min_wrapping_ttl', durationOf)
  const max = read('max_wrapping_ttl', durationOf)
  if (min !== undefined && max !== undefined && max < min) {
    const at = entries.get('max_wrapping_ttl')?.value.at ?? 0
    source.fail(at, `${where}max_wrapping_ttl cannot be less than min_wrapping_ttl`)
  }
  const constraints: Constraints = {
    ...(allowed?.size && { allowed }),
    ...(denied?.size && { denied }),
    ...(required?.length && { required: required.map(({ value }) => value.toLowerCase()) }),
    ...(min !== undefined && { minWrappingTtlSeconds: min }),
    ...(max !== undefined && { maxWrappingTtlSeconds: max }),
  }
  return Object.keys(constraints).length > 0 ? constraints : undefined
}

function readCondition<C>(
  { source, entries, where }: Block,
  compileCondition: CompileCondition<C>,
): Condition<C> | undefined {
  const entry = entries.get('condition')
  if (!entry) return undefined
  const text = stringOf(source, entry, where)
  try {
    return compileCondition(text.value)
  } catch (error) {
    if (!(error instanceof Error) || !hasPlace(error)) throw error
    const offset = offsetOf(text, indexOf(text.value, error))
    return source.fail(offset, `${where}invalid condition: ${error.message}`)
  }
}

const hasPlace = (error: object): error is { line: number; column: number } =>
  'line' in error && typeof error.line === 'number' && 'column' in error && typeof error.column === 'number'

/** The index in a text of a 1-based line and column; what lies outside is brought to the nearest inside. */
function indexOf(text: string, { line, column }: { line: number; column: number }): number {
  const starts = lineStarts(text)
  const row = Math.min(Math.max(line, 1), starts.length) - 1
  return Math.min((starts[row] as number) + Math.max(column, 1) - 1, Math.max(text.length - 1, 0))
}

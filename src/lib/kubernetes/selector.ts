import { isObject } from '../objects.ts'

/** A Kubernetes label selector: a namespace must meet every requirement. Checked on the way in, so it only needs applying. */
export type LabelSelector = readonly Requirement[]
type Requirement = { key: string; operator: Operator; values: readonly string[] }
type Operator = (typeof OPERATORS)[number]

export type Labels = Readonly<Record<string, string>>

const OPERATORS = ['In', 'NotIn', 'Exists', 'DoesNotExist'] as const
const MAX_TEXT = 16 * 1_024
const MAX_REQUIREMENTS = 64
const MAX_VALUES = 256
const NAME = '[A-Za-z0-9](?:[A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?'
export const LABEL_KEY = new RegExp(`^(?:[a-z0-9](?:[a-z0-9.-]{0,251}[a-z0-9])?/)?${NAME}$`)
export const LABEL_VALUE = new RegExp(`^(?:${NAME})?$`)

/**
 * Reads a selector written as JSON or YAML. Rejects with an `Error` that says what is wrong. A field it does not know
 * is wrong, and so is a selector without any requirement: a slip of the pen would otherwise select every namespace.
 */
export async function parseSelector(text: string): Promise<LabelSelector> {
  if (text.length > MAX_TEXT) throw new Error(`it is longer than ${MAX_TEXT} characters`)
  const selector = await jsonOrYaml(text)
  if (!isObject(selector)) throw new Error('it must be a map')
  const { matchLabels, matchExpressions, ...unknown } = selector
  const [stranger] = Object.keys(unknown)
  if (stranger !== undefined) throw new Error(`it has no field ${shown(stranger)}`)
  const requirements = [...readLabels(matchLabels ?? {}), ...readExpressions(matchExpressions ?? [])]
  if (requirements.length === 0) throw new Error('it asks for nothing; for every namespace, bind "*"')
  if (requirements.length > MAX_REQUIREMENTS)
    throw new Error(`it asks for more than ${MAX_REQUIREMENTS} things`)
  return requirements
}

export const selects = (selector: LabelSelector, labels: Labels): boolean =>
  selector.every((requirement) => isMet(requirement, labels))

/** As in Kubernetes: `NotIn` is met by a namespace without the label. */
function isMet({ key, operator, values }: Requirement, labels: Labels): boolean {
  const value = Object.hasOwn(labels, key) ? labels[key] : undefined
  switch (operator) {
    case 'In':
      return value !== undefined && values.includes(value)
    case 'NotIn':
      return value === undefined || !values.includes(value)
    case 'Exists':
      return value !== undefined
    case 'DoesNotExist':
      return value === undefined
  }
}

/** A document as JSON or YAML, which the Kubernetes client reads: it is only loaded for what is not JSON. */
export async function jsonOrYaml(text: string): Promise<unknown> {
  try {
    return JSON.parse(text)
  } catch {
    const { loadYaml } = await import('@kubernetes/client-node')
    try {
      return loadYaml<unknown>(text)
    } catch {
      throw new Error('it is neither JSON nor YAML')
    }
  }
}

function readLabels(labels: unknown): Requirement[] {
  if (!isObject(labels)) throw new Error('matchLabels must be a map')
  return Object.entries(labels).map(([key, value]) => ({
    key: readKey(key),
    operator: 'In',
    values: [readValue(value)],
  }))
}

function readExpressions(expressions: unknown): Requirement[] {
  if (!Array.isArray(expressions)) throw new Error('matchExpressions must be a list')
  if (expressions.length > MAX_REQUIREMENTS) {
    throw new Error(`matchExpressions cannot hold more than ${MAX_REQUIREMENTS} items`)
  }
  return expressions.map(readExpression)
}

function readExpression(expression: unknown): Requirement {
  if (!isObject(expression)) throw new Error('each of matchExpressions must be a map')
  const { key, operator, values = [], ...unknown } = expression
  const [stranger] = Object.keys(unknown)
  if (stranger !== undefined) throw new Error(`matchExpressions have no field ${shown(stranger)}`)
  const known = OPERATORS.find((name) => name === operator)
  if (!known) throw new Error(`operator must be one of ${OPERATORS.join(', ')}`)
  const list: unknown = values ?? []
  if (!Array.isArray(list)) throw new Error('values must be a list')
  if (list.length > MAX_VALUES) throw new Error(`values cannot hold more than ${MAX_VALUES} items`)
  const takesValues = known === 'In' || known === 'NotIn'
  if (takesValues !== list.length > 0) {
    throw new Error(`operator ${known} ${takesValues ? 'needs values' : 'takes no values'}`)
  }
  return { key: readKey(key), operator: known, values: list.map(readValue) }
}

function readKey(key: unknown): string {
  if (typeof key === 'string' && LABEL_KEY.test(key)) return key
  throw new Error(`${shown(key)} is not a label key`)
}

/** A bare 1 or true is a number or a boolean to YAML, and no label has such a value. */
function readValue(value: unknown): string {
  if (typeof value === 'string' && LABEL_VALUE.test(value)) return value
  throw new Error(`${shown(value)} is not a label value; it must be text`)
}

function shown(value: unknown): string {
  if (typeof value === 'string') return JSON.stringify(value.slice(0, 64))
  return typeof value === 'object' ? 'a null, map or list' : `a ${typeof value}`
}

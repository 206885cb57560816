import type { ASTNode } from '@marcbachmann/cel-js'
import { quoted } from './acl/source.ts'
import { ConditionError, nameOffset, suggestion, unknownField } from './condition-error.ts'
import { FUNCTIONS, isReplaced, PREFIX, WHY_NOT, wrongLiteral } from './condition-functions.ts'
import { asCall, asLoop, type Call, childrenOf } from './condition-tree.ts'
import { fieldsOf, fieldType, isVariable, VARIABLE_NAMES, type VariableName } from './condition-values.ts'

/** What the library's own check lets through, refused before it: names, calls, literals, depth. */

const MAX_DEPTH = 40

const TYPE_NAMES = ['string', 'bool', 'int', 'double', 'list', 'map', 'null_type']

type Scope = { text: string; depth: number; loops: readonly string[]; seen: Set<VariableName> }

/**
 * Throws a `ConditionError` for the first thing that may not be there, and points calls at our own functions, which
 * changes the tree. Returns the variables the condition reads.
 */
export function enforce(root: ASTNode, text: string): ReadonlySet<VariableName> {
  const seen = new Set<VariableName>()
  visit(root, { text, depth: 0, loops: [], seen })
  return seen
}

function visit(node: ASTNode, scope: Scope): void {
  const inside = { ...scope, depth: scope.depth + 1 }
  if (inside.depth > MAX_DEPTH) refuse(scope, node.start, 'the condition is nested too deeply')
  checkNode(node, scope)
  const loop = asLoop(node)
  if (!loop) {
    for (const child of childrenOf(node)) visit(child, inside)
    return
  }
  const { variable, range, body } = loop
  if (isVariable(variable) || TYPE_NAMES.includes(variable) || scope.loops.includes(variable)) {
    refuse(
      scope,
      nameOffset(node, loop.name),
      `${loop.name} needs a name of its own, and ${variable} is taken`,
    )
  }
  visit(range, inside)
  visit(body, { ...inside, loops: [...scope.loops, variable] })
}

function checkNode(node: ASTNode, scope: Scope): void {
  const call = asCall(node)
  if (call) checkCall(node, call, scope)
  else if (node.op === 'value') checkNumber(node.args, node.start, scope)
  else if (node.op === 'id') checkName(node.args, node.start, scope)
  else if (node.op === '.') checkField(node.args[0], node.args[1], node.pos, scope)
  else if (node.op === '[]') checkIndex(node.args[0], scope)
}

function checkIndex(of: ASTNode, scope: Scope): void {
  if (of.op !== 'id' || !isVariable(of.args)) return
  const example = `${of.args}.${fieldsOf(of.args)[0]}`
  refuse(scope, of.start, `the fields of ${of.args} are read with a dot, as in ${example}`)
}

function checkNumber(value: unknown, offset: number, scope: Scope): void {
  // One more than the largest, for the smallest is written as a minus before it.
  if (typeof value === 'bigint' && value > 2n ** 63n) refuse(scope, offset, 'the number is out of range')
}

function checkName(name: string, offset: number, scope: Scope): void {
  if (isVariable(name)) scope.seen.add(name)
  else if (!scope.loops.includes(name) && !TYPE_NAMES.includes(name)) {
    const known = [...VARIABLE_NAMES, ...scope.loops]
    refuse(scope, offset, `there is no variable ${quoted(name)}${suggestion(name, known)}`)
  }
}

/** The library does not look inside `has(…)`, which would make a misspelt field simply absent. */
function checkField(of: ASTNode, field: string, offset: number, scope: Scope): void {
  const type = typeOfPath(of)
  if (type === undefined || type.startsWith('map<')) return
  if (isVariable(type) && of.op === 'id') {
    if (fieldType(type, field) === undefined) refuse(scope, offset, unknownField(type, field))
    return
  }
  refuse(scope, offset, `a ${type.replace(/^.*\./, '').toLowerCase()} has no field ${quoted(field)}`)
}

/** The declared type of a path such as `role.labels.team`; undefined where only a value can tell. */
export function typeOfPath(node: ASTNode): string | undefined {
  if (node.op === 'id') return isVariable(node.args) ? node.args : undefined
  if (node.op !== '.') return undefined
  const of = typeOfPath(node.args[0])
  if (of === undefined) return undefined
  if (isVariable(of)) return fieldType(of, node.args[1])
  return of === 'map<string, string>' ? 'string' : undefined
}

function checkCall(node: ASTNode, { name, values }: Call, scope: Scope): void {
  const offset = nameOffset(node, name)
  if (!FUNCTIONS.has(name)) {
    const why = Object.hasOwn(WHY_NOT, name) ? `: ${WHY_NOT[name]}` : suggestion(name, FUNCTIONS)
    refuse(scope, offset, `there is no function ${quoted(name)}${why}`)
  }
  values.forEach((value, index) => {
    if (value.op !== 'value' || typeof value.args !== 'string') return
    const wrong = wrongLiteral(name, index, value.args)
    if (wrong !== undefined) refuse(scope, value.start, `${quoted(value.args)} ${wrong}`)
  })
  if (isReplaced(name, values.length)) (node.args as unknown[])[0] = PREFIX + name
}

function refuse(scope: Scope, offset: number, message: string): never {
  throw new ConditionError(message, scope.text, offset)
}

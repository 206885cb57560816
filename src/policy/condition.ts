import type { ASTNode } from '@marcbachmann/cel-js'
import { compile, evaluatorIn } from './condition-environment.ts'
import { type Explanation, explain, type Outline, outlineOf, textOf } from './condition-explain.ts'
import { operandsOf } from './condition-tree.ts'
import type { PreparedContext, VariableName } from './condition-values.ts'

export { ConditionError } from './condition-error.ts'
export type { Explanation } from './condition-explain.ts'
export { type PreparedContext, prepareContext } from './condition-values.ts'

/** A test in CEL, checked whole when it was written. */
export type Condition = {
  /** As written. */
  text: string
  /** The variables it reads: a caller need not count leases for a condition that does not ask. */
  variables: ReadonlySet<VariableName>
  /** Never throws; an error while evaluating counts as false. */
  holds(context: PreparedContext): boolean
  /** Conditions that have to hold each for itself, and are all there is to this one. */
  parts: readonly { text: string; holds(context: PreparedContext): boolean }[]
  /** The value of the whole and of each part joined by `&&` and `||`. Never throws, and agrees with `holds`. */
  explain(context: PreparedContext): Explanation
}

/**
 * Throws a `ConditionError` with the place when the text is not CEL, is not true or false, is over 4 KiB, could run
 * long, or names a variable, field or function that is not there.
 */
export function compileCondition(text: string): Condition {
  const { tree, variables, run } = compile(text)
  let outline: Outline | undefined
  return {
    text,
    variables,
    holds: truthOf(run),
    parts: partsOf(tree, text),
    explain(context) {
      outline ??= outlineOf(tree, text)
      return explain(tree, outline, evaluatorIn(context))
    },
  }
}

const truthOf = (run: (context: PreparedContext) => unknown) => (context: PreparedContext) => {
  try {
    return run(context) === true
  } catch {
    return false
  }
}

/** What `&&` joins at the top. An error in one is a no, as it is in CEL: whatever the others say, the whole is not true. */
function partsOf(tree: ASTNode, text: string): Condition['parts'] {
  if (tree.op !== '&&') return [{ text, holds: truthOf((context) => evaluatorIn(context)(tree)) }]
  const outline = outlineOf(tree, text)
  return operandsOf(tree).map((operand) => ({
    text: textOf(operand, outline),
    holds: truthOf((context) => evaluatorIn(context)(operand)),
  }))
}

import { compile, evaluatorIn } from './condition-environment.ts'
import { type Explanation, explain, type Outline, outlineOf } from './condition-explain.ts'
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
    holds(context) {
      try {
        return run(context) === true
      } catch {
        return false
      }
    },
    explain(context) {
      outline ??= outlineOf(tree, text)
      return explain(tree, outline, evaluatorIn(context))
    },
  }
}

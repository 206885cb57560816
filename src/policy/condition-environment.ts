import { type ASTNode, Environment, type TypeCheckResult } from '@marcbachmann/cel-js'
import { limitCost } from './condition-cost.ts'
import { ConditionError, refusal } from './condition-error.ts'
import { declareFunctions, PREFIX } from './condition-functions.ts'
import { enforce } from './condition-rules.ts'
import { declareVariables, type PreparedContext, type VariableName } from './condition-values.ts'

/** The one place where the library is set up and asked. */

const MAX_TEXT_BYTES = 4_096
const LIMITS = {
  maxDepth: 40,
  maxAstNodes: 1_000,
  maxListElements: 500,
  maxMapEntries: 100,
  maxCallArguments: 8,
}

// A list may hold a literal beside a claim, whose type nobody knows.
const environment = new Environment({ limits: LIMITS, homogeneousAggregateLiterals: false })
declareVariables(environment)
declareFunctions(environment)

/** Evaluates a checked part of a condition in one context; throws what the part throws. */
export type Evaluate = (part: ASTNode) => unknown

const EVALUATOR = `${PREFIX}evaluator`

type Checker = { getType(name: string): unknown }
type Evaluator = { run(node: ASTNode, context: unknown): unknown }

// The library hands its evaluator to macros and to nobody else; parts of a condition are evaluated through this one.
environment.registerFunction(`${EVALUATOR}(ast): dyn`, () => ({
  typeCheck: (checker: Checker) => checker.getType('dyn'),
  evaluate:
    (evaluator: Evaluator, _macro: unknown, context: unknown): Evaluate =>
    (part) =>
      evaluator.run(part, context),
}))

const evaluatorFor = environment.parse(`${EVALUATOR}(0)`)

const evaluators = new WeakMap<PreparedContext, Evaluate>()

/** Made once for each context. */
export function evaluatorIn(context: PreparedContext): Evaluate {
  const known = evaluators.get(context)
  if (known) return known
  const evaluate: Evaluate = evaluatorFor(context)
  evaluators.set(context, evaluate)
  return evaluate
}

type Compiled = {
  tree: ASTNode
  variables: ReadonlySet<VariableName>
  run(context: PreparedContext): unknown
}

/** Throws a `ConditionError`, and nothing else. */
export function compile(text: string): Compiled {
  if (Buffer.byteLength(text) > MAX_TEXT_BYTES) {
    throw new ConditionError(`the condition is longer than ${MAX_TEXT_BYTES} bytes`, text, 0)
  }
  if (text.trim() === '') throw new ConditionError('the condition is empty', text, 0)
  try {
    const parsed = environment.parse(text)
    const variables = enforce(parsed.ast, text)
    limitCost(parsed.ast, text)
    requireTruth(parsed.check(), parsed.ast, text)
    return { tree: parsed.ast, variables, run: (context) => parsed(context) }
  } catch (error) {
    throw error instanceof ConditionError ? error : refusal(error, text)
  }
}

function requireTruth({ type = '', error }: TypeCheckResult, tree: ASTNode, text: string): void {
  if (error) throw error
  if (type === 'bool') return
  const message = type.startsWith('dyn')
    ? 'whether this is true or false shows only when it is read: compare it, as in … == true'
    : `a condition must be true or false, and this is a ${type.replace(/^google\.protobuf\./, '').toLowerCase()}`
  throw new ConditionError(message, text, tree.start)
}

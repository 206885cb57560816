import type { ASTNode } from '@marcbachmann/cel-js'
import { sourceOf } from './acl/source.ts'
import type { Evaluate } from './condition-environment.ts'
import { reasonOf } from './condition-error.ts'
import { childrenOf, operandsOf } from './condition-tree.ts'

/** What a condition came to, and each part of it that `&&` and `||` join at the top. */
export type Explanation = {
  /** The part as written. */
  text: string
  /** 1-based in the condition; a column counts UTF-16 units. */
  line: number
  column: number
  value: boolean | 'error'
  /** Why it is an error; holds no value that is not in the text. */
  error?: string
  /** How the parts are joined. */
  join?: '&&' | '||'
  parts?: readonly Explanation[]
}

/** The source, and the same as far as its brackets go: strings and comments are blanked. */
export type Outline = { text: string; blanked: string }

export function outlineOf(tree: ASTNode, text: string): Outline {
  let blanked = text
  const waiting = [tree]
  for (let node = waiting.pop(); node; node = waiting.pop()) {
    const quotes = node.op === 'value' && (typeof node.args === 'string' || node.args instanceof Uint8Array)
    if (quotes) blanked = blank(blanked, node.start, node.end)
    waiting.push(...childrenOf(node))
  }
  return { text, blanked: blanked.replace(/\/\/[^\n]*/g, (comment) => ' '.repeat(comment.length)) }
}

const blank = (text: string, start: number, end: number): string =>
  text.slice(0, start) + ' '.repeat(end - start) + text.slice(end)

/** A part as it is written, its brackets with it. */
export function textOf(part: ASTNode, { text, blanked }: Outline): string {
  const { start, end } = balanced(part, blanked)
  return text.slice(start, end)
}

export function explain(tree: ASTNode, outline: Outline, evaluate: Evaluate): Explanation {
  const { start, end } = balanced(tree, outline.blanked)
  const place = { text: outline.text.slice(start, end), ...sourceOf(outline.text).position(start) }
  if (tree.op !== '&&' && tree.op !== '||') return { ...place, ...outcomeOf(tree, evaluate) }
  const parts = operandsOf(tree).map((operand) => explain(operand, outline, evaluate))
  return { ...place, ...joined(tree.op, parts), join: tree.op, parts }
}

type Outcome = Pick<Explanation, 'value' | 'error'>

/** As CEL has it: a part that settles the matter outweighs errors on either side of it. */
function joined(join: '&&' | '||', parts: readonly Explanation[]): Outcome {
  const settling = join === '||'
  if (parts.some(({ value }) => value === settling)) return { value: settling }
  const { error } = parts.find(({ value }) => value === 'error') ?? {}
  return error === undefined ? { value: !settling } : { value: 'error', error }
}

function outcomeOf(part: ASTNode, evaluate: Evaluate): Outcome {
  try {
    const value = evaluate(part)
    return typeof value === 'boolean' ? { value } : { value: 'error', error: 'it is neither true nor false' }
  } catch (error) {
    return { value: 'error', error: reasonOf(error) }
  }
}

/** The library leaves brackets around the first and last operand out of a node's range. */
function balanced({ start, end }: ASTNode, blanked: string): { start: number; end: number } {
  let [open, unopened] = [0, 0]
  for (const mark of blanked.slice(start, end)) {
    if (mark === '(') open++
    else if (mark === ')' && open > 0) open--
    else if (mark === ')') unopened++
  }
  const before = new RegExp(`(?:\\(\\s*){${unopened}}$`).exec(blanked.slice(0, start))
  const after = new RegExp(`^(?:\\s*\\)){${open}}`).exec(blanked.slice(end))
  return { start: before?.index ?? start, end: end + (after?.[0].length ?? 0) }
}

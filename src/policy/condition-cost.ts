import type { ASTNode } from '@marcbachmann/cel-js'
import { MAX_ENTRIES } from './condition-claims.ts'
import { ConditionError } from './condition-error.ts'
import { typeOfPath } from './condition-rules.ts'
import { asCall, asLoop, childrenOf } from './condition-tree.ts'

/**
 * How long a condition may run is known before it runs: literals count as long as they are, and whatever a caller may
 * fill counts as full. So one loop over claims may do a good deal, and a loop over claims within another is refused.
 */

/** One is about 50 ns, so the worst condition that is let in takes some ten milliseconds. */
const MAX_STEPS = 200_000

const CALL_STEPS = 10
/** Comparing or joining entries is a tight loop: ten of them take as long as one node of the tree. */
const ENTRIES_PER_STEP = 10

/**
 * The most entries that an entry of a loop's range has, by the loop's variable. Entries of a caller's list count as one
 * each, since its limit is on all entries at every depth together; entries of a literal list may be such lists.
 */
type Loops = ReadonlyMap<string, number>

/** Throws a `ConditionError` at the loop that is too much. */
export function limitCost(root: ASTNode, text: string): void {
  if (steps(root, new Map(), text) > MAX_STEPS) refuse(root, text)
}

const refuse = (node: ASTNode, text: string): never => {
  const message = `this could run long: a list that a caller fills counts as ${MAX_ENTRIES} entries, and loops within loops multiply`
  throw new ConditionError(message, text, node.start)
}

function steps(node: ASTNode, loops: Loops, text: string): number {
  const loop = asLoop(node)
  if (loop) {
    const inside = new Map(loops).set(loop.variable, sizeOfEntry(loop.range, loops))
    const total =
      steps(loop.range, loops, text) + sizeOf(loop.range, loops) * (1 + steps(loop.body, inside, text))
    return total > MAX_STEPS ? refuse(node, text) : total
  }
  const below = childrenOf(node).reduce((sum, child) => sum + steps(child, loops, text), 0)
  return 1 + below + Math.ceil(bulk(node, loops) / ENTRIES_PER_STEP)
}

/** Entries that the node itself goes through. */
function bulk(node: ASTNode, loops: Loops): number {
  const call = asCall(node)
  if (call) {
    const values = call.receiver ? [call.receiver, ...call.values] : call.values
    return CALL_STEPS * ENTRIES_PER_STEP + values.reduce((sum, value) => sum + sizeOf(value, loops), 0)
  }
  switch (node.op) {
    case '+':
      return sizeOf(node, loops)
    case '==':
    case '!=':
      return Math.min(sizeOf(node.args[0], loops), sizeOf(node.args[1], loops))
    case 'in':
      return sizeOf(node.args[1], loops)
    default:
      return 0
  }
}

/** The most entries that the node's value can have; characters, for a literal text. */
function sizeOf(node: ASTNode, loops: Loops): number {
  switch (node.op) {
    case 'list':
    case 'map':
      return node.args.length
    case 'value':
      return typeof node.args === 'string' ? node.args.length : 1
    case '+':
      return sizeOf(node.args[0], loops) + sizeOf(node.args[1], loops)
    case '?:':
      return Math.max(sizeOf(node.args[1], loops), sizeOf(node.args[2], loops))
    case 'rcall':
      return asLoop(node)?.name === 'filter' ? sizeOf(node.args[1], loops) : 1
    case 'id':
      return loops.get(node.args) ?? 1
    case '.':
    case '[]':
      return sizeOfPath(node, loops)
    default:
      return 1
  }
}

function sizeOfPath(node: ASTNode, loops: Loops): number {
  const type = typeOfPath(node)
  if (type !== undefined) return /^(list|map)</.test(type) ? MAX_ENTRIES : 1
  const root = rootOf(node)
  return (root.op === 'id' ? loops.get(root.args) : undefined) ?? MAX_ENTRIES
}

function sizeOfEntry(range: ASTNode, loops: Loops): number {
  switch (range.op) {
    case 'list':
      return Math.max(1, ...range.args.map((entry) => sizeOf(entry, loops)))
    case '+':
      return Math.max(sizeOfEntry(range.args[0], loops), sizeOfEntry(range.args[1], loops))
    case '?:':
      return Math.max(sizeOfEntry(range.args[1], loops), sizeOfEntry(range.args[2], loops))
    case 'rcall':
      return sizeOfEntry(range.args[1], loops)
    case 'id':
    case '.':
    case '[]': {
      const root = rootOf(range)
      return root.op === 'id' ? (loops.get(root.args) ?? 1) : MAX_ENTRIES
    }
    default:
      return 1
  }
}

function rootOf(node: ASTNode): ASTNode {
  let root = node
  while (root.op === '.' || root.op === '[]') root = root.args[0]
  return root
}

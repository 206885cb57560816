import type { ASTNode } from '@marcbachmann/cel-js'
import { LOOPS } from './condition-functions.ts'

/** Ways through the library's syntax tree. A call's target and arguments are what was written, before macros unfold. */

export type Call = { name: string; receiver: ASTNode | undefined; values: ASTNode[] }

export function asCall(node: ASTNode): Call | undefined {
  if (node.op === 'call') return { name: node.args[0], receiver: undefined, values: node.args[1] }
  if (node.op === 'rcall') return { name: node.args[0], receiver: node.args[1], values: node.args[2] }
  return undefined
}

type Loop = { name: string; range: ASTNode; variable: string; body: ASTNode }

/** `list.exists(x, …)` and its kin: the one place where names are made and work is repeated. */
export function asLoop(node: ASTNode): Loop | undefined {
  const call = asCall(node)
  if (!call?.receiver || !LOOPS.has(call.name) || call.values.length !== 2) return undefined
  const [variable, body] = call.values as [ASTNode, ASTNode]
  return variable.op === 'id'
    ? { name: call.name, range: call.receiver, variable: variable.args, body }
    : undefined
}

/** `a && b && c` is a tree of two; these are its three. */
export function operandsOf(node: ASTNode): ASTNode[] {
  if (node.op !== '&&' && node.op !== '||') return [node]
  const operands: ASTNode[] = []
  const waiting: ASTNode[] = [node]
  for (let next = waiting.pop(); next; next = waiting.pop()) {
    if (next.op === node.op) waiting.push(next.args[1], next.args[0])
    else operands.push(next)
  }
  return operands
}

/** Everything below a node that is evaluated; a loop's variable is not. */
export function childrenOf(node: ASTNode): ASTNode[] {
  const loop = asLoop(node)
  if (loop) return [loop.range, loop.body]
  const call = asCall(node)
  if (call) return call.receiver ? [call.receiver, ...call.values] : call.values
  switch (node.op) {
    case 'value':
    case 'id':
      return []
    case '.':
    case '.?':
      return [node.args[0]]
    case '&&':
    case '||':
      return operandsOf(node)
    case 'map':
      return node.args.flat()
    case '!_':
    case '-_':
      return [node.args]
    default:
      return [...(node.args as ASTNode[])]
  }
}

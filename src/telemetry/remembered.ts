type Node<Child> = { child?: Child; below: Map<string, Node<Child>> }

/**
 * `make` for each combination of label values, once: finding what was made costs a look-up for each label and builds
 * no text. Nothing is ever dropped, so values must come from closed sets.
 */
export function remembered<Child>(
  make: (values: readonly string[]) => Child,
): (...values: string[]) => Child {
  const root: Node<Child> = { below: new Map() }
  return (...values) => {
    let node = root
    for (const value of values) {
      let next = node.below.get(value)
      if (!next) {
        next = { below: new Map() }
        node.below.set(value, next)
      }
      node = next
    }
    node.child ??= make(values)
    return node.child
  }
}

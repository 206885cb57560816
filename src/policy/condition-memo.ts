/** Remembers answers by text, up to `limit`: what a caller can vary must not grow for ever. */
export function memo<T>(make: (text: string) => T, limit = 500): (text: string) => T {
  const known = new Map<string, T>()
  return (text) => {
    const found = known.get(text)
    if (found !== undefined) return found
    const made = make(text)
    if (known.size >= limit) known.clear()
    known.set(text, made)
    return made
  }
}

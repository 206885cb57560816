/** The policies that are there without being written. */
export const BUILT_IN_POLICIES: readonly string[] = ['default', 'root']

/** Trimmed, lower-cased, sorted, each once; `root` swallows the rest. */
export function tidyPolicies(names: readonly string[]): string[] {
  const tidied = new Set(names.map((name) => name.trim().toLowerCase()).filter((name) => name !== ''))
  return tidied.has('root') ? ['root'] : [...tidied].sort()
}

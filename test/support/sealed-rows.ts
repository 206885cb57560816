import type { SealedRow, SealedRows } from '../../src/secrets/builtin/builtin-store.ts'

/** Rows as the ledger keeps them, in memory. */
export function memoryRows(): SealedRows & { rows: Map<string, SealedRow> } {
  const rows = new Map<string, SealedRow>()
  return {
    rows,
    get: async (name) => rows.get(name),
    put: async (name, row) => {
      if ((rows.get(name)?.version ?? 0) !== row.version - 1) return false
      rows.set(name, row)
      return true
    },
    delete: async (name) => void rows.delete(name),
    underOtherKeys: async (keyId, after, limit) =>
      [...rows]
        .filter(([name, { sealed }]) => name > after && !sealed.subarray(1, 9).equals(keyId))
        .sort(([a], [b]) => (a < b ? -1 : 1))
        .slice(0, limit)
        .map(([name, row]) => ({ name, ...row })),
    replace: async (name, row, was) => {
      const there = rows.get(name)
      if (there?.version !== row.version || !there.sealed.equals(was)) return false
      rows.set(name, row)
      return true
    },
  }
}

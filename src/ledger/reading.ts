/** The ledger as a request found it: the request is decided by nothing older. */
export type Reading = {
  /** Another number means that mounts, targets or roles may have changed. */
  revision: number
  now: Date
  /** `performance.now()` before the ledger was asked, so that no time counted from it ends later than the ledger's. */
  sinceMs: number
}

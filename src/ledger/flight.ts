import { batcher } from '../lib/batcher.ts'
import type { Result } from '../lib/result.ts'
import type { Behalf, Db, Ledger } from './db.ts'

/**
 * Joins changes that arrive together into one transaction. `run` answers per item, in order, and `false` where it
 * changed nothing; each change is on record with the request that asked for it.
 */
export function ledgerFlight<In, Out>(
  ledger: Ledger,
  run: (db: Db, items: In[]) => Promise<Result<Out>[]>,
  options: { max?: number; inFlight?: number } = {},
): (item: In) => Promise<Out> {
  const fly = batcher<{ item: In; behalf: Behalf | undefined }, Out>(
    (asks) =>
      ledger.transactionFor(
        asks.map(({ behalf }) => behalf),
        (db) =>
          run(
            db,
            asks.map(({ item }) => item),
          ),
      ),
    options,
  )
  return (item) => fly({ item, behalf: ledger.behalf() })
}

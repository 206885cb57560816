import type { Db, Ledger } from '../../ledger/db.ts'
import type { Tell } from '../moves.ts'
import { tell } from './tell.ts'

/**
 * `tell`, and the ledger through which whoever tells has to make its transactions: when one in which anything was put
 * down to be told has been committed, `wake` has it sent. Not before: nobody would find it yet.
 */
export function tellingSoon(ledger: Ledger, wake: () => void): { ledger: Ledger; tell: Tell } {
  const toldIn = new WeakSet<Db>()
  return {
    async tell(db, told) {
      if ((await tell(db, told)) > 0) toldIn.add(db)
    },
    ledger: {
      ...ledger,
      async transaction(work) {
        let isTold = false
        const answer = await ledger.transaction(async (db) => {
          const result = await work(db)
          isTold = toldIn.has(db)
          return result
        })
        if (isTold) wake()
        return answer
      },
    },
  }
}

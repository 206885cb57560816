import { type Audited, aJob } from '../audit/request.ts'
import type { RootToken } from '../identity/tokens.ts'
import type { TokensEnded } from '../ledger/token-ending.ts'

/** What is changed for no request, or for several, as the audit log has it. */

/** So many are named; of more only their number is told. */
const NAMED_AT_MOST = 50

/** The leases that end with tokens have events of their own, by the workers who end them. */
export const endingTokens = (operation: string, endedOf: (result: unknown) => TokensEnded): Audited =>
  aJob((result) => {
    const { tokenIds, accessors, leases } = endedOf(result)
    if (tokenIds.length === 0) return undefined
    return {
      type: 'system',
      what: { operation },
      outcome: {},
      details: {
        tokens: tokenIds.length,
        accessors: accessors.slice(0, NAMED_AT_MOST),
        leases_ending: leases,
      },
    }
  })

/** The greatest grant there is, by whoever holds the ledger and the master key. */
export const makingRootToken = (): Audited =>
  aJob((result) => {
    const { root, made } = result as RootToken
    if (!made) return undefined
    return {
      type: 'system',
      what: { operation: 'create_root_token', path: 'auth/token/root' },
      outcome: {},
      details: { created_accessor: root?.accessor },
    }
  })

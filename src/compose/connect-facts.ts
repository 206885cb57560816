import type { ConnectFacts } from '../breakglass/access-parts.ts'
import { parsePlace as mysqlPlace } from '../engine/mysql/connection-url.ts'
import { parsePlace as postgresPlace } from '../engine/postgres/connection-url.ts'
import type { Target } from '../ledger/targets.ts'

/** Where a target is, without who its admin is: for the command by which somebody with an account goes there. */
export function connectFacts({ engine, spec }: Pick<Target, 'engine' | 'spec'>): ConnectFacts {
  try {
    const url = String(spec.connection_url ?? '')
    if (engine === 'postgres') {
      const { host, port, database } = postgresPlace(url)
      return { host, port, database }
    }
    if (engine === 'mysql') {
      const { host, port } = mysqlPlace(url)
      return { host, port, database: '' }
    }
    return typeof spec.kubernetes_host === 'string' ? { server: spec.kubernetes_host } : null
  } catch {
    return null // it was checked when it was written; a form that we read no more only costs the hint
  }
}

import { type Api, createApi } from '../http/app.ts'
import type { Console } from '../http/entrance.ts'
import type { Tracing } from '../telemetry/tracing.ts'
import type { Base } from './base.ts'
import { type RouteParts, routeTables } from './routes.ts'

/** The API of one process, with all its paths. */
export function composeApi(
  base: Base,
  parts: RouteParts,
  { tracing, console }: { tracing: Tracing | undefined; console: Console },
): Api {
  const { metrics, trail, auditHash, log } = base
  const tables = routeTables({ ...base, ...parts })
  return createApi({
    ...parts,
    log,
    audit: { record: trail.record, hash: auditHash },
    identify: parts.tokens.identify,
    findMount: parts.mounts.resolve,
    routesOf: (type, path) =>
      tables[path.startsWith('auth/') ? type : `secret/${type}`] ?? tables[type] ?? [],
    record: metrics.request,
    console,
    ...(tracing && { serving: tracing.serving }),
  })
}

import {
  type AuditSinkState,
  insertAuditSink,
  listAuditSinks,
  removeAuditSink,
} from '../../ledger/audit-sinks.ts'
import { type Ledger, lockNamed } from '../../ledger/db.ts'
import { BrokerError } from '../../lib/errors.ts'
import { fileFault } from '../../lib/file-fault.ts'
import { newId } from '../../lib/ids.ts'
import { sensitive } from '../../lib/sensitive.ts'
import { openFile } from './file.ts'
import type { SinkSecrets } from './open.ts'
import { readOptions, type SinkOptions, type SinkSettings } from './options.ts'

export type AuditSinks = {
  /** By path, which ends in a slash. */
  list(): Promise<AuditSinkState[]>
  /** Throws `invalid_request`, and changes nothing, when the sink cannot be. It gets what is committed from now on. */
  enable(
    path: string,
    sink: { type: string; description: string; options: SinkOptions; local: boolean },
  ): Promise<void>
  /** What the sink has not taken it never gets. One that is not there is no error, as in the dialect. */
  disable(path: string): Promise<void>
}

const refuse = (text: string, cause?: unknown): BrokerError =>
  new BrokerError('invalid_request', text, { cause })

export function createAuditSinks({
  ledger,
  secrets,
  host,
}: {
  ledger: Ledger
  secrets: SinkSecrets
  /** This machine's name. */
  host: string
}): AuditSinks {
  return {
    list: () => listAuditSinks(ledger),

    async enable(sentPath, { type, description, options, local }) {
      const path = checkPath(sentPath)
      const settings = readOptions(type, options)
      refuseTaken(path, await listAuditSinks(ledger))
      if (settings.host === undefined || settings.host === host) await tryOut(settings)
      const { token, ...shown } = options
      const tokenName = token === undefined ? null : await secrets.keep(sensitive(token))
      try {
        await ledger.transaction(async (db) => {
          await lockNamed(db, 'audit sinks')
          refuseTaken(path, await listAuditSinks(db))
          await insertAuditSink(db, {
            path,
            id: newId(),
            type,
            description,
            options: shown,
            tokenName,
            local,
          })
        })
      } catch (error) {
        if (tokenName !== null) await secrets.forget(tokenName).catch(() => {})
        throw error
      }
    },

    async disable(path) {
      const removed = await ledger.transaction((db) => removeAuditSink(db, withSlash(path)))
      // Should the store not answer, a sealed text stays there that nothing names.
      if (removed?.tokenName) await secrets.forget(removed.tokenName).catch(() => {})
    },
  }
}

const withSlash = (path: string): string => `${path.replace(/\/+$/, '')}/`

const PATH = /^[A-Za-z0-9_][A-Za-z0-9_.-]*(\/[A-Za-z0-9_][A-Za-z0-9_.-]*)*\/$/
const PATH_LIMIT = 200

function checkPath(sent: string): string {
  const path = withSlash(sent)
  if (!PATH.test(path) || path.length > PATH_LIMIT) throw refuse(`invalid audit path ${JSON.stringify(path)}`)
  return path
}

/** As in the dialect, sinks do not lie in one another. */
function refuseTaken(path: string, sinks: readonly { path: string }[]): void {
  if (sinks.some((sink) => sink.path.startsWith(path) || path.startsWith(sink.path))) {
    throw refuse('path already in use')
  }
}

/** A file that cannot be written is found now, and not when the log of a month is missing. */
async function tryOut({ to }: SinkSettings): Promise<void> {
  if (to.kind !== 'file') return
  try {
    await (await openFile(to)).close()
  } catch (error) {
    const why = fileFault(error, { making: true })
    throw refuse(`sanity check failed; unable to open ${JSON.stringify(to.path)} for writing: ${why}`, error)
  }
}

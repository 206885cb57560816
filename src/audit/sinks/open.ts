import type { AuditSink } from '../../ledger/audit-sinks.ts'
import type { Sensitive } from '../../lib/sensitive.ts'
import { openFile } from './file.ts'
import { openHttp } from './http.ts'
import type { SinkSettings } from './options.ts'
import { discarding, type Output } from './output.ts'
import { openStdout } from './stdout.ts'

/** Functions of the secret store, which this folder does not know. */
export type SinkSecrets = {
  /** Answers the name under which the text is kept from now on. */
  keep(text: Sensitive): Promise<string>
  find(name: string): Promise<Sensitive | undefined>
  forget(name: string): Promise<void>
}

/** Opens the place that a sink's events go to. Rejects when it cannot be. */
export async function openSink(
  { tokenName }: Pick<AuditSink, 'tokenName'>,
  { to }: SinkSettings,
  secrets: Pick<SinkSecrets, 'find'>,
): Promise<Output> {
  switch (to.kind) {
    case 'file':
      return openFile(to)
    case 'stdout':
      return openStdout()
    case 'discard':
      return discarding
    case 'http': {
      if (tokenName === null) return openHttp(to, undefined)
      const token = await secrets.find(tokenName)
      if (!token) throw new Error('its token is not in the secret store')
      return openHttp(to, token)
    }
  }
}

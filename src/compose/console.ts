import { fileURLToPath } from 'node:url'
import { liveChanges } from '../audit/live-changes.ts'
import { createConsole } from '../http/console.ts'
import { consoleEvents } from '../http/console-events.ts'
import type { Console } from '../http/entrance.ts'
import { leasesOfToken } from '../lease/listing.ts'
import { ledgerNow } from '../ledger/installation.ts'
import type { AccessSide } from './access.ts'
import type { Base } from './base.ts'
import type { LeaseSide } from './leases.ts'

/** `dist/console`, seen from the built file and from the source alike. */
const FOLDER = fileURLToPath(
  new URL(import.meta.url.endsWith('.ts') ? '../../dist/console' : '../../console', import.meta.url),
)

/** The operators' pages of one process; `closePages` lets go of those who follow events. */
export function composeConsole(
  { ledger, log }: Pick<Base, 'ledger' | 'log'>,
  { mounts }: Pick<LeaseSide, 'mounts'>,
  { tokens, authMounts, consoleSessions: sessions }: AccessSide,
  folder = FOLDER,
): { console: Console; closePages: () => void } {
  const events = consoleEvents({ follow: () => liveChanges(ledger), standing: sessions.standing, log })
  const console = createConsole({
    sessions,
    tokens,
    mounts,
    authMounts,
    leasesOfToken: (tokenId) => leasesOfToken(ledger, tokenId),
    events,
    folder,
    now: () => ledgerNow(ledger),
  })
  return { console, closePages: events.close }
}

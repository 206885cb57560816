import { type AuditPlace, type AuditQuestion, findAuditEvents, lastCheckpoint } from '../ledger/audit.ts'
import type { Db } from '../ledger/db.ts'
import { checkpointHash, type StoredCheckpoint } from './checkpoint.ts'

export type { AuditPlace, AuditQuestion }

/** An event as questions are answered; `event` is what it says, as text when it is no JSON any more. */
export type LoggedEvent = { writer: string; seq: number; at: string; hash: string; event: unknown }

/** The audit log as it may be asked. What it answers is what the ledger holds; whether that is sound, `verifyLog` tells. */
export type AuditLog = {
  /** Oldest first. `next` is where the next page begins, when there is one. */
  find(question: AuditQuestion): Promise<{ events: LoggedEvent[]; next: AuditPlace | undefined }>
  newestCheckpoint(): Promise<(StoredCheckpoint & { hash: string }) | undefined>
}

export function createAuditLog(ledger: Db): AuditLog {
  return {
    async find(question) {
      const { limit } = question
      const found = await findAuditEvents(ledger, { ...question, limit: limit + 1 })
      const page = found.slice(0, limit)
      const last = found.length > limit ? page.at(-1) : undefined
      return {
        events: page.map(({ writer, seq, at, hash, body }) => ({ writer, seq, at, hash, event: said(body) })),
        next: last && { at: last.place, writer: last.writer, seq: last.seq },
      }
    },
    async newestCheckpoint() {
      const found = await lastCheckpoint(ledger)
      return found && { ...found, hash: checkpointHash(found) }
    },
  }
}

/** Somebody may have changed it in the ledger; it is shown all the same. */
function said(body: string): unknown {
  try {
    return JSON.parse(body)
  } catch {
    return body
  }
}

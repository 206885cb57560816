import { type AuditState, auditState, lastCheckpoint } from '../ledger/audit.ts'
import {
  type AuditPlace,
  type AuditQuestion,
  findAuditEvents,
  newestPlaceTime,
} from '../ledger/audit-search.ts'
import type { Db } from '../ledger/db.ts'
import { checkpointHash, type StoredCheckpoint } from './checkpoint.ts'

export type { AuditPlace, AuditQuestion }

/** An event as questions are answered; `body` is what it says, as text when it is no JSON any more. */
export type LoggedEvent = { writer: string; seq: number; at: string; hash: string; body: unknown }

/** Without an end, who reads page by page would follow the events of his own reading for ever; backwards there is none to follow. */
export type NextPage = { after: AuditPlace; to: string | undefined }

/** The audit log as it may be asked. What it answers is what the ledger holds; whether that is sound, `verifyLog` tells. */
export type AuditLog = {
  /** In the order asked for. `next` says, when there is a next page, what to change in the question for it. */
  find(question: AuditQuestion): Promise<{ events: LoggedEvent[]; next: NextPage | undefined }>
  newestCheckpoint(): Promise<(StoredCheckpoint & { hash: string }) | undefined>
  /** How it stands: cheap to ask, however long it is. */
  state(): Promise<Omit<AuditState, 'checkpoint'> & { checkpoint: SealedUpTo | undefined }>
}

type SealedUpTo = { number: number; hash: string; madeAt: Date }

const WRITERS_SHOWN = 20

export function createAuditLog(ledger: Db): AuditLog {
  return {
    async find(question) {
      const { limit } = question
      const found = await findAuditEvents(ledger, { ...question, limit: limit + 1 })
      const page = found.slice(0, limit)
      const last = found.length > limit ? page.at(-1) : undefined
      return {
        events: page.map(({ writer, seq, at, hash, body }) => ({ writer, seq, at, hash, body: said(body) })),
        next: last && {
          after: { at: last.place, writer: last.writer, seq: last.seq },
          to: question.to ?? (question.newest ? 'infinity' : await newestPlaceTime(ledger)),
        },
      }
    },
    async newestCheckpoint() {
      const found = await lastCheckpoint(ledger)
      return found && { ...found, hash: checkpointHash(found) }
    },
    async state() {
      const { checkpoint, ...state } = await auditState(ledger, { writers: WRITERS_SHOWN })
      if (!checkpoint) return { ...state, checkpoint }
      const { number, madeAt } = checkpoint
      return { ...state, checkpoint: { number, madeAt, hash: checkpointHash(checkpoint) } }
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

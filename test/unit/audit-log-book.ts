/** Audit logs for tests, written as the servers would, and ways to tamper with them. */

import { CompactSign, exportJWK, generateKeyPair, type JSONWebKeySet } from 'jose'
import { type ChainHead, hashOf, link, type StoredEvent, startChain } from '../../src/audit/chain.ts'
import {
  type CheckpointHeads,
  makeCheckpoint,
  type Sign,
  type StoredCheckpoint,
} from '../../src/audit/checkpoint.ts'
import { canonical } from '../../src/audit/event.ts'
import { type VerifyOptions, verifyLog } from '../../src/audit/verify.ts'

export type Log = { events: StoredEvent[]; checkpoints: StoredCheckpoint[] }

export const at = (second: number): string =>
  new Date(Date.UTC(2026, 0, 1, 0, 0, second)).toISOString().replace('Z', '000Z')

export const bodyOf = (request: string, path = 'database/creds/app'): string =>
  canonical({
    type: 'request',
    request_id: request,
    what: { operation: 'read', path },
    outcome: { status: 200 },
  })

async function signer(kid: string) {
  const { privateKey, publicKey } = await generateKeyPair('EdDSA', { crv: 'Ed25519' })
  const signAs =
    (name: string): Sign =>
    (payload, typ) =>
      new CompactSign(payload).setProtectedHeader({ alg: 'EdDSA', kid: name, typ }).sign(privateKey)
  return { signAs, jwk: { ...(await exportJWK(publicKey)), kid, alg: 'EdDSA', use: 'sig' } }
}

const [ours, stranger] = await Promise.all([signer('ours'), signer('stranger')])
export const sign = ours.signAs('ours')
export const signAsStranger = stranger.signAs('stranger')
export const signUnderOurName = stranger.signAs('ours')
export const keys: JSONWebKeySet = { keys: [ours.jwk] }

/** Writes a log as the servers would. */
export function logBook() {
  const log: Log = { events: [], checkpoints: [] }
  const heads = new Map<string, ChainHead>()
  let moved: CheckpointHeads = {}
  let requests = 0
  return {
    log,
    heads,
    append(writer: string, second: number, body = bodyOf(`r${++requests}`)): void {
      const next = link(heads.get(writer) ?? startChain(writer), { at: at(second), body })
      heads.set(writer, next.head)
      log.events.push(next.event)
      moved[writer] = { seq: next.head.seq, hash: next.head.hash }
    },
    async checkpoint(second: number, named: CheckpointHeads = moved, signed = sign): Promise<void> {
      const said = { iss: 'urn:leasehold:test', at: at(second), heads: named }
      log.checkpoints.push(await makeCheckpoint(signed, log.checkpoints.at(-1), said))
      moved = {}
    },
  }
}

/** Three writers with six events each, a checkpoint after every two of each; then one event more. */
export async function sample(): Promise<Log> {
  const book = logBook()
  for (let second = 1; second <= 6; second++) {
    for (const writer of ['a', 'b', 'c']) book.append(writer, second)
    if (second % 2 === 0) await book.checkpoint(second)
  }
  book.append('a', 7)
  return book.log
}

export async function* each<T>(items: readonly T[]): AsyncGenerator<T> {
  yield* items
}

export const verify = ({ events, checkpoints }: Log, options: Partial<VerifyOptions> = {}) =>
  verifyLog({ events: each(events), checkpoints: each(checkpoints) }, { keys, ...options })

/** What is wrong, as `kind writer/seq` or `kind #checkpoint`. */
export async function wrong(log: Log, options: Partial<VerifyOptions> = {}): Promise<string[]> {
  const { problems } = await verify(log, options)
  return problems.map(({ kind, writer, seq, toSeq, checkpoint }) => {
    const events = toSeq === undefined || toSeq === seq ? `${seq}` : `${seq}-${toSeq}`
    return `${kind} ${writer ? `${writer}/${events}` : `#${checkpoint}`}`
  })
}

export const indexOf = (log: Log, writer: string, seq: number): number =>
  log.events.findIndex((event) => event.writer === writer && event.seq === seq)

/** The log with one event changed. */
export function edited(log: Log, writer: string, seq: number, change: Partial<StoredEvent>): Log {
  const index = indexOf(log, writer, seq)
  return { ...log, events: log.events.map((event, i) => (i === index ? { ...event, ...change } : event)) }
}

export const without = (log: Log, ...gone: [string, number][]): Log => ({
  ...log,
  events: log.events.filter(({ writer, seq }) => !gone.some(([w, s]) => w === writer && s === seq)),
})

/** The events of a writer written anew from `seq` on, hashes and all, as one could who may write to the ledger. */
export function rewritten(log: Log, writer: string, seq: number, change: Partial<StoredEvent>): Log {
  let previous = startChain(writer).hash
  const events = log.events.map((event) => {
    if (event.writer !== writer) return event
    const { hash, ...content } = event.seq === seq ? { ...event, ...change } : event
    previous = event.seq < seq ? hash : hashOf(previous, content)
    return { ...content, hash: previous }
  })
  return { ...log, events }
}

export const swapped = <T>(items: readonly T[], i: number, j: number): T[] =>
  items.map((item, k) => (k === i ? (items[j] as T) : k === j ? (items[i] as T) : item))

export const FORGED = bodyOf('forged', 'sys/policies/acl/forged')

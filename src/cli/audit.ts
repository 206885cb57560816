import { open, rm } from 'node:fs/promises'
import { pipeline } from 'node:stream/promises'
import type { JSONWebKeySet } from 'jose'
import type { StoredEvent } from '../audit/chain.ts'
import type { StoredCheckpoint } from '../audit/checkpoint.ts'
import { writeAuditFile } from '../audit/file-format.ts'
import { type VerifyOptions, type VerifyReport, verifyFile, verifyLog } from '../audit/verify.ts'
import { messageOf } from '../lib/errors.ts'
import { fileFault } from '../lib/file-fault.ts'
import { readKeys } from './jwks.ts'

/** The audit log checked and copied, by access to the ledger alone: no server need run, or be believed. */

/** A ledger's log, as `compose` opens it. */
type StoredLog = {
  checkpoints(): AsyncIterable<StoredCheckpoint>
  events(): AsyncIterable<StoredEvent>
  eventsUntilNow(): AsyncIterable<StoredEvent>
  now(): Promise<string>
  keys(): Promise<JSONWebKeySet>
  close(): Promise<void>
}

type Streams = { out: NodeJS.WritableStream; err: NodeJS.WritableStream }

export type VerifyChoices = {
  /** An exported log instead of the ledger's; `-` for standard input. */
  file?: string
  jwks?: string
  checkpoint: readonly { number: number; hash: string }[]
  json: boolean
}

const EXIT = { sound: 0, problems: 1, unchecked: 2 } as const

/** `leasehold audit verify`: prints what it found, and answers the exit code. Asks `openLog` only if it must. */
export function verifyAudit(
  { file, jwks, checkpoint, json }: VerifyChoices,
  openLog: () => StoredLog,
  { out, err }: Streams,
): Promise<number> {
  return exitCode(err, async () => {
    const report = await withLog(openLog, async (log) => {
      const keys = jwks === undefined ? await ownKeys(log, file) : await readKeys(jwks)
      const trust = { keys, known: checkpoint }
      return file === undefined ? verifyLedger(log(), trust) : verifyFile(bytesOf(file), trust)
    })
    out.write(json ? `${JSON.stringify(report, null, 2)}\n` : describe(report))
    return report.problemsTotal === 0 ? EXIT.sound : EXIT.problems
  })
}

/** `leasehold audit export`: writes the whole log as JSON lines, to a new file or to `out`; answers the exit code. */
export function exportAudit(
  { file }: { file?: string },
  openLog: () => StoredLog,
  { out, err }: Streams,
): Promise<number> {
  return exitCode(err, () =>
    withLog(openLog, async (log) => {
      const lines = writeAuditFile(log().checkpoints(), log().eventsUntilNow())
      if (file === undefined) await pipeline(lines, out, { end: false })
      else await writeNew(file, lines)
      return EXIT.sound
    }),
  )
}

async function exitCode(err: NodeJS.WritableStream, work: () => Promise<number>): Promise<number> {
  try {
    return await work()
  } catch (error) {
    err.write(`leasehold: ${messageOf(error)}\n`)
    return EXIT.unchecked
  }
}

/** Hands out the log, opened when it is first needed, and closes it. */
async function withLog<T>(openLog: () => StoredLog, work: (log: () => StoredLog) => Promise<T>): Promise<T> {
  let opened: StoredLog | undefined
  try {
    return await work(() => (opened ??= openLog()))
  } finally {
    await opened?.close()
  }
}

async function verifyLedger(log: StoredLog, trust: VerifyOptions): Promise<VerifyReport> {
  const now = await log.now()
  return verifyLog({ checkpoints: log.checkpoints(), events: log.events() }, { ...trust, now })
}

/** Whoever checks a file may have no ledger, and so no keys but those that are named. */
async function ownKeys(log: () => StoredLog, file: string | undefined): Promise<JSONWebKeySet> {
  try {
    return await log().keys()
  } catch (error) {
    if (file === undefined || messageOf(error).includes('--jwks')) throw error
    throw new Error(`the public keys are not at hand: name them with --jwks. ${messageOf(error)}`)
  }
}

async function* bytesOf(file: string): AsyncIterable<Uint8Array> {
  if (file === '-') {
    yield* process.stdin
    return
  }
  try {
    yield* (await open(file)).createReadStream()
  } catch (error) {
    throw new Error(`${file} cannot be read: ${fileFault(error)}`)
  }
}

/** Readable by its owner alone: it says who did what. One that is there already stays, and half of one does not. */
async function writeNew(file: string, lines: AsyncIterable<string>): Promise<void> {
  const handle = await open(file, 'wx', 0o600).catch((error) => {
    throw new Error(`${file} cannot be written: ${fileFault(error, { making: true })}; name a new file`)
  })
  try {
    await pipeline(lines, handle.createWriteStream())
  } catch (error) {
    await rm(file, { force: true })
    throw error
  }
}

function describe(report: VerifyReport): string {
  const { events, writers, checkpoints, uncheckpointed, lastCheckpoint, problems, problemsTotal } = report
  const size = `${counted(events, 'event')} of ${counted(writers, 'writer')}, ${counted(checkpoints, 'checkpoint')}`
  const more = problemsTotal - problems.length
  const lines = [
    problemsTotal === 0 ? `Sound: ${size}.` : `Not sound: ${counted(problemsTotal, 'problem')} in ${size}.`,
    ...problems.map(({ message }) => `  ${message}`),
    ...(more > 0 ? [`  and ${more} more`] : []),
    lastCheckpoint
      ? `Last checkpoint, of ${lastCheckpoint.at}: ${lastCheckpoint.number}:${lastCheckpoint.hash}`
      : 'No checkpoint: nothing here is signed.',
    ...(lastCheckpoint && uncheckpointed > 0
      ? [`Newer than it, and not signed yet: ${counted(uncheckpointed, 'event')}.`]
      : []),
  ]
  return `${lines.join('\n')}\n`
}

const counted = (count: number, what: string): string => `${count} ${what}${count === 1 ? '' : 's'}`

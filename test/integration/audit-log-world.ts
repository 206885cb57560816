import { PassThrough } from 'node:stream'
import { text } from 'node:stream/consumers'
import { type Checkpoints, createCheckpoints } from '../../src/audit/checkpoints.ts'
import type { AuditEvent } from '../../src/audit/event.ts'
import { openTrail, type Trail } from '../../src/audit/trail.ts'
import type { VerifyReport } from '../../src/audit/verify.ts'
import { exportAudit, type VerifyChoices, verifyAudit } from '../../src/cli/audit.ts'
import { openStoredLog } from '../../src/compose/audit-log.ts'
import { openSigner, type Signer } from '../../src/lease/signer.ts'
import { sealedSecrets } from '../../src/ledger/sealed-secrets.ts'
import { type Sensitive, sensitive } from '../../src/lib/sensitive.ts'
import { builtinSecretStore } from '../../src/secrets/builtin/builtin-store.ts'
import { openTestLedger, type TestLedger } from '../support/ledger.ts'

const MASTER_KEY = sensitive(Buffer.alloc(32, 9).toString('base64'))

/** An audit log on a real ledger, with its checkpoints, and the commands that read it. */
export type AuditWorld = {
  test: TestLedger
  trail: Trail
  signer: Signer
  checkpoints: Checkpoints
  /** What the log was told of trouble. */
  said: string[]
  /** Another process's. */
  another(options?: { intervalMs?: number }): Checkpoints
  /** Writes one event for each request id, one after the other, so that one chain holds all. */
  record(...requestIds: string[]): Promise<void>
  sql(text: string): Promise<void>
  /** At the test's ledger, or as somebody else. */
  verify(choices?: Partial<VerifyChoices>, at?: { url: string }): Promise<Ran>
  report(choices?: Partial<VerifyChoices>): Promise<VerifyReport>
  exported(choices?: { file?: string }, url?: string): Promise<Ran>
  close(): Promise<void>
}

type Ran = { code: number; out: string; err: string }

export const anEvent = (changes: Partial<AuditEvent> = {}): AuditEvent => ({
  type: 'request',
  what: { operation: 'update', path: 'sys/thing' },
  outcome: { status: 204 },
  ...changes,
})

export async function openAuditWorld(): Promise<AuditWorld> {
  const test = await openTestLedger()
  const trail = openTrail(test.ledger)
  const signer = await openSigner(
    builtinSecretStore(sealedSecrets(test.ledger), { masterKey: MASTER_KEY }),
    'test',
  )
  const said: string[] = []
  const say = (_: unknown, message?: string) => void said.push(String(message))
  const another = (options = {}) =>
    createCheckpoints({
      ledger: test.ledger,
      sign: signer.sign,
      issuer: signer.issuer,
      log: { warn: say, info: (message: unknown) => say(undefined, String(message)) } as never,
      ...options,
    })
  const opening =
    (masterKey: Sensitive | undefined, url = test.url) =>
    () =>
      openStoredLog({ ledgerUrl: sensitive(url), masterKey })

  const verify: AuditWorld['verify'] = (choices = {}, at) =>
    ran((streams) =>
      verifyAudit(
        { checkpoint: [], json: false, ...choices },
        opening(at ? undefined : MASTER_KEY, at?.url),
        streams,
      ),
    )

  return {
    test,
    trail,
    signer,
    checkpoints: another(),
    said,
    another,
    async record(...requestIds) {
      for (const request_id of requestIds) await trail.record(anEvent({ request_id }))
    },
    sql: async (statement) => void (await test.ledger.query(statement)),
    verify,
    async report(choices) {
      const { out, err } = await verify({ ...choices, json: true })
      if (err) throw new Error(err)
      return JSON.parse(out) as VerifyReport
    },
    exported: (choices = {}, url) => ran((streams) => exportAudit(choices, opening(undefined, url), streams)),
    close: () => test.close(),
  }
}

async function ran(
  command: (streams: { out: PassThrough; err: PassThrough }) => Promise<number>,
): Promise<Ran> {
  const streams = { out: new PassThrough(), err: new PassThrough() }
  const printed = Promise.all([text(streams.out), text(streams.err)])
  const code = await command(streams)
  streams.out.end()
  streams.err.end()
  const [out, err] = await printed
  return { code, out, err }
}

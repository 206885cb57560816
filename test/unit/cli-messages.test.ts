import { mkdtempSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { PassThrough } from 'node:stream'
import { text } from 'node:stream/consumers'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { exportAudit, verifyAudit } from '../../src/cli/audit.ts'
import { verifyReceipt } from '../../src/cli/receipt.ts'

const folder = mkdtempSync(join(tmpdir(), 'leasehold-messages-'))
const file = (name: string, content: string): string => {
  const path = join(folder, name)
  writeFileSync(path, content)
  return path
}
const jwks = file('jwks.json', '{"keys":[]}')
const nowhere = join(folder, 'nowhere')

/** What a command answered and wrote to standard error. */
async function told(run: (err: NodeJS.WritableStream) => Promise<number>): Promise<[number, string]> {
  const err = new PassThrough()
  const code = await run(err)
  err.end()
  return [code, await text(err)]
}

describe('receipt verify says', () => {
  const verify = (receipt: string, keys = jwks) =>
    told((err) => verifyReceipt(receipt, { jwks: keys, json: false }, new PassThrough(), err))

  test.each(['{"errors":[]}\n', '{}', 'null', '', 'hello'])('that %j holds no receipt', async (content) => {
    expect(await verify(file('answer.json', content))).toEqual([
      1,
      'Not genuine: it holds no receipt. Has the lease ended? There is one only then.\n',
    ])
  })

  test('which file is not there', async () => {
    const why = 'cannot be read: it is not there (ENOENT)\n'
    expect(await verify(nowhere)).toEqual([2, `leasehold: ${nowhere} ${why}`])
    expect(await verify(jwks, nowhere)).toEqual([2, `leasehold: --jwks: ${nowhere} ${why}`])
  })

  describe('of a server', () => {
    const server = createServer((_, res) => res.writeHead(404).end('{"errors":[]}'))
    beforeAll(() => new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve)))
    afterAll(() => void server.close())

    test('where it has its keys', async () => {
      const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/jwks`
      const why = `--jwks: ${url} answers 404; a server has its keys at /v1/sys/leasehold/jwks`
      expect(await verify(jwks, url)).toEqual([2, `leasehold: ${why}\n`])
    })
  })
})

describe('audit says', () => {
  const noLedger = (): never => {
    throw new Error('LEASEHOLD_LEDGER_URL is required')
  }
  const verify = (choices: { file?: string; jwks?: string }) =>
    told((err) =>
      verifyAudit({ checkpoint: [], json: false, ...choices }, noLedger, { out: new PassThrough(), err }),
    )

  test('to name the keys for a file, where there is no ledger to have them from', async () => {
    const [code, why] = await verify({ file: nowhere })
    expect([code, why]).toEqual([2, expect.stringContaining('name them with --jwks. LEASEHOLD_LEDGER_URL')])
    expect(await verify({})).toEqual([2, 'leasehold: LEASEHOLD_LEDGER_URL is required\n'])
  })

  test.each([
    [nowhere, 'it is not there (ENOENT)'],
    [folder, 'it is a folder (EISDIR)'],
  ])('why %s cannot be read', async (path, why) => {
    expect(await verify({ file: path, jwks })).toEqual([2, `leasehold: ${path} cannot be read: ${why}\n`])
  })

  test.each([
    [jwks, 'it is there already (EEXIST)'],
    [join(nowhere, 'new'), 'its folder is not there (ENOENT)'],
  ])('why %s cannot be written', async (path, why) => {
    const none = async function* () {}
    const log = () => ({
      checkpoints: none,
      events: none,
      eventsUntilNow: none,
      now: async () => '',
      keys: async () => ({ keys: [] }),
      close: async () => {},
    })
    expect(await told((err) => exportAudit({ file: path }, log, { out: new PassThrough(), err }))).toEqual([
      2,
      `leasehold: ${path} cannot be written: ${why}; name a new file\n`,
    ])
  })
})

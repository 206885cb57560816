import { execFile } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { openTestBroker, type TestBroker } from '../support/broker.ts'
import { built } from '../support/built.ts'

// `leasehold audit` as an operator and an auditor run it, on the log of a broker at work.

type Ended = { code: number; stdout: string; stderr: string }

const MASTER_KEY = Buffer.alloc(32, 5).toString('base64')
const folder = mkdtempSync(join(tmpdir(), 'leasehold-audit-cli-'))
const exported = join(folder, 'audit.jsonl')
const jwks = join(folder, 'jwks.json')

let broker: TestBroker
beforeAll(async () => {
  broker = await openTestBroker()
  for (const name of ['one', 'two', 'three']) {
    await broker.api('PUT', `sys/policies/acl/${name}`, { policy: '' })
  }
  await (await broker.another()).close()
  writeFileSync(jwks, (await broker.api('GET', 'sys/leasehold/jwks')).text)
})
afterAll(async () => {
  await broker.close()
  rmSync(folder, { recursive: true })
})

function leasehold(args: string[], settings: NodeJS.ProcessEnv = {}, input = ''): Promise<Ended> {
  const inherited = Object.entries(process.env).filter(([name]) => !/^(LEASEHOLD|VAULT)_/.test(name))
  const options = { env: { ...Object.fromEntries(inherited), ...settings }, timeout: 60_000 }
  return new Promise((resolve) => {
    const child = execFile(
      process.execPath,
      [fileURLToPath(built('src/cli.js')), 'audit', ...args],
      options,
      (error, stdout, stderr) => resolve({ code: error ? Number(error.code) : 0, stdout, stderr }),
    )
    child.stdin?.end(input)
  })
}

const ledger = () => ({ LEASEHOLD_LEDGER_URL: broker.ledger.url })
const operator = () => ({ ...ledger(), LEASEHOLD_MASTER_KEY: MASTER_KEY })

describe('leasehold audit', () => {
  test('finds the log of a broker at work sound, and names a checkpoint to keep', async () => {
    const { code, stdout, stderr } = await leasehold(['verify'], operator())
    expect({ code, stderr }, stdout).toEqual({ code: 0, stderr: '' })
    const [, checkpoint = ''] = /^Last checkpoint, of \S+: (\d+:[0-9a-f]{64})$/m.exec(stdout) ?? []
    expect(await leasehold(['verify', '--checkpoint', checkpoint], operator())).toMatchObject({ code: 0 })
    const later = checkpoint.replace(/^\d+/, '999')
    const cut = await leasehold(['verify', '--checkpoint', checkpoint, '--checkpoint', later], operator())
    expect(cut).toMatchObject({ code: 1, stderr: '' })
    expect(cut.stdout).toContain('checkpoint 999 is known from elsewhere and missing')
  })

  test('needs no master key to export, nor to verify with the public keys', async () => {
    expect(await leasehold(['export', '--file', exported], ledger())).toEqual({
      code: 0,
      stdout: '',
      stderr: '',
    })
    const text = readFileSync(exported, 'utf8')
    expect((await leasehold(['verify', '--jwks', jwks], ledger())).code).toBe(0)
    const offline = await leasehold(['verify', '--file', exported, '--jwks', jwks, '--json'])
    expect(offline).toMatchObject({ code: 0, stderr: '' })
    expect(JSON.parse(offline.stdout)).toMatchObject({ problemsTotal: 0, events: expect.any(Number) })
    expect((await leasehold(['verify', '--file', '-', '--jwks', jwks], {}, text)).code).toBe(0)
    const edited = text.replace('sys/policies/acl/two', 'sys/policies/acl/six')
    const found = await leasehold(['verify', '--file', '-', '--jwks', jwks], {}, edited)
    expect(found.code).toBe(1)
    expect(found.stdout).toMatch(/^ {2}event \d+ of writer \w+ \(request [\w-]+\) does not match its hash/m)
  })

  test.each<[string, string[], RegExp]>([
    ['no settings', ['verify'], /LEASEHOLD_LEDGER_URL is required/],
    ['no such file', ['verify', '--file', join(folder, 'none'), '--jwks', jwks], /ENOENT/],
    ['no keys', ['verify', '--file', exported, '--jwks', exported], /--jwks names no JWK set/],
    ['a checkpoint that is none', ['verify', '--checkpoint', '1'], /number:hash/],
    ['no such option', ['verify', '--no-such'], /unknown option/],
    [
      'no settings to export by',
      ['export', '--file', join(folder, 'new')],
      /LEASEHOLD_LEDGER_URL is required/,
    ],
  ])('cannot look with %s, and says why', async (_, args, sentence) => {
    const { code, stdout, stderr } = await leasehold(args)
    expect({ code, stdout }).toEqual({ code: 2, stdout: '' })
    expect(stderr).toMatch(sentence)
  })

  test('asks for the keys when it has none', async () => {
    const { code, stderr } = await leasehold(['verify'], ledger())
    expect(code).toBe(2)
    expect(stderr).toContain('set LEASEHOLD_MASTER_KEY_FILE, or name the public keys with --jwks')
  })

  test('names the event that somebody edits in the database', async () => {
    await broker.ledger.ledger.query(
      `update leasehold.audit_event set body = replace(body, 'sys/policies/acl/two', 'sys/policies/acl/six')`,
    )
    const { code, stdout } = await leasehold(['verify'], operator())
    expect(code).toBe(1)
    expect(stdout).toMatch(/^Not sound: \d+ problems? in /)
    expect(stdout).toMatch(/^ {2}event \d+ of writer \w+ \(request [\w-]+\) does not match its hash/m)
  })
})
